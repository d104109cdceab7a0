"""Which pixels a polygon covers: those whose centre lies in it, the same for every window of a scene.

GDAL's rule, computed in the pixel coordinates of the whole scene, so that windows fit together exactly: for each row,
the polygon's edges cross the line through the pixel centres; between the 1st and 2nd crossing, the 3rd and
4th, ... pixels are covered, from a crossing rounded half up to just before the next one. A horizontal edge that lies exactly
on that line covers what is above it when it runs to the left. Vertices are never rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geohydra.types import Grid, Window

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spans:
    """Runs of covered pixels: row, first column, the column after the last, and the number of the polygon."""

    rows: Ints
    starts: Ints
    stops: Ints
    owners: Ints


class Edges:
    """The edges of many polygons in the pixel coordinates of a grid; edges of one polygon stand together."""

    def __init__(self, polygons: NDArray[Any], grid: Grid) -> None:
        """`polygons` are shapely polygons or multipolygons in the CRS of the grid."""
        parts, owners = shapely.get_parts(polygons, return_index=True)
        rings, ring_parts = shapely.get_rings(parts, return_index=True)
        points, ring_of = shapely.get_coordinates(rings, return_index=True)
        cols, rows = _pixel_coordinates(points, grid)
        inside = ring_of[1:] == ring_of[:-1]
        owner = owners[ring_parts][ring_of]
        self.col1, self.row1 = cols[:-1][inside], rows[:-1][inside]
        self.col2, self.row2 = cols[1:][inside], rows[1:][inside]
        counts = np.bincount(owner[1:][inside], minlength=len(polygons))
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self.boxes = _boxes(cols, rows, owner, len(polygons))

    def of(self, polygons: Ints) -> tuple[Ints, Ints]:
        """Places of the edges of some polygons, and for each the place of its polygon among those given."""
        starts, counts = self._first[polygons], self._first[polygons + 1] - self._first[polygons]
        return ranges(starts, counts), np.repeat(np.arange(polygons.size), counts)

    def spans(self, polygons: Ints, window: Window) -> Spans:
        """The pixels of a window that polygons cover, in coordinates of the window."""
        edges, owners = self.of(polygons)
        crossings = self._crossings(edges, owners, window)
        level = self._level(edges, owners, window)
        both = [np.concatenate(pair) for pair in zip(crossings, level, strict=True)]
        return _clipped(Spans(both[0], both[1], both[2], both[3]), window)

    def _crossings(self, edges: Ints, owners: Ints, window: Window) -> tuple[Ints, Ints, Ints, Ints]:
        row1, row2, col1, col2 = self.row1[edges], self.row2[edges], self.col1[edges], self.col2[edges]
        down = row1 < row2
        top, bottom = np.where(down, row1, row2), np.where(down, row2, row1)
        left, right = np.where(down, col1, col2), np.where(down, col2, col1)
        first = np.clip(np.ceil(top - 0.5), window.row, window.row_stop).astype(np.int64)
        stop = np.clip(np.ceil(bottom - 0.5), window.row, window.row_stop).astype(np.int64)
        counts = np.maximum(stop - first, 0)
        at = np.repeat(np.arange(edges.size), counts)
        rows = ranges(first, counts)
        across = (rows + 0.5 - top[at]) * (right[at] - left[at]) / (bottom[at] - top[at]) + left[at]
        cols = np.floor(np.clip(across, window.col - 1, window.col_stop + 1) + 0.5).astype(np.int64)
        key = (owners[at] * window.shape.rows + rows - window.row) * (window.shape.cols + 3) + cols - window.col
        order = np.argsort(key)
        rows, cols, who = rows[order], cols[order], owners[at][order]
        return rows[::2], cols[::2], cols[1::2], who[::2]

    def _level(self, edges: Ints, owners: Ints, window: Window) -> tuple[Ints, Ints, Ints, Ints]:
        rows = self.row1[edges]
        lying = (rows == self.row2[edges]) & (rows % 1 == 0.5) & (self.col1[edges] > self.col2[edges])
        rows, owners, edges = rows[lying], owners[lying], edges[lying]
        low, high = window.col - 1, window.col_stop + 1
        starts = np.floor(np.clip(self.col2[edges], low, high) + 0.5).astype(np.int64)
        stops = np.floor(np.clip(self.col1[edges], low, high) + 0.5).astype(np.int64)
        return np.floor(rows).astype(np.int64), starts, stops, owners


def covered(spans: Spans, window: Window) -> NDArray[np.bool_]:
    """Which pixels `(row, col)` of a window lie in any of the spans."""
    width = window.shape.cols + 1
    first, stop = _runs(spans.rows * width + spans.starts, spans.rows * width + spans.stops)
    ends = np.zeros(2 * first.size + 2, np.int64)
    ends[1:-1:2], ends[2:-1:2], ends[-1] = first, stop, window.shape.rows * width
    inside = np.zeros(ends.size - 1, np.bool_)
    inside[1::2] = True
    return np.repeat(inside, np.diff(ends)).reshape(window.shape.rows, width)[:, :-1]


def _runs(starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """The union of spans as runs that do not touch, in order."""
    if not starts.size:
        return starts, stops
    order = np.argsort(starts)
    starts, stops = starts[order], np.maximum.accumulate(stops[order])
    apart = np.flatnonzero(starts[1:] > stops[:-1])
    return starts[np.r_[0, apart + 1]], stops[np.r_[apart, -1]]


def _clipped(spans: Spans, window: Window) -> Spans:
    rows = spans.rows - window.row
    starts = np.clip(spans.starts - window.col, 0, window.shape.cols)
    stops = np.clip(spans.stops - window.col, 0, window.shape.cols)
    kept = (stops > starts) & (rows >= 0) & (rows < window.shape.rows)
    return Spans(rows[kept], starts[kept], stops[kept], spans.owners[kept])


def ranges(starts: Ints, counts: Ints) -> Ints:
    """`starts[0], starts[0] + 1, ...` for each start as many as its count, one after the other."""
    begins = np.cumsum(counts) - counts
    steps: Ints = np.repeat(starts - begins, counts)
    return steps + np.arange(steps.size)


def _pixel_coordinates(points: Floats, grid: Grid) -> tuple[Floats, Floats]:
    """Column and row of ground points, in the arithmetic of GDAL's inverse transform."""
    a, b, c, d, e, f = grid.transform
    x, y = points[:, 0], points[:, 1]
    if b == 0 and d == 0:
        return -c / a + x * (1 / a), -f / e + y * (1 / e)
    scale = 1 / (a * e - b * d)
    cols = (b * f - c * e) * scale + x * (e * scale) + y * (-b * scale)
    rows = (-a * f + c * d) * scale + x * (-d * scale) + y * (a * scale)
    return cols, rows


def _boxes(cols: Floats, rows: Floats, owner: Ints, count: int) -> Floats:
    """Left, top, right and bottom of each polygon in pixels; one without points has none (not a number)."""
    boxes = np.full((count, 4), np.nan)
    present, begins = np.unique(owner, return_index=True)
    if present.size:
        boxes[present, 0], boxes[present, 1] = np.minimum.reduceat(cols, begins), np.minimum.reduceat(rows, begins)
        boxes[present, 2], boxes[present, 3] = np.maximum.reduceat(cols, begins), np.maximum.reduceat(rows, begins)
    return boxes
