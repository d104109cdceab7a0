"""The grid that scenes are read onto: north up, of one CRS, one resolution and one lattice of pixel edges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.warp import transform as project

from geohydra.errors import DataError
from geohydra.raster.warp import known_crs, same_crs
from geohydra.types import Bounds, Grid, Shape

_TOLERANCE = 0.01
"""Of a pixel: so near to an edge counts as on it."""

_TURN = 360.0
_ROUND = 300.0
"""Degrees of longitude that nothing but a pole spans."""

_DIGITS = 3
_MOST_PIXELS = 10_000_000


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the files of a scene lie: the grid of its reference, and those of others that are to be covered as well."""

    scene: str
    reference: Grid
    others: tuple[Grid, ...] = field(default=())

    @property
    def all(self) -> tuple[Grid, ...]:
        """Every grid, the reference first."""
        return (self.reference, *self.others)


@dataclass(frozen=True, slots=True)
class Lattice:
    """Pixel edges: heights and widths in units of the CRS, and a corner of one pixel."""

    crs: str
    resolution: tuple[float, float]
    origin: tuple[float, float] = (0.0, 0.0)

    def cover(self, bounds: Bounds) -> Grid:
        """The smallest grid of whole pixels that covers a rectangle."""
        height, width = self.resolution
        x, y = self.origin
        left, right = _edges(bounds[0] - x, bounds[2] - x, width)
        low, high = _edges(bounds[1] - y, bounds[3] - y, height)
        transform = (width, 0.0, x + left * width, 0.0, -height, y + high * height)
        return Grid(self.crs, transform, Shape(high - low, right - left))


def own_grid(extent: Extent) -> Grid:
    """The reference's grid, north up, and large enough for all: no pixel of an upright reference moves."""
    upright = north_up(extent.reference)
    if not extent.others or not upright.crs:
        return upright
    lattice = lattice_of(upright)
    return lattice.cover(bounds_in(extent.all, upright.crs, extent.scene))


def north_up(grid: Grid) -> Grid:
    """The same ground with rows from north to south; a rotated grid becomes a larger one of the same pixel size."""
    a, _, _, _, e, _ = grid.transform
    if not grid.crs or (grid.upright and a > 0 and e < 0):
        return grid
    left, bottom, right, top = grid.bounds
    height, width = grid.resolution if grid.upright else (math.sqrt(math.prod(grid.resolution)),) * 2
    rows, cols = (max(1, math.ceil(length - _TOLERANCE)) for length in ((top - bottom) / height, (right - left) / width))
    return Grid(grid.crs, (width, 0.0, left, 0.0, -height, top), Shape(rows, cols))


def lattice_of(grid: Grid) -> Lattice:
    """The pixel edges of a north-up grid."""
    _, _, c, _, _, f = grid.transform
    return Lattice(grid.crs, grid.resolution, (c, f))


def common_origin(grids: Sequence[Grid], crs: str, resolution: tuple[float, float]) -> tuple[float, float]:
    """A corner of the lattice on which most of these grids lie already; the origin of the CRS where none does."""
    fitting = [north_up(grid) for grid in grids if grid.crs and same_crs(grid.crs, crs)]
    fitting = [grid for grid in fitting if np.allclose(grid.resolution, resolution, rtol=1e-6)]
    corners = [lattice_of(grid).origin for grid in fitting]
    phases = [tuple(round(value / size % 1 / _TOLERANCE) % 100 for value, size in zip(at, resolution[::-1], strict=True)) for at in corners]
    if not phases:
        return 0.0, 0.0
    usual, _ = Counter(phases).most_common(1)[0]
    return corners[phases.index(usual)]


def bounds_in(grids: Sequence[Grid], crs: str, scene: str) -> Bounds:
    """The smallest upright rectangle in a CRS around grids. In degrees it may go beyond 180, never round the earth."""
    outlines = [_outline(grid, crs, scene) for grid in grids]
    if known_crs(crs).is_geographic:
        middle = float(np.mean([outlines[0][0].min(), outlines[0][0].max()]))
        outlines = [(_turned(xs, middle), ys) for xs, ys in outlines]
    xs, ys = (np.concatenate(parts) for parts in zip(*outlines, strict=True))
    return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())


def resolution_in(grid: Grid, crs: str, scene: str) -> tuple[float, float]:
    """The size of a pixel in another CRS: of one that is as large in the middle of the scene, to three digits; its own in its own."""
    if same_crs(grid.crs, crs):
        return north_up(grid).resolution
    a, b, c, d, e, f = grid.transform
    row, col = grid.shape.rows / 2, grid.shape.cols / 2
    corners = [(col, row), (col + 1, row), (col, row + 1)]
    xs, ys = _projected(grid.crs, crs, [a * x + b * y + c for x, y in corners], [d * x + e * y + f for x, y in corners], scene)
    area = abs((xs[1] - xs[0]) * (ys[2] - ys[0]) - (xs[2] - xs[0]) * (ys[1] - ys[0]))
    if area == 0:
        raise DataError(scene, f"reaches beyond where {crs} is defined", "choose another source.grid.crs, such as utm")
    size = _rounded(math.sqrt(area))
    return size, size


def zone_of(grid: Grid, scene: str) -> str:
    """The UTM zone of the middle of a grid; beyond 84 N and 80 S the polar stereographic CRS."""
    left, bottom, right, top = grid.bounds
    xs, ys = _projected(grid.crs, "EPSG:4326", [(left + right) / 2], [(bottom + top) / 2], scene)
    lon, lat = (float(xs[0]) + 180) % _TURN - 180, float(ys[0])
    if lat >= 84 or lat < -80:
        return "EPSG:32661" if lat > 0 else "EPSG:32761"
    return f"EPSG:{(32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1}"


def check_size(grid: Grid, scene: str) -> Grid:
    """The grid itself. Raises DataError for one so long that its resolution can only be in the wrong unit."""
    longest = max(grid.shape.rows, grid.shape.cols)
    if longest > _MOST_PIXELS:
        height, width = grid.resolution
        problem = f"would have {grid.shape.rows:,} x {grid.shape.cols:,} pixels of {height:g} x {width:g} in {grid.crs}"
        raise DataError(scene, problem, "source.grid.resolution is in units of its CRS: degrees where that is geographic")
    return grid


def _edges(start: float, stop: float, size: float) -> tuple[int, int]:
    first = math.floor(start / size + _TOLERANCE)
    return first, max(first + 1, math.ceil(stop / size - _TOLERANCE))


def _outline(grid: Grid, crs: str, scene: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places all over a grid in another CRS; only its corners in its own."""
    steps = np.linspace(0, 1, 2 if same_crs(grid.crs, crs) else 21)
    rows, cols = (axis.ravel() for axis in np.meshgrid(steps * grid.shape.rows, steps * grid.shape.cols))
    a, b, c, d, e, f = grid.transform
    xs, ys = _projected(grid.crs, crs, (a * cols + b * rows + c).tolist(), (d * cols + e * rows + f).tolist(), scene)
    if not known_crs(crs).is_geographic:
        return xs, ys
    xs = _turned(xs, float(np.median(xs)))
    if not known_crs(grid.crs).is_geographic and float(np.ptp(xs)) > _ROUND:
        raise DataError(scene, f"lies around a pole, where {crs} has no pixels of one size", "choose a polar source.grid.crs, such as utm")
    return xs, ys


def _turned(xs: NDArray[np.float64], middle: float) -> NDArray[np.float64]:
    """Longitudes, turned round the earth until they lie beside the middle."""
    turned: NDArray[np.float64] = xs + _TURN * np.round((middle - xs) / _TURN)
    return turned


def _projected(crs: str, other: str, xs: list[float], ys: list[float], scene: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if same_crs(crs, other):
        return np.asarray(xs, float), np.asarray(ys, float)
    try:
        there: Any = project(known_crs(crs), known_crs(other), xs, ys)
    except RasterioError as cause:
        raise DataError(scene, f"cannot be brought from {crs} into {other} ({cause})", "choose another source.grid.crs") from cause
    x, y = (np.asarray(values, float) for values in there[:2])
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError(scene, f"reaches beyond where {other} is defined", "choose another source.grid.crs, such as utm")
    return x, y


def _rounded(size: float) -> float:
    return round(size, _DIGITS - 1 - math.floor(math.log10(size)))
