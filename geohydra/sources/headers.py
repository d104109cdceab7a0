"""Scenes from the headers of their files: grid, bands, nodata. No pixel is kept, and only to find a valid one any is read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from geohydra.errors import DataError, GeohydraError
from geohydra.raster.clouds import CloudMask
from geohydra.raster.header import refused_model
from geohydra.raster.read import Header, SceneReader, probe
from geohydra.raster.target import Extent, own_grid
from geohydra.raster.warp import same_crs
from geohydra.sources.bands import Wanted, choose, choose_files, method, names_in, told_bands, with_band
from geohydra.sources.grids import TargetGrid
from geohydra.sources.pairing import BandFile, SceneFiles
from geohydra.types import Asset, Grid, Resampling, Scene, Shape, Window, tile_windows

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

Scaling = Literal["file"] | Mapping[str, Sequence[float]] | None
"""Numbers as the file holds them (None), as the file says that they are meant, or a scale and an offset by the name of a band."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How headers are read: names of bands, what the user states beyond what the files say, and what is made of it."""

    bands: Wanted = None
    nodata: float | Literal["nan"] | None = None
    crs: str | None = None
    allow_no_crs: bool = False
    reference: str | None = None
    resampling: Mapping[str, Resampling] = field(default_factory=dict)
    scaling: Scaling = None
    clouds: CloudMask | None = None
    composite: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A scene without labels, where its files lie, whether some of its pixels may be no measurement, and the CRS that the user states
    for files that have none."""

    scene: Scene
    files: SceneFiles
    gaps: bool
    extent: Extent | None = None
    stated: str | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of a scene, and which of its bands have which names."""

    file: BandFile
    header: Header
    bands: Mapping[str, int]


def draft(files: SceneFiles, rules: Rules) -> Draft:
    """One scene from its headers, on the grid of its own reference. Raises DataError for what cannot be used."""
    found = [probe(file.uri, allow_no_crs=True) for file in files.files]
    headers = [_placed(header, rules) for header in found]
    _refuse_mixture(headers)
    parts = _parts(files, headers, rules)
    extent = _extent(files.id, parts, rules)
    assets = tuple(asset for part in parts for asset in _assets(part, rules))
    scene = Scene(files.id, own_grid(extent), assets, time=files.time)
    if rules.clouds is not None:
        scene = rules.clouds.masked(scene)
    if len(scene.times) > 1:
        scene = replace(scene, composite=rules.composite)
    gaps = any(_gaps(part.header, asset) for part in parts for asset in assets) or _patched(parts, scene)
    stated = rules.crs if any(not header.grid.crs for header in found) else None
    return _refuse_stated(Draft(scene, files, gaps, extent, stated))


def on_target(drafts: Sequence[Draft], target: TargetGrid) -> tuple[list[Draft], list[str]]:
    """The scenes on the grid that a source wants, and a sentence for each that lies outside of it."""
    if not target.given:
        return list(drafts), []
    grids = target.grids([found.extent or Extent(found.scene.id, found.scene.grid) for found in drafts])
    pairs = zip(drafts, grids, strict=True)
    kept = [_refuse_stated(replace(found, scene=replace(found.scene, grid=grid), gaps=True)) for found, grid in pairs if grid is not None]
    outside = [found.scene.id for found, grid in zip(drafts, grids, strict=True) if grid is None]
    if drafts and not kept:
        raise DataError(outside[0], f"and all other scenes ({len(outside)}) lie outside of source.grid.bounds", "check their order and CRS")
    return kept, [f"{name}: left out, it lies outside of source.grid.bounds" for name in outside]


def try_draft(files: SceneFiles, rules: Rules) -> Draft | GeohydraError:
    """The scene, or what is wrong with it."""
    try:
        return draft(files, rules)
    except GeohydraError as error:
        return error


def band_errors(drafts: Sequence[Draft]) -> list[GeohydraError]:
    """Scenes whose bands are not those that most scenes have."""
    if not drafts:
        return []
    usual, _ = Counter(found.scene.bands for found in drafts).most_common(1)[0]
    example = next(found.scene.id for found in drafts if found.scene.bands == usual)
    hint = "choose the bands that all have with source.bands, or make the pattern of the images narrower"
    return [
        DataError(
            found.files.files[0].uri,
            f"has the {told_bands(found.scene.bands)}, other scenes such as {example} have {told_bands(usual, noun='')}",
            _JOINING if _lone(found) and len(usual) == 1 else hint,
        )
        for found in drafts
        if found.scene.bands != usual
    ]


def stack_notes(drafts: Sequence[Draft]) -> list[str]:
    """A sentence where images of one band each lie on each other: most often they are the bands of one."""
    if not all(map(_lone, drafts)):
        return []
    piles = Counter((found.scene.grid.crs, found.scene.grid.bounds) for found in drafts)
    most = max(piles.values(), default=0)
    return [f"{most} images of one band each lie on the same ground: {_JOINING}"] if most > 1 else []


_JOINING = """if they are the bands of one scene, join them: 'source.scene="(?P<scene>[^/]+)_(?P<band>[^_/]+)[.]"'"""


def _lone(found: Draft) -> bool:
    return len(found.scene.bands) == 1 and len(found.files.files) == 1 and found.files.files[0].band is None and found.scene.time is None


def type_notes(drafts: Sequence[Draft]) -> list[str]:
    """A sentence where scenes do not hold the same type of numbers."""
    kinds = {asset.dtype: found.scene.id for found in drafts for asset in found.scene.assets}
    told = ", ".join(f"{dtype} (such as {scene})" for dtype, scene in kinds.items())
    return [f"the images hold different types of numbers: {told}; are they of one scale?"] if len(kinds) > 1 else []


def has_data(found: Draft) -> bool:
    """Whether any pixel of a scene was measured: looks from the middle outwards, and stops at the first one."""
    if not found.gaps:
        return True
    times = found.scene.times
    return any(_any_valid(scene) for scene in ([found.scene.at(time) for time in times] if times else [found.scene]))


def _any_valid(scene: Scene) -> bool:
    shape = scene.grid.shape
    with SceneReader(scene) as reader:
        block = reader.block
        size = Shape(_at_least(512, block.rows, shape.rows), _at_least(512, block.cols, shape.cols))
        first = Window(shape.rows // 2 // block.rows * block.rows, shape.cols // 2 // block.cols * block.cols, block)
        others = sorted(tile_windows(shape, size, size), key=lambda window: _from_middle(window, shape))
        return any(bool(reader.read(window).valid.any()) for window in [first, *others])


def _at_least(least: int, block: int, most: int) -> int:
    """A multiple of the block, so large that reads are few, within the image."""
    return min(most, block * max(1, math.ceil(least / block)))


def _from_middle(window: Window, shape: Shape) -> float:
    rows = window.row + window.shape.rows / 2 - shape.rows / 2
    cols = window.col + window.shape.cols / 2 - shape.cols / 2
    return rows**2 + cols**2


def _placed(header: Header, rules: Rules) -> Header:
    """With the CRS that the user states, where the file has none."""
    if header.grid.crs or (rules.allow_no_crs and not rules.crs):
        return header
    if header.by_model:
        raise refused_model(header.uri)
    if not rules.crs:
        hint = "if you know it, state it with source.crs=EPSG:CODE; to take images in pixels, set source.allow_no_crs=true"
        raise DataError(header.uri, "has no coordinate reference system (CRS)", hint)
    if header.grid.transform == _IDENTITY:
        problem = "has neither a CRS nor a transform: source.crs alone does not place it"
        raise DataError(header.uri, problem, "take it in pixels with source.allow_no_crs=true")
    return replace(header, grid=Grid(rules.crs, header.grid.transform, header.grid.shape))


def _parts(files: SceneFiles, headers: Sequence[Header], rules: Rules) -> list[_Part]:
    """The files that are needed, in the order of the bands that are wanted, and those of one band from the uppermost down."""
    clouds = rules.clouds.band if rules.clouds else None
    pairs = list(zip(files.files, headers, strict=True))
    if files.files[0].band is None:
        wanted = [with_band(rules.bands, clouds, names_in(header)) for header in headers]
        parts = [_Part(file, header, choose(header, names)) for (file, header), names in zip(pairs, wanted, strict=True)]
        _refuse_other_bands(parts)
        return parts
    by_band: dict[str, list[Header]] = {}
    for file, header in pairs:
        by_band.setdefault(str(file.band), []).append(header)
    chosen = choose_files(files.id, by_band, with_band(rules.bands, clouds, list(by_band)))
    of = {header.uri: file for file, header in pairs}
    return [_Part(of[header.uri], header, {name: header.indexes[0]}) for name, several in chosen.items() for header in several]


def _assets(part: _Part, rules: Rules) -> Iterator[Asset]:
    """One for each way in which bands of a file come onto another grid."""
    methods = {name: method(name, part.header, index, rules.resampling) for name, index in part.bands.items()}
    for how in dict.fromkeys(methods.values()):
        bands = {name: index for name, index in part.bands.items() if methods[name] == how}
        yield _asset(part, bands, how, rules)


def _asset(part: _Part, bands: Mapping[str, int], resampling: Resampling, rules: Rules) -> Asset:
    header = part.header
    nodata = header.nodata if rules.nodata is None else float(rules.nodata)
    dtype = np.result_type(*(header.dtypes[index - 1] for index in bands.values()))
    scale, offset = _scaled(header, bands, rules.scaling)
    return Asset(header.uri, tuple(bands), tuple(bands.values()), str(dtype), nodata, part.file.time, resampling, scale, offset)


def _scaled(header: Header, bands: Mapping[str, int], scaling: Scaling) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scales and offsets of bands; empty where numbers stay as they are."""
    if scaling is None:
        return (), ()
    if scaling == "file":
        pairs = [(header.scales[index - 1], header.offsets[index - 1]) for index in bands.values()]
    else:
        rest = scaling.get("*", (1.0, 0.0))
        pairs = [(float(numbers[0]), float(numbers[1])) for numbers in (scaling.get(name, rest) for name in bands)]
    if all(pair == (1.0, 0.0) for pair in pairs):
        return (), ()
    return tuple(scale for scale, _ in pairs), tuple(offset for _, offset in pairs)


def _extent(scene: str, parts: Sequence[_Part], rules: Rules) -> Extent:
    """The file whose grid the others are read onto: of the band asked for, else the finest; and all files of its band."""
    clouds = rules.clouds.band if rules.clouds else None
    known = [part for part in parts if set(part.bands) != {clouds}]
    if rules.reference is not None:
        known = [part for part in known if rules.reference in part.bands]
        if not known:
            names = dict.fromkeys(name for part in parts for name in part.bands)
            problem = f"has no band {rules.reference!r}, which source.reference names"
            raise DataError(scene, problem, f"it has {', '.join(names)}")
    alike = [part for part in known if part.header.grid.crs == known[0].header.grid.crs]
    finest = min(alike, key=lambda part: math.prod(part.header.grid.resolution))
    band = rules.reference or next(iter(finest.bands))
    others = tuple(part.header.grid for part in known if band in part.bands and part is not finest)
    return Extent(scene, finest.header.grid, tuple(dict.fromkeys(others)))


def _gaps(header: Header, asset: Asset) -> bool:
    return header.mask != "none" or asset.nodata is not None or np.dtype(asset.dtype).kind == "f"


def _patched(parts: Sequence[_Part], scene: Scene) -> bool:
    """Whether pixels may be missing although no file says so: beside the files of a mosaic, below masks, around a rotated image."""
    return bool(scene.masks) or any(part.header.grid != scene.grid for part in parts)


def _refuse_mixture(headers: Sequence[Header]) -> None:
    placed = [header for header in headers if header.grid.crs]
    lost = [header for header in headers if not header.grid.crs]
    if placed and lost:
        problem = f"has no CRS, and {placed[0].uri} of the same scene has {placed[0].grid.crs}"
        raise DataError(lost[0].uri, problem, "write the CRS into the file (rio edit-info --crs EPSG:CODE)")


def _refuse_other_bands(parts: Sequence[_Part]) -> None:
    first, *rest = parts
    for part in rest:
        if set(part.bands) != set(first.bands):
            problem = f"has the bands {', '.join(part.bands)}, and {first.header.uri} of the same scene has {', '.join(first.bands)}"
            raise DataError(part.header.uri, problem, "choose those that all have with source.bands")


def _refuse_stated(found: Draft) -> Draft:
    """The draft itself. A file without a CRS is read as if it had that of its scene's grid: both must be the one that is stated."""
    if found.stated and not same_crs(found.stated, found.scene.grid.crs):
        problem = f"has files without a CRS, for which source.crs states {found.stated}, and is to be read in {found.scene.grid.crs}"
        raise DataError(found.scene.id, problem, "write the CRS into the files (rio edit-info --crs EPSG:CODE)")
    return found
