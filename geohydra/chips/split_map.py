"""A map of the splits: whose ground is whose, with the labels faint behind it."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.chips.content import Content
from geohydra.chips.cutting import Cutting
from geohydra.chips.footprint import metres, project, seen_from, window_footprints
from geohydra.chips.index import SPLITS
from geohydra.types import IGNORE, Grid, Scene, Shape

_COLORS = MappingProxyType({"train": (70, 120, 175), "val": (235, 165, 30), "test": (190, 55, 45)})
_CANVAS = 900
_PAPER = 250
_FAINT = 0.4
"""How much of a label's colour is left."""

_STRENGTH = MappingProxyType({"region": 0.25, "chip": 0.5})
"""How much a split covers the labels, where no chip was cut and where one was."""

_CHIPS = 50_000
"""Chips drawn one by one, at most; regions tell enough where there are more."""


def split_map(cutting: Cutting, scenes: Sequence[Scene], classes: Sequence[str]) -> bytes:
    """Regions on the ground in the colour of their split, pale where no chip was cut; north is up where there is one."""
    grids = {scene.id: scene.grid for scene in scenes}
    drawn = cutting.chips if len(cutting.chips) <= _CHIPS else ()
    regions, crs = window_footprints(grids, [region.scene for region in cutting.regions], [region.window for region in cutting.regions])
    chips, _ = window_footprints(grids, [chip.scene for chip in drawn], [chip.window for chip in drawn])
    shapes = [(shape, _mark(region.split, chip=not drawn)) for shape, region in zip(regions, cutting.regions, strict=True)]
    shapes += [(shape, _mark(chip.split, chip=True)) for shape, chip in zip(chips, drawn, strict=True)]
    canvas, pixel = _canvas(crs, [shape.bounds for shape, _ in shapes])
    colors = pictures.palette(classes)
    used = {region.scene for region in cutting.regions}
    labels = _labels(canvas, [scene for scene in scenes if scene.id in used], cutting.content)
    rgb = _covered(_faint(pictures.classes_rgb(labels, colors), labels), _marks(canvas, shapes))
    legend = {split: color for split, color in _COLORS.items() if any(region.split == split for region in cutting.regions)}
    legend |= {name: _mixed(color) for name, color in zip(classes, colors, strict=True)}
    return pictures.ground_map(rgb, title="Splits", legend=legend, pixel=pixel if crs else None)


def _canvas(crs: str, bounds: Sequence[tuple[float, float, float, float]]) -> tuple[Grid, float]:
    """A grid around all shapes, its pixels square on the ground, and their side in metres."""
    sides = np.array(bounds)
    (left, bottom), (right, top) = sides[:, :2].min(axis=0), sides[:, 2:].max(axis=0)
    wide, high = metres(crs, float(bottom), float(top))
    pixel = max((right - left) * wide, (top - bottom) * high) / _CANVAS
    shape = Shape(max(1, round((top - bottom) * high / pixel)), max(1, round((right - left) * wide / pixel)))
    return Grid(crs, (pixel / wide, 0.0, float(left), 0.0, -pixel / high, float(top)), shape), float(pixel)


def _labels(canvas: Grid, scenes: Sequence[Scene], content: Content | None) -> NDArray[np.uint8]:
    """Class ids on the canvas, from the coarse look at each scene that dividing took."""
    found = np.full((canvas.shape.rows, canvas.shape.cols), IGNORE, np.uint8)
    for scene in scenes if content is not None else ():
        seen = seen_from(canvas, scene.grid)
        part = seen.clip(canvas.shape) if seen is not None else None
        if content is None or part is None:
            continue
        rows, cols = np.mgrid[part.row : part.row_stop, part.col : part.col_stop] + 0.5
        mask = content.mask(scene.id)
        place = _places(canvas, scene.grid, np.column_stack([cols.ravel(), rows.ravel()])) * np.array(mask.shape)[::-1]
        col, row = np.floor(place).astype(int).T
        inside = (row >= 0) & (col >= 0) & (row < mask.shape[0]) & (col < mask.shape[1])
        values = np.full(inside.shape, IGNORE, np.uint8)
        values[inside] = mask[row[inside], col[inside]]
        view = found[part.slices]
        view[...] = np.where(values.reshape(view.shape) == IGNORE, view, values.reshape(view.shape))
    return found


def _places(canvas: Grid, grid: Grid, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where pixels of the canvas `(point, col row)` lie in a grid: shares of its width and height."""
    a, b, c, d, e, f = canvas.transform
    ground = project(points @ np.array([[a, b], [d, e]]).T + [c, f], canvas.crs, grid.crs)
    a, b, c, d, e, f = grid.transform
    pixels = (ground - [c, f]) @ np.linalg.inv(np.array([[a, b], [d, e]])).T
    return np.asarray(pixels / [grid.shape.cols, grid.shape.rows])


def _mark(split: str, *, chip: bool) -> int:
    return 1 + 2 * SPLITS.index(split) + int(chip)


def _marks(canvas: Grid, shapes: Sequence[tuple[Any, int]]) -> NDArray[np.uint8]:
    from affine import Affine
    from rasterio.features import rasterize

    size = (canvas.shape.rows, canvas.shape.cols)
    return np.asarray(rasterize(shapes, size, transform=Affine(*canvas.transform), dtype="uint8"))


def _faint(rgb: pictures.Rgb, labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    paper = np.full(rgb.shape, float(_PAPER))
    return np.where((labels == IGNORE)[..., None], paper, rgb * _FAINT + paper * (1 - _FAINT))


def _mixed(color: pictures.Color) -> pictures.Color:
    red, green, blue = (round(channel * _FAINT + _PAPER * (1 - _FAINT)) for channel in color)
    return red, green, blue


def _covered(rgb: NDArray[np.float64], marks: NDArray[np.uint8]) -> pictures.Rgb:
    """Splits laid over, with a line where one ends."""
    for split, color in _COLORS.items():
        for kind, strength in _STRENGTH.items():
            here = marks == _mark(split, chip=kind == "chip")
            rgb[here] = rgb[here] * (1 - strength) + np.array(color) * strength
        rgb[_edge((marks + 1) // 2 == SPLITS.index(split) + 1)] = color
    return np.asarray(rgb.clip(0, 255), np.uint8)


def _edge(here: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a shape that have a neighbour outside."""
    padded = np.pad(here, 1)
    return here & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
