"""The scenes of a run as STAC items in one `items.json`: what ingest writes, and all later steps read.

The file is a STAC 1.1 ItemCollection with the projection extension, and plain GeoJSON as well: any GIS shows the footprints.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.errors import DataError
from geohydra.raster import outline
from geohydra.types import Asset, Grid, LabelAsset, MaskAsset, Scene, Shape, Steps

_FILE = "items.json"
_RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_UNDATED = {"datetime": None, "start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "2100-01-01T00:00:00Z"}
"""STAC wants a time of every item: where it is not known, an interval that says nothing."""

_OWN = {
    "datetime",
    "start_datetime",
    "end_datetime",
    "proj:code",
    "proj:wkt2",
    "proj:transform",
    "proj:shape",
    "geohydra:crs",
    "geohydra:composite",
    "geohydra:steps",
}


def write(scenes: Iterable[Scene], folder: Path) -> Path:
    """Write `items.json` into a folder, whole or not at all; places below the folder are told relative to it."""
    return _write((_item(scene, folder.absolute()) for scene in scenes), folder)


def _write(items: Iterable[Mapping[str, Any]], folder: Path) -> Path:
    told = ",\n".join(json.dumps(item, allow_nan=False) for item in items)
    storage.write_bytes(str(folder / _FILE), f'{{"type": "FeatureCollection", "features": [\n{told}\n]}}\n'.encode())
    return folder / _FILE


def read(folder: Path) -> list[Scene]:
    """The scenes of a folder, in the order in which they were written; URIs below the folder are absolute paths."""
    path = folder / _FILE
    try:
        items = json.loads(path.read_bytes())["features"]
        return [_scene(item, folder.absolute()) for item in items]
    except FileNotFoundError as cause:
        raise DataError(str(path), "there is no catalogue", "run ingest first") from cause
    except (ValueError, KeyError, TypeError) as cause:
        raise DataError(str(path), f"is no catalogue that ingest wrote ({cause!r})", "run ingest again") from cause


def join(folders: Sequence[Path], order: Sequence[tuple[int, int]], folder: Path) -> list[Scene]:
    """One `items.json` of those of several folders, whose files stand in this one too. `order` tells for each scene its folder and its
    place there. Returns the scenes."""
    parts = [json.loads((part / _FILE).read_bytes())["features"] for part in folders]
    _write([parts[part][place] for part, place in order], folder)
    return read(folder)


def _item(scene: Scene, folder: Path) -> dict[str, Any]:
    footprint = outline.footprint(scene.grid)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_PROJECTION, _RASTER] if any(asset.scale or asset.offset for asset in scene.assets) else [_PROJECTION],
        "id": scene.id,
        "geometry": footprint,
        "properties": {**scene.properties, **_time(scene.time), **_projection(scene.grid)},
        "links": [],
        "assets": {name: _asset(asset, folder) for name, asset in zip(_asset_names(scene), scene.assets, strict=True)},
    }
    if footprint is not None:
        item["bbox"] = outline.bbox(footprint)
    if scene.composite is not None:
        item["properties"]["geohydra:composite"] = scene.composite
    if scene.steps is not None:
        start = scene.steps.start
        item["properties"]["geohydra:steps"] = {**asdict(scene.steps), "start": _moment(start) if start else None}
    for place, mask in enumerate(scene.masks):
        item["assets"][f"mask-{place}"] = _mask_asset(mask, folder)
    if scene.labels is not None:
        item["assets"]["labels"] = _label_asset(scene.labels, folder)
    return item


def _asset_names(scene: Scene) -> list[str]:
    if len(scene.assets) == 1:
        return ["image"]
    names = ["-".join(["image", *asset.bands, *_stamp(asset.time)]) for asset in scene.assets]
    several = {name for name, count in Counter(names).items() if count > 1}
    return [f"{name}-{place}" if name in several else name for place, name in enumerate(names)]


def _stamp(time: datetime | None) -> list[str]:
    return [] if time is None else [_moment(time)]


def _time(time: datetime | None) -> dict[str, Any]:
    if time is None:
        return dict(_UNDATED)
    return {"datetime": _moment(time)}


def _moment(time: datetime) -> str:
    moment = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")


def _projection(grid: Grid) -> dict[str, Any]:
    told: dict[str, Any] = {"proj:code": None, "proj:transform": list(grid.transform), "proj:shape": [grid.shape.rows, grid.shape.cols]}
    if _is_code(grid.crs):
        return told | {"proj:code": grid.crs}
    if grid.crs:
        return told | {"proj:wkt2": _crs(grid.crs).to_wkt(), "geohydra:crs": grid.crs}
    return told


def _is_code(crs: str) -> bool:
    authority, _, code = crs.partition(":")
    return authority.isalnum() and authority.isupper() and code.replace("_", "").isalnum()


def _asset(asset: Asset, folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = {
        "href": _relative(asset.uri, folder),
        "roles": ["data"],
        "bands": [_band(asset, place) for place in range(len(asset.bands))],
        "data_type": asset.dtype,
        "geohydra:indexes": list(asset.indexes),
    }
    if asset.uri.lower().endswith((".tif", ".tiff")):
        told["type"] = "image/tiff; application=geotiff"
    if asset.nodata is not None:
        told["nodata"] = asset.nodata if math.isfinite(asset.nodata) else str(asset.nodata)
    if asset.time is not None:
        told["datetime"] = _moment(asset.time)
    if asset.resampling != "bilinear":
        told["geohydra:resampling"] = asset.resampling
    return told


def _band(asset: Asset, place: int) -> dict[str, Any]:
    numbers = {"raster:scale": asset.scale, "raster:offset": asset.offset}
    return {"name": asset.bands[place]} | {key: values[place] for key, values in numbers.items() if values}


def _mask_asset(mask: MaskAsset, folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = {"href": _relative(mask.uri, folder), "roles": ["data-mask"], "geohydra:index": mask.index}
    told |= {"geohydra:values": list(mask.values), "geohydra:bits": list(mask.bits)}
    return told if mask.time is None else told | {"datetime": _moment(mask.time)}


def _label_asset(labels: LabelAsset, folder: Path) -> dict[str, Any]:
    kinds = {"vector": "application/vnd.apache.parquet", "raster": "image/tiff; application=geotiff"}
    told: dict[str, Any] = {
        "href": _relative(labels.uri, folder),
        "roles": ["labels"],
        "type": kinds.get(labels.kind, "application/octet-stream"),
        "geohydra:kind": labels.kind,
        "geohydra:values": {str(value): name for value, name in labels.values.items()},
        "geohydra:classes": list(labels.classes),
    }
    if labels.ignored is not None:
        told["geohydra:ignored"] = _relative(labels.ignored, folder)
    if labels.unlabelled != "background":
        told["geohydra:unlabelled"] = labels.unlabelled
    if labels.priority:
        told["geohydra:priority"] = list(labels.priority)
    if labels.where:
        told["geohydra:where"] = dict(labels.where)
    return told


def _relative(uri: str, folder: Path) -> str:
    if not storage.is_local(uri):
        return uri
    path = storage.local_path(uri)
    return f"./{path.relative_to(folder).as_posix()}" if path.is_relative_to(folder) else str(path)


@cache
def _crs(text: str) -> Any:
    from pyproj import CRS

    return CRS.from_user_input(text)


def _scene(item: Mapping[str, Any], folder: Path) -> Scene:
    told = item["properties"]
    assets = dict(item["assets"])
    labels = assets.pop("labels", None)
    masks = [assets.pop(name) for name in list(assets) if "data-mask" in assets[name].get("roles", ())]
    a, b, c, d, e, f = told["proj:transform"]
    crs = told.get("geohydra:crs") or told.get("proj:code") or told.get("proj:wkt2") or ""
    rows, cols = told["proj:shape"]
    return Scene(
        id=item["id"],
        grid=Grid(crs, (a, b, c, d, e, f), Shape(rows, cols)),
        assets=tuple(_read_asset(asset, folder) for asset in assets.values()),
        labels=None if labels is None else _read_labels(labels, folder),
        time=_read_time(told),
        properties={key: value for key, value in told.items() if key not in _OWN},
        masks=tuple(_read_mask(mask, folder) for mask in masks),
        composite=told.get("geohydra:composite"),
        steps=_read_steps(told.get("geohydra:steps")),
    )


def _read_asset(asset: Mapping[str, Any], folder: Path) -> Asset:
    nodata = asset.get("nodata")
    bands: Sequence[Mapping[str, Any]] = asset["bands"]
    names = tuple(band["name"] for band in bands)
    return Asset(
        uri=_absolute(asset["href"], folder),
        bands=names,
        indexes=tuple(asset.get("geohydra:indexes") or range(1, len(names) + 1)),
        dtype=asset["data_type"],
        nodata=None if nodata is None else float(nodata),
        time=_read_time(asset),
        resampling=asset.get("geohydra:resampling", "bilinear"),
        scale=tuple(band["raster:scale"] for band in bands if "raster:scale" in band),
        offset=tuple(band["raster:offset"] for band in bands if "raster:offset" in band),
    )


def _read_mask(asset: Mapping[str, Any], folder: Path) -> MaskAsset:
    values, bits = tuple(asset["geohydra:values"]), tuple(asset["geohydra:bits"])
    return MaskAsset(_absolute(asset["href"], folder), asset["geohydra:index"], values, bits, _read_time(asset))


def _read_time(told: Mapping[str, Any]) -> datetime | None:
    return datetime.fromisoformat(told["datetime"]) if told.get("datetime") else None


def _read_steps(told: Mapping[str, Any] | None) -> Steps | None:
    if told is None:
        return None
    return Steps(told["days"], told["how"], datetime.fromisoformat(told["start"]) if told["start"] else None)


def _read_labels(asset: Mapping[str, Any], folder: Path) -> LabelAsset:
    ignored = asset.get("geohydra:ignored")
    return LabelAsset(
        _absolute(asset["href"], folder),
        asset["geohydra:kind"],
        values={int(value): name for value, name in asset.get("geohydra:values", {}).items()},
        classes=tuple(asset.get("geohydra:classes", ())),
        ignored=None if ignored is None else _absolute(ignored, folder),
        unlabelled=asset.get("geohydra:unlabelled", "background"),
        priority=tuple(asset.get("geohydra:priority", ())),
        where=asset.get("geohydra:where", {}),
    )


def _absolute(href: str, folder: Path) -> str:
    """A place of the catalogue: relative ones stand below its folder."""
    if not storage.is_local(href):
        return href
    return href if href.startswith("/") else os.path.normpath(folder / href)
