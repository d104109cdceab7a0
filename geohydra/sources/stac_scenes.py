"""Scenes from the entries of a lock: what items tell is taken as it is, and only files of which they do not tell enough are opened."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from geohydra import signing
from geohydra.errors import DataError, GeohydraError
from geohydra.raster.clouds import CloudMask
from geohydra.raster.read import Header, probe
from geohydra.raster.target import Extent, own_grid
from geohydra.sources.bands import choose, method
from geohydra.sources.headers import Rules
from geohydra.types import Asset, Grid, LockEntry, MaskAsset, Resampling, Scene, Shape

Progress = Callable[[int, int, str], None]

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the config says beyond the items: the rules for files, whether scale and offset of items are taken, and whether files are
    opened of which their items tell enough."""

    rules: Rules
    scaled: bool = True
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """One file: its entry, the bands that it brings, its grid; its header where it was opened."""

    entry: LockEntry
    bands: Mapping[str, int]
    grid: Grid
    dtype: str
    nodata: float | None
    header: Header | None = None

    @property
    def told(self) -> Mapping[str, Any]:
        """What the lock keeps of its item."""
        return self.entry.item or {}


@dataclass(frozen=True, slots=True)
class Assembled:
    """A scene, the files that it was made of, and where they lie."""

    scene: Scene
    files: tuple[Opened, ...]
    extent: Extent


def scenes(lock: Sequence[LockEntry], wanted: Wanted, progress: Progress) -> list[Assembled | GeohydraError]:
    """Every scene of a lock, or what is wrong with it."""
    images = [entry for entry in lock if entry.role == "image"]
    answers: dict[str, list[Opened | GeohydraError]] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        reading = pool.map(partial(_try, wanted=wanted), images)
        for number, (entry, answer) in enumerate(zip(images, reading, strict=True), start=1):
            answers.setdefault(_scene_of(entry), []).append(answer)
            progress(number, len(images), _scene_of(entry))
    masks: dict[str, list[LockEntry]] = {}
    for entry in lock:
        if entry.role == "mask":
            masks.setdefault(_scene_of(entry), []).append(entry)
    return [_assembled(name, files, masks.get(name, []), wanted) for name, files in answers.items()]


def _try(entry: LockEntry, *, wanted: Wanted) -> Opened | GeohydraError:
    try:
        return _opened(entry, wanted)
    except GeohydraError as error:
        return error


def _opened(entry: LockEntry, wanted: Wanted) -> Opened:
    """One file by what its item tells; by its header where the item tells too little."""
    told = entry.item or {}
    grid, kinds = told.get("grid"), told.get("dtype")
    header = probe(entry.uri) if wanted.opened or not (grid and kinds and told.get("bands")) else None
    bands = dict(zip(told.get("bands") or (), told.get("indexes") or (), strict=True))
    if header is not None:
        bands = bands or choose(header, wanted.rules.bands)
        _refuse_other_count(entry, bands, header)
        kinds = [header.dtypes[index - 1] for index in bands.values()]
    place = header.grid if header is not None else _grid(grid or {})
    return Opened(entry, bands, place, str(np.result_type(*(kinds or ()))), _nodata(told, wanted, header), header)


def told_grid(entry: LockEntry) -> Grid | None:
    """The grid as the item tells it, if it does."""
    told = (entry.item or {}).get("grid")
    return _grid(told) if told else None


def _grid(told: Mapping[str, Any]) -> Grid:
    a, b, c, d, e, f = (float(value) for value in told["transform"])
    rows, cols = told["shape"]
    return Grid(str(told["crs"]), (a, b, c, d, e, f), Shape(int(rows), int(cols)))


def _nodata(told: Mapping[str, Any], wanted: Wanted, header: Header | None) -> float | None:
    if wanted.rules.nodata is not None:
        return float(wanted.rules.nodata)
    if told.get("nodata") is not None:
        return float(told["nodata"])
    return header.nodata if header is not None else None


def _refuse_other_count(entry: LockEntry, bands: Mapping[str, int], header: Header) -> None:
    most = max(bands.values())
    if most > header.count:
        told = f"its item tells of band {most}, the file has {header.count}"
        raise DataError(signing.bare(entry.uri), told, "the item and the file do not belong together: choose with source.bands")


def _assembled(name: str, files: Sequence[Opened | GeohydraError], masks: Sequence[LockEntry], wanted: Wanted) -> Assembled | GeohydraError:
    broken = [file for file in files if isinstance(file, GeohydraError)]
    if broken:
        return broken[0]
    good = sorted((file for file in files if isinstance(file, Opened)), key=lambda file: (file.entry.time or "", str(file.told.get("id"))))
    order = _order(good, wanted)
    assets = [asset for file in good for asset in _assets(file, order, wanted)]
    assets.sort(key=lambda asset: order.index(asset.bands[0]))
    times = [time for file in good if (time := _time(file.entry)) is not None]
    dated = any(file.told.get("dated") for file in good)
    try:
        first, *others = [_reference(of_item, wanted) for of_item in _by_item(good)]
        extent = Extent(name, first, tuple(dict.fromkeys(grid for grid in others if grid != first)))
        grid = own_grid(extent)
    except DataError as error:
        return error
    scene = Scene(
        id=name,
        grid=grid,
        assets=tuple(assets),
        time=None if dated or not times else min(times),
        properties=_properties(good),
        masks=tuple(_mask(entry, wanted.rules.clouds) for entry in masks if wanted.rules.clouds),
        composite=wanted.rules.composite if dated else None,
    )
    return Assembled(scene, tuple(good), extent)


def _order(files: Sequence[Opened], wanted: Wanted) -> list[str]:
    """Bands as the config names them, else as the files bring them."""
    return list(wanted.rules.bands) if wanted.rules.bands else list(dict.fromkeys(band for file in files for band in file.bands))


def _assets(file: Opened, order: Sequence[str], wanted: Wanted) -> list[Asset]:
    """One asset, or several where bands of other files stand between those of this one, or come onto the grid in another way."""
    names = sorted(file.bands, key=order.index)
    ways = {name: _way(file, name, wanted.rules.resampling) for name in names}
    runs: list[list[str]] = []
    for name in names:
        if runs and order.index(name) == order.index(runs[-1][-1]) + 1 and ways[name] == ways[runs[-1][-1]]:
            runs[-1].append(name)
        else:
            runs.append([name])
    return [_asset(file, run, ways[run[0]], wanted) for run in runs]


def _way(file: Opened, name: str, resampling: Mapping[str, Resampling]) -> Resampling:
    if file.header is not None:
        return method(name, file.header, file.bands[name], resampling)
    return resampling.get(name, resampling.get("*", "bilinear"))


def _asset(file: Opened, names: Sequence[str], way: Resampling, wanted: Wanted) -> Asset:
    places = [list(file.bands).index(name) for name in names]
    told = file.told
    scaled = wanted.scaled and "scale" in told
    return Asset(
        uri=file.entry.uri,
        bands=tuple(names),
        indexes=tuple(file.bands[name] for name in names),
        dtype=file.dtype,
        nodata=file.nodata,
        time=_time(file.entry) if told.get("dated") else None,
        resampling=way,
        scale=tuple(float(told["scale"][place]) for place in places) if scaled else (),
        offset=tuple(float(told["offset"][place]) for place in places) if scaled else (),
    )


def _mask(entry: LockEntry, clouds: CloudMask) -> MaskAsset:
    told = entry.item or {}
    time = _time(entry) if told.get("dated") else None
    return MaskAsset(entry.uri, int(told.get("index", 1)), clouds.values, clouds.bits, time)


def _time(entry: LockEntry) -> datetime | None:
    return datetime.fromisoformat(entry.time) if entry.time else None


def _properties(files: Sequence[Opened]) -> dict[str, Any]:
    """Where the scene comes from: for one item its address, for several how many."""
    items = list(dict.fromkeys(str(file.told.get("href")) for file in files))
    return {"geohydra:item": items[0]} if len(items) == 1 else {"geohydra:items": len(items)}


def _by_item(files: Sequence[Opened]) -> list[list[Opened]]:
    grouped: dict[str, list[Opened]] = {}
    for file in files:
        grouped.setdefault(str(file.told.get("id")), []).append(file)
    return list(grouped.values())


def _reference(files: Sequence[Opened], wanted: Wanted) -> Grid:
    """The grid that the bands of one item are read onto: that of the band asked for, else the finest."""
    if wanted.rules.reference is None:
        return min((file.grid for file in files), key=lambda grid: math.prod(grid.resolution))
    for file in files:
        if wanted.rules.reference in file.bands:
            return file.grid
    known = ", ".join(band for file in files for band in file.bands)
    where = str(files[0].told.get("href"))
    raise DataError(where, f"has no band {wanted.rules.reference!r}, which source.reference names", f"it has {known}")


def _scene_of(entry: LockEntry) -> str:
    return str((entry.item or {}).get("scene") or entry.uri)
