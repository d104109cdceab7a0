"""Objects of a window, from the same polygons that are burnt: boxes, shares, and pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geohydra.task import Objects
from geohydra.types import Window
from geohydra.vector.polygons import Polygons

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def clipped(polygons: Polygons, chosen: Ints, window: Window) -> Objects:
    """Those of the chosen polygons that lie in a window, cut off at its edges."""
    boxes, shares = polygons.edges.boxes[chosen], np.ones(chosen.size)
    left, top, right, bottom = boxes.T
    across = np.flatnonzero((left < window.col) | (top < window.row) | (right > window.col_stop) | (bottom > window.row_stop))
    boxes[across], shares[across] = _cut(polygons.edges.shapes(chosen[across]), window)
    kept = np.flatnonzero(shares > 0)
    numbers = chosen[kept]
    inner = boxes[kept][:, [1, 0, 3, 2]] - [window.row, window.col, window.row, window.col]
    return Objects(numbers, tuple(polygons.names[code] for code in polygons.codes[numbers]), inner, shares[kept])


def painted(polygons: Polygons, objects: Objects, ranks: Mapping[str, int], window: Window) -> NDArray[np.uint32]:
    """1 + the row of the uppermost object at each pixel `(row, col)` of a window, 0 where there is none.

    An object whose class has a higher rank (without one it is 0) lies above, and of two of one rank the later one.
    """
    spans = polygons.edges.spans(objects.numbers, window)
    order = np.argsort([ranks.get(name, 0) for name in objects.classes], kind="stable")
    height = np.empty(len(objects), np.int64)
    height[order] = np.arange(len(objects))
    by_height = np.argsort(height[spans.owners], kind="stable")
    out = np.zeros((window.shape.rows, window.shape.cols), np.uint32)
    columns = zip(*(column[by_height].tolist() for column in (spans.rows, spans.starts, spans.stops, spans.owners)), strict=True)
    for row, start, stop, owner in columns:
        out[row, start:stop] = owner + 1
    return out


def _cut(shapes: NDArray[Any], window: Window) -> tuple[Floats, Floats]:
    """Boxes of what lies in a window, and its share of the whole area; 0 where they only touch."""
    parts = shapely.intersection(shapes, shapely.box(window.col, window.row, window.col_stop, window.row_stop))
    areas = shapely.area(shapes)
    shares = np.divide(shapely.area(parts), areas, out=np.zeros(len(shapes)), where=areas > 0)
    return shapely.bounds(parts), np.minimum(shares, 1.0)
