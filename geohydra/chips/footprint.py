"""Where windows lie on the ground: footprints, overlaps and gaps between windows of different scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.types import Grid, Shape, Window

if TYPE_CHECKING:
    from shapely import Polygon

WGS84 = "EPSG:4326"


def footprints(grids: Sequence[Grid]) -> tuple[list[Polygon], str]:
    """A polygon a grid, all in one CRS, and that CRS: the grids' own where they share it, else longitude and latitude.

    Grids without a place on the ground ("") keep their pixel coordinates; beside others they cannot be drawn and
    count as lying at (0, 0).
    """
    from shapely import polygons

    names = {grid.crs for grid in grids}
    crs = next(iter(names)) if len(names) == 1 else WGS84 if names else ""
    corners = np.array([grid.corners for grid in grids]).reshape(-1, 4, 2)
    for name in names - {crs}:
        places = [place for place, grid in enumerate(grids) if grid.crs == name]
        corners[places] = project(corners[places].reshape(-1, 2), name, crs).reshape(-1, 4, 2)
    return list(polygons(corners)), crs


def window_footprints(grids: Mapping[str, Grid], scenes: Sequence[str], windows: Sequence[Window]) -> tuple[NDArray[Any], str]:
    """The same for windows of scenes, however many: a polygon a window."""
    from shapely import polygons

    names = {grids[scene].crs for scene in set(scenes)}
    crs = next(iter(names)) if len(names) == 1 else WGS84 if names else ""
    edges = np.array([(window.row, window.row_stop, window.col, window.col_stop) for window in windows], float).reshape(-1, 4)
    corners = np.stack([edges[:, [2, 3, 3, 2]], edges[:, [0, 0, 1, 1]]], axis=-1)
    whose = np.array(scenes)
    order = np.argsort(whose, kind="stable")
    known, starts = np.unique(whose[order], return_index=True)
    for scene, members in zip(known, np.split(order, starts[1:]), strict=True):
        grid = grids[str(scene)]
        a, b, c, d, e, f = grid.transform
        ground = corners[members].reshape(-1, 2) @ np.array([[a, b], [d, e]]).T + [c, f]
        corners[members] = project(ground, grid.crs, crs).reshape(-1, 4, 2)
    return np.asarray(polygons(corners)), crs


def project(points: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    """Ground coordinates `(point, xy)` in another CRS; as they are where one of the two has no place on the ground."""
    if source == target or not source or not target:
        return points
    xs, ys = _transformer(source, target).transform(points[:, 0], points[:, 1])
    return np.column_stack([xs, ys])


def metres(crs: str, bottom: float, top: float) -> tuple[float, float]:
    """How many metres one unit of the CRS is along x and along y; between two latitudes where units are degrees.

    Without a CRS a unit is a pixel and counts as one metre.
    """
    if not crs:
        return 1.0, 1.0
    factor = _metres_a_unit(crs)
    if factor is None:
        across = np.cos(np.radians(np.clip((bottom + top) / 2, -89.0, 89.0)))
        return float(111_320.0 * across), 110_574.0
    return factor, factor


def pixel_metres(grid: Grid) -> tuple[float, float]:
    """Height and width of a pixel in metres."""
    _, bottom, _, top = grid.bounds
    wide, high = metres(grid.crs, bottom, top)
    a, b, _, d, e, _ = grid.transform
    return float(np.hypot(b * wide, e * high)), float(np.hypot(a * wide, d * high))


def seen_from(grid: Grid, other: Grid) -> Window | None:
    """The smallest window of `grid`'s pixels, inside or outside of it, that covers another grid's ground.

    None where the other is a sliver of less than a thousandth of a pixel.
    """
    points = project(outline(other), other.crs, grid.crs)
    a, b, c, d, e, f = grid.transform
    cols, rows = np.linalg.solve(np.array([[a, b], [d, e]]), (points - [c, f]).T)
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        return None
    top, left = int(np.floor(rows.min() + 1e-3)), int(np.floor(cols.min() + 1e-3))
    height, width = int(np.ceil(rows.max() - 1e-3)) - top, int(np.ceil(cols.max() - 1e-3)) - left
    return Window(top, left, Shape(height, width)) if height > 0 and width > 0 else None


def outline(grid: Grid, *, steps: int = 8) -> NDArray[np.float64]:
    """Points along the border: a straight edge in one CRS is bent in another."""
    corners = np.array([*grid.corners, grid.corners[0]])
    parts = np.linspace(0, 1, steps, endpoint=False)[:, None]
    return np.concatenate([first + (last - first) * parts for first, last in pairwise(corners)])


def trim(window: Window, other: Window, gap: int) -> Window | None:
    """The largest part of a window that keeps `gap` pixels from another along rows or along columns."""
    near = grown(other, gap)
    if window.intersect(near) is None:
        return window
    parts = (
        _window(window.row, window.col, min(near.row, window.row_stop), window.col_stop),
        _window(max(near.row_stop, window.row), window.col, window.row_stop, window.col_stop),
        _window(window.row, window.col, window.row_stop, min(near.col, window.col_stop)),
        _window(window.row, max(near.col_stop, window.col), window.row_stop, window.col_stop),
    )
    known = [part for part in parts if part is not None]
    return max(known, key=lambda part: part.shape.size) if known else None


def grown(window: Window, gap: int) -> Window:
    """A window with a margin all around."""
    return Window(window.row - gap, window.col - gap, Shape(window.shape.rows + 2 * gap, window.shape.cols + 2 * gap))


def neighbours(shapes: Sequence[Any], distance: float, *, marks: NDArray[Any] | None = None) -> list[tuple[int, int]]:
    """Pairs `(i, j)`, i < j, of shapes that lie within a distance of each other, in order; with `marks`, of unequal ones only."""
    from shapely import STRtree

    if not len(shapes):
        return []
    ones, others = STRtree(shapes).query(np.array(shapes, object), predicate="dwithin", distance=distance)
    wanted = ones < others
    if marks is not None:
        wanted &= marks[ones] != marks[others]
    pairs = np.column_stack([ones[wanted], others[wanted]])
    return [(int(i), int(j)) for i, j in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]]


def clusters(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of 0..count-1 that pairs hold together, each sorted, by their first member."""
    root = list(range(count))

    def find(place: int) -> int:
        while root[place] != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    for one, other in pairs:
        low, high = sorted((find(one), find(other)))
        root[high] = low
    groups: dict[int, list[int]] = {}
    for place in range(count):
        groups.setdefault(find(place), []).append(place)
    return list(groups.values())


def _window(row: int, col: int, row_stop: int, col_stop: int) -> Window | None:
    return Window(row, col, Shape(row_stop - row, col_stop - col)) if row_stop > row and col_stop > col else None


@cache
def _metres_a_unit(crs: str) -> float | None:
    """None for degrees."""
    from pyproj import CRS

    known = CRS.from_user_input(crs)
    if known.is_geographic:
        return None
    return float(known.axis_info[0].unit_conversion_factor) if known.axis_info else 1.0


@cache
def _transformer(source: str, target: str) -> Any:
    from pyproj import Transformer

    return Transformer.from_crs(source, target, always_xy=True)
