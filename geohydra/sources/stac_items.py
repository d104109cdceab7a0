"""From STAC items to entries of a lock: which assets bring which bands, and what the items tell that files need not be opened for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from geohydra import signing
from geohydra.build import near
from geohydra.errors import DataError
from geohydra.sources.stac_criteria import times_of
from geohydra.sources.stac_search import Found, resolve
from geohydra.types import LockEntry

Document = Mapping[str, Any]
Bands = Sequence[str] | Mapping[str, str | int] | None

_OTHERS = {"thumbnail", "overview", "metadata", "data-mask", "cloud", "cloud-shadow", "snow-ice", "saturation", "labels", "visual"}
"""Roles of assets that hold no measurements."""

_RASTERS = (".tif", ".tiff", ".jp2", ".vrt", ".img", ".nc", ".png")
_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "image/x.geotiff")
_APPLIED = "earthsearch:boa_offset_applied"
"""A catalogue that says so tells the offset all the same, though its pixels do not need it any more."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is taken from every item."""

    assets: tuple[str, ...] = ()
    bands: Bands = None
    clouds: str | None = None
    sign: str | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """One band of one asset: where it stands, and all names by which it may be asked for, the best one first."""

    asset: str
    index: int
    names: tuple[str, ...]
    alone: bool


def entries(found: Found, choice: Choice, place: Mapping[str, Any]) -> list[LockEntry]:
    """The files of one item. `place` says which scene they belong to, and is kept with each.

    Raises DataError for an item that lacks what is asked for.
    """
    assets: Mapping[str, Document] = found.item.get("assets") or {}
    images = [_entry(found, key, "image", {**place, **told}, choice) for key, told in _images(found, assets, choice).items()]
    return images if choice.clouds is None else [*images, _mask(found, choice.clouds, choice, place)]


def _mask(found: Found, clouds: str, choice: Choice, place: Mapping[str, Any]) -> LockEntry:
    key, _, index = clouds.partition(":")
    _has(found, key, "source.clouds.band")
    return _entry(found, key, "mask", {**place, "index": int(index or 1)}, choice)


def _entry(found: Found, key: str, role: str, told: Mapping[str, Any], choice: Choice) -> LockEntry:
    asset = found.item["assets"][key]
    times = times_of(found.item.get("properties") or {})
    item = {"id": found.item["id"], "collection": found.item.get("collection"), "href": found.address, "asset": key, **told}
    return LockEntry(
        uri=signing.marked(resolve(str(asset["href"]), found.address), choice.sign),
        size=asset.get("file:size"),
        role=role,
        time=None if times is None else times[0].isoformat().replace("+00:00", "Z"),
        item={name: value for name, value in item.items() if value is not None},
    )


def _images(found: Found, assets: Mapping[str, Document], choice: Choice) -> dict[str, dict[str, Any]]:
    """What is kept of each asset that brings a band, by its key."""
    keys = [key for key in choice.assets if _has(found, key, "source.assets")] or [key for key, one in assets.items() if _measured(one)]
    if not keys:
        raise DataError(_where(found), "has no asset that is an image", f"name them with source.assets; {_told(assets)}")
    if len(keys) == 1 and not _bands(assets[keys[0]]):
        return {keys[0]: _kept(found, assets[keys[0]], None)}
    offered = [band for key in keys for band in _offered(key, assets[key])]
    chosen = _named(found, offered) if choice.bands is None else _asked(found, offered, choice.bands)
    if choice.assets and choice.bands is None:
        chosen = {name: band for name, band in chosen.items() if band.asset in choice.assets}
    by_asset: dict[str, dict[str, Band]] = {}
    for name, band in chosen.items():
        by_asset.setdefault(band.asset, {})[name] = band
    return {key: _kept(found, assets[key], bands) for key, bands in by_asset.items()}


def _measured(asset: Document) -> bool:
    roles = set(asset.get("roles") or ())
    kind, href = str(asset.get("type") or ""), str(asset.get("href") or "").split("?")[0].lower()
    raster = kind.startswith(_TYPES) or (not kind and href.endswith(_RASTERS))
    return raster and not roles & _OTHERS


def _has(found: Found, key: str, where: str) -> bool:
    assets = found.item.get("assets") or {}
    if key not in assets:
        raise DataError(_where(found), f"has no asset {key!r}, which {where} names", near(key, assets))
    return True


def _bands(asset: Document) -> list[dict[str, Any]]:
    """One description a band, of STAC 1.1 or of the extensions before it; empty where nothing is told."""
    if asset.get("bands"):
        return [dict(band) for band in asset["bands"]]
    colors, rasters = asset.get("eo:bands") or [], asset.get("raster:bands") or []
    return [{**(raster or {}), **(color or {})} for color, raster in zip_longest(colors, rasters)]


def _offered(key: str, asset: Document) -> Iterator[Band]:
    bands = _bands(asset) or [{}]
    alone = len(bands) == 1
    for index, band in enumerate(bands, start=1):
        told = [band.get("eo:common_name") or band.get("common_name"), band.get("name"), key if alone else f"{key}:{index}"]
        yield Band(key, index, tuple(dict.fromkeys(str(name) for name in told if name)), alone)


def _named(found: Found, offered: Sequence[Band]) -> dict[str, Band]:
    """Every band under its best name that no other has; previews that repeat bands of single files are left out."""
    singles = {name for band in offered if band.alone for name in band.names}
    kept = [band for band in offered if band.alone or not singles.intersection(band.names[:1])]
    counts = Counter(name for band in kept for name in band.names)
    chosen: dict[str, Band] = {}
    for band in kept:
        free = [name for name in band.names if counts[name] == 1]
        if not free:
            others = ", ".join(sorted({one.asset for one in kept if band.names[0] in one.names}))
            raise DataError(_where(found), f"several assets bring {band.names[0]!r}: {others}", "choose with source.assets or source.bands")
        chosen[free[0]] = band
    return chosen


def _asked(found: Found, offered: Sequence[Band], bands: Sequence[str] | Mapping[str, str | int]) -> dict[str, Band]:
    pairs = bands.items() if isinstance(bands, Mapping) else ((name, name) for name in bands)
    return {name: _one(found, offered, place) for name, place in pairs}


def _one(found: Found, offered: Sequence[Band], place: str | int) -> Band:
    """The band of a name (or of an index, where there is one asset): that of the asset of this name, else of a file of its own."""
    if isinstance(place, int) or place.isdigit():
        fitting = [band for band in offered if band.index == int(place)]
    else:
        fitting = [band for band in offered if place in band.names or f"{band.asset}:{band.index}" == place]
    ranks = {band: (band.asset != place, not band.alone) for band in fitting}
    best = [band for band in fitting if ranks[band] == min(ranks.values())]
    if not best:
        known = dict.fromkeys(name for band in offered for name in band.names)
        raise DataError(_where(found), f"has no band {place!r}", near(str(place), known))
    if len(best) > 1:
        ways = ", ".join(f"{band.asset}:{band.index}" for band in best)
        raise DataError(
            _where(found), f"has several bands {place!r}: {ways}", f"choose with source.bands={{{place}: {ways.split(',')[0]}}}"
        )
    return best[0]


def _kept(found: Found, asset: Document, bands: Mapping[str, Band] | None) -> dict[str, Any]:
    """What the item tells of one asset: names and indexes of bands, type, nodata, scale and offset, and where its pixels lie."""
    told = _bands(asset)
    properties = found.item.get("properties") or {}
    kept: dict[str, Any] = {"grid": _grid(asset, properties)}
    if bands is None:
        return kept
    kept |= {"bands": list(bands), "indexes": [band.index for band in bands.values()]}
    ones = [{**asset, **(told[band.index - 1] if told else {})} for band in bands.values()]
    kinds = [one.get("data_type") for one in ones]
    kept["dtype"] = list(dict.fromkeys(kinds)) if all(kinds) else None
    kept["nodata"] = next((one["nodata"] for one in ones if one.get("nodata") is not None), None)
    scales = [_number(one, "scale", 1.0) for one in ones]
    offsets = [0.0 if properties.get(_APPLIED) is True else _number(one, "offset", 0.0) for one in ones]
    if set(scales) != {1.0} or set(offsets) != {0.0}:
        kept |= {"scale": scales, "offset": offsets}
    return kept


def _number(band: Document, name: str, usual: float) -> float:
    value = band.get(f"raster:{name}", band.get(name))
    return usual if value is None else float(value)


def _grid(asset: Document, properties: Document) -> dict[str, Any] | None:
    """CRS, transform and shape as the projection extension tells them, of the asset before those of its item; None if one is missing."""
    told = {**properties, **asset}
    crs = told.get("proj:code") or (f"EPSG:{told['proj:epsg']}" if told.get("proj:epsg") else told.get("proj:wkt2"))
    transform, shape = list(told.get("proj:transform") or ())[:6], list(told.get("proj:shape") or ())
    if not crs or len(transform) != 6 or len(shape) != 2 or not all(shape) or _gdal_order(transform):
        return None
    return {"crs": str(crs), "transform": transform, "shape": shape}


def _gdal_order(transform: Sequence[float]) -> bool:
    """Some catalogues write the corner first, as GDAL does: then the file is asked."""
    return transform[4] == 0 and transform[2] == 0


def _where(found: Found) -> str:
    return f"{found.address} ({found.item.get('id')})" if str(found.item.get("id")) not in found.address else found.address


def _told(assets: Mapping[str, Document]) -> str:
    return f"it has {', '.join(assets)}" if assets else "it has none"
