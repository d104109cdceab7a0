"""Scenes from the headers of their files: grid, bands, nodata. No pixel is kept, and only to find a valid one any is read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from geohydra.errors import DataError, GeohydraError
from geohydra.raster.read import Header, SceneReader, probe
from geohydra.sources.bands import Wanted, choose, choose_files
from geohydra.sources.pairing import SceneFiles
from geohydra.types import Asset, Grid, Scene, Shape, Window, tile_windows

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Rules:
    """How headers are read: names of bands, what the user states beyond what the files say."""

    bands: Wanted = None
    nodata: float | Literal["nan"] | None = None
    crs: str | None = None
    allow_no_crs: bool = False
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A scene without labels, and whether some of its pixels may be no measurement."""

    scene: Scene
    files: SceneFiles
    gaps: bool


def draft(files: SceneFiles, rules: Rules) -> Draft:
    """One scene from its headers. Raises DataError for what cannot be used."""
    by_file = [(file, _placed(probe(file.uri, allow_no_crs=True), rules)) for file in files.files]
    if by_file[0][0].band is None:
        header = by_file[0][1]
        bands = choose(header, rules.bands)
        assets: tuple[Asset, ...] = (_asset(header, tuple(bands), tuple(bands.values()), rules),)
        headers = dict.fromkeys(bands, header)
    else:
        headers = choose_files(files.id, {str(file.band): header for file, header in by_file}, rules.bands)
        assets = tuple(_asset(header, (name,), header.indexes, rules) for name, header in headers.items())
    grid = _reference(files.id, headers, rules).grid
    gaps = any(_gaps(header, asset) for header in headers.values() for asset in assets)
    return Draft(Scene(files.id, grid, assets, time=files.time), files, gaps)


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
    return [
        DataError(
            found.files.files[0].uri,
            f"has the bands {', '.join(found.scene.bands)}, other scenes such as {example} have {', '.join(usual)}",
            "choose the bands that all have with source.bands, or make the pattern of the images narrower",
        )
        for found in drafts
        if found.scene.bands != usual
    ]


def type_notes(drafts: Sequence[Draft]) -> list[str]:
    """A sentence where scenes do not hold the same type of numbers."""
    kinds = {asset.dtype: found.scene.id for found in drafts for asset in found.scene.assets}
    told = ", ".join(f"{dtype} (such as {scene})" for dtype, scene in kinds.items())
    return [f"the images hold different types of numbers: {told}; are they of one scale?"] if len(kinds) > 1 else []


def has_data(found: Draft) -> bool:
    """Whether any pixel of a scene was measured: looks from the middle outwards, and stops at the first one."""
    if not found.gaps:
        return True
    shape = found.scene.grid.shape
    with SceneReader(found.scene) as reader:
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
    if not rules.crs:
        hint = "if you know it, state it with source.crs=EPSG:CODE; to take images in pixels, set source.allow_no_crs=true"
        raise DataError(header.uri, "has no coordinate reference system (CRS)", hint)
    if header.grid.transform == _IDENTITY:
        problem = "has neither a CRS nor a transform: source.crs alone does not place it"
        raise DataError(header.uri, problem, "take it in pixels with source.allow_no_crs=true")
    return replace(header, grid=Grid(rules.crs, header.grid.transform, header.grid.shape))


def _asset(header: Header, bands: tuple[str, ...], indexes: tuple[int, ...], rules: Rules) -> Asset:
    nodata = header.nodata if rules.nodata is None else float(rules.nodata)
    dtype = np.result_type(*(header.dtypes[index - 1] for index in indexes))
    return Asset(header.uri, bands, indexes, str(dtype), nodata)


def _gaps(header: Header, asset: Asset) -> bool:
    return header.mask != "none" or asset.nodata is not None or np.dtype(asset.dtype).kind == "f"


def _reference(scene: str, headers: dict[str, Header], rules: Rules) -> Header:
    """The file whose grid all others are read onto: that of the band asked for, else the finest."""
    if rules.reference is not None:
        if rules.reference not in headers:
            raise DataError(scene, f"has no band {rules.reference!r}, which source.reference names", f"it has {', '.join(headers)}")
        return headers[rules.reference]
    first, *others = headers.values()
    alike = [first, *(header for header in others if header.grid.crs == first.grid.crs)]
    return min(alike, key=lambda header: math.prod(header.grid.resolution))
