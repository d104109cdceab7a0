"""Chips of different splits must not show the same ground: what a network has seen would be asked of it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.apart import overlapping
from geohydra.chips.footprint import pixel_metres, project
from geohydra.chips.index import Chip, Region
from geohydra.types import Grid, Scene

_BLUR = 0.25
"""Pixels taken off all around what two chips share: a thinner sliver is the blur of two grids."""

_AT_ONCE = 10_000


def shared_ground(chips: Sequence[Chip], regions: Sequence[Region], scenes: Sequence[Scene]) -> tuple[Chip, Chip] | None:
    """Two chips of different splits that share a piece of ground of more than half a pixel, the first that is found.

    Scenes without a CRS lie nowhere: only within one of them can chips overlap.
    """
    grids = {scene.id: scene.grid for scene in scenes}
    members: dict[tuple[str, str], list[Chip]] = {}
    for chip in chips:
        members.setdefault((chip.scene, chip.split), []).append(chip)
    for pair in _places(regions, scenes):
        ones, others = (members.get(place, []) for place in pair)
        found = _first(ones, others, grids)
        if found is not None:
            return found
    return None


def _places(regions: Sequence[Region], scenes: Sequence[Scene]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Scenes and splits whose regions overlap, each pair once."""
    seen = set()
    for one, other in overlapping(regions, scenes):
        pair = (one.scene, one.split), (other.scene, other.split)
        if pair not in seen:
            seen.add(pair)
            yield pair


def _first(ones: Sequence[Chip], others: Sequence[Chip], grids: Mapping[str, Grid]) -> tuple[Chip, Chip] | None:
    from shapely import STRtree, area, buffer, intersection

    if not ones or not others:
        return None
    frame = min((grids[ones[0].scene], grids[others[0].scene]), key=lambda grid: min(pixel_metres(grid)))
    shapes, wanted = (_outlines(chips, grids[chips[0].scene], frame) for chips in (ones, others))
    tree = STRtree(shapes)
    for start in range(0, len(others), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        there, here = tree.query(part, predicate="intersects")
        fat = np.flatnonzero(area(buffer(intersection(part[there], shapes[here]), -_BLUR)) > 0)
        if len(fat):
            return ones[int(here[fat[0]])], others[start + int(there[fat[0]])]
    return None


def _outlines(chips: Sequence[Chip], grid: Grid, frame: Grid) -> NDArray[Any]:
    """The ground of chips inside their scene, in columns and rows of a grid."""
    from shapely import polygons

    inside = [chip.window.clip(grid.shape) or chip.window for chip in chips]
    rows = np.array([(window.row, window.row_stop) for window in inside], float)
    cols = np.array([(window.col, window.col_stop) for window in inside], float)
    points = np.stack([cols[:, [0, 1, 1, 0]], rows[:, [0, 0, 1, 1]]], axis=-1).reshape(-1, 2)
    found: NDArray[Any] = np.asarray(polygons(_between(points, grid, frame).reshape(-1, 4, 2)))
    return found


def _between(points: NDArray[np.float64], grid: Grid, frame: Grid) -> NDArray[np.float64]:
    """Columns and rows of one grid in those of another."""
    if grid == frame:
        return points
    a, b, c, d, e, f = grid.transform
    ground = project(points @ np.array([[a, b], [d, e]]).T + [c, f], grid.crs, frame.crs)
    a, b, c, d, e, f = frame.transform
    return np.asarray((ground - [c, f]) @ np.linalg.inv(np.array([[a, b], [d, e]])).T)
