"""Which pixels a polygon covers: those whose centre lies in it, the same for every window of a scene.

GDAL's rule, computed in the pixel coordinates of the whole scene, so that windows fit together exactly: for each row,
the polygon's edges cross the line through the pixel centres; between the 1st and 2nd crossing, the 3rd and
4th, ... pixels are covered, from a crossing rounded half up to just before the next one. A horizontal edge that lies exactly
on that line covers what is above it when it runs to the left, rings being wound clockwise on the ground. Vertices are never
rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def take(self, places: Ints) -> Spans:
        """Some of them."""
        return Spans(self.rows[places], self.starts[places], self.stops[places], self.owners[places])


class Edges:
    """The outlines of many polygons in the pixel coordinates of a grid: one array of points, those of one polygon together.

    An edge leads from a point to the next one, except from the last point of a ring. About 17 bytes a point and 40 a polygon.
    """

    def __init__(self, cols: Floats, rows: Floats, ends: NDArray[np.bool_], counts: Ints) -> None:
        """Points, whether each ends its ring, and how many points each polygon has."""
        self.cols, self.rows, self.ends = cols, rows, ends
        self.first = np.concatenate([[0], np.cumsum(counts)])
        self.boxes = _boxes(cols, rows, self.first)

    @classmethod
    def of_shapes(cls, polygons: NDArray[Any], grid: Grid) -> Edges:
        """`polygons` are shapely polygons or multipolygons in the CRS of the grid."""
        parts, owners = shapely.get_parts(polygons, return_index=True)
        rings, ring_parts = shapely.get_rings(parts, return_index=True)
        rings = _wound(rings)
        points, ring_of = shapely.get_coordinates(rings, return_index=True)
        cols, rows = _pixel_coordinates(points, grid)
        ends = np.ones(len(points), np.bool_)
        ends[:-1] = ring_of[1:] != ring_of[:-1]
        sizes = shapely.get_num_coordinates(rings)
        counts = np.bincount(owners[ring_parts], weights=sizes, minlength=len(polygons)).astype(np.int64)
        return cls(cols, rows, ends, counts)

    @classmethod
    def joined(cls, parts: Sequence[Edges]) -> Edges:
        """The polygons of several, one after the other."""
        columns = [np.concatenate(arrays) for arrays in zip(*((part.cols, part.rows, part.ends) for part in parts), strict=True)]
        return cls(columns[0], columns[1], columns[2], np.concatenate([np.diff(part.first) for part in parts]))

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(array.nbytes for array in (self.cols, self.rows, self.ends, self.first, self.boxes))

    def of(self, polygons: Ints) -> tuple[Ints, Ints]:
        """Places of the edges (of their first points) of some polygons, and for each the place of its polygon among those given."""
        starts = self.first[polygons]
        counts = self.first[polygons + 1] - starts
        places, owners = ranges(starts, counts), np.repeat(np.arange(polygons.size), counts)
        leading = ~self.ends[places]
        return places[leading], owners[leading]

    def shapes(self, polygons: Ints) -> NDArray[Any]:
        """Some polygons as shapely geometries in pixel coordinates `(col, row)`; parts and holes as they lie in each other."""
        starts = self.first[polygons]
        counts = self.first[polygons + 1] - starts
        places, owners = ranges(starts, counts), np.repeat(np.arange(polygons.size), counts)
        plain = np.bincount(owners[self.ends[places]], minlength=polygons.size) == 1
        own = plain[owners]
        rings = shapely.linearrings(
            np.column_stack([self.cols[places[own]], self.rows[places[own]]]), indices=(np.cumsum(plain) - 1)[owners[own]]
        )
        shapes = np.empty(polygons.size, object)
        shapes[plain] = shapely.polygons(rings)
        shapes[~plain] = [self._shape(int(polygon)) for polygon in polygons[~plain]]
        return shapes

    def _shape(self, polygon: int) -> Any:
        """One of several rings."""
        own = slice(self.first[polygon], self.first[polygon + 1])
        points = np.column_stack([self.cols[own], self.rows[own]])
        rings = np.split(points, np.flatnonzero(self.ends[own])[:-1] + 1)
        return shapely.build_area(shapely.multilinestrings([shapely.linestrings(ring) for ring in rings]))

    def spans(self, polygons: Ints, window: Window) -> Spans:
        """The pixels of a window that polygons cover, in coordinates of the window."""
        edges, owners = self.of(polygons)
        crossings = self._crossings(edges, owners, window)
        level = self._level(edges, owners, window)
        both = [np.concatenate(pair) for pair in zip(crossings, level, strict=True)]
        return _clipped(Spans(both[0], both[1], both[2], both[3]), window)

    def _crossings(self, edges: Ints, owners: Ints, window: Window) -> tuple[Ints, Ints, Ints, Ints]:
        row1, row2 = self.rows[edges], self.rows[edges + 1]
        first = np.clip(np.ceil(np.minimum(row1, row2) - 0.5), window.row, window.row_stop).astype(np.int64)
        stop = np.clip(np.ceil(np.maximum(row1, row2) - 0.5), window.row, window.row_stop).astype(np.int64)
        met = np.flatnonzero(stop > first)
        first, counts, edges, down = first[met], (stop - first)[met], edges[met], (row1 < row2)[met]
        above, below = np.where(down, edges, edges + 1), np.where(down, edges + 1, edges)
        top, left = self.rows[above], self.cols[above]
        run, rise = self.cols[below] - left, self.rows[below] - top
        at = np.repeat(np.arange(met.size), counts)
        rows = ranges(first, counts)
        across = (rows + 0.5 - top[at]) * run[at] / rise[at] + left[at]
        cols = np.floor(np.clip(across, window.col - 1, window.col_stop + 1) + 0.5).astype(np.int64)
        width = window.shape.cols + 3
        key = (owners[met][at] * window.shape.rows + rows - window.row) * width + cols - window.col + 1
        key.sort()
        lines, starts = np.divmod(key[::2], width)
        who, rows = np.divmod(lines, window.shape.rows)
        return rows + window.row, starts + window.col - 1, key[1::2] - lines * width + window.col - 1, who

    def _level(self, edges: Ints, owners: Ints, window: Window) -> tuple[Ints, Ints, Ints, Ints]:
        lying = self.rows[edges] == self.rows[edges + 1]
        edges, owners = edges[lying], owners[lying]
        rows, col1, col2 = self.rows[edges], self.cols[edges], self.cols[edges + 1]
        drawn = (rows % 1 == 0.5) & (col1 > col2)
        low, high = window.col - 1, window.col_stop + 1
        starts = np.floor(np.clip(col2[drawn], low, high) + 0.5).astype(np.int64)
        stops = np.floor(np.clip(col1[drawn], low, high) + 0.5).astype(np.int64)
        return np.floor(rows[drawn]).astype(np.int64), starts, stops, owners[drawn]


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


def _wound(rings: NDArray[Any]) -> NDArray[Any]:
    """All rings clockwise on the ground, holes as well, as GDAL winds them: it decides which level edges are drawn."""
    return np.where(shapely.is_ccw(rings), shapely.reverse(rings), rings)


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


def _boxes(cols: Floats, rows: Floats, first: Ints) -> Floats:
    """Left, top, right and bottom of each polygon in pixels; one without points has none (not a number)."""
    boxes = np.full((first.size - 1, 4), np.nan)
    present = np.flatnonzero(np.diff(first))
    if present.size:
        begins = first[present]
        boxes[present, 0], boxes[present, 1] = np.minimum.reduceat(cols, begins), np.minimum.reduceat(rows, begins)
        boxes[present, 2], boxes[present, 3] = np.maximum.reduceat(cols, begins), np.maximum.reduceat(rows, begins)
    return boxes
