"""Blocks of ground: a lattice laid over scenes that touch, which cuts large scenes and gathers small ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.footprint import clusters, metres, neighbours, pixel_metres
from geohydra.types import Grid, Scene, Shape, Window

_SLACK = 1e-6
_SMALL = 1.5
"""A scene of at most so many blocks in each direction is not cut."""


def cut(scenes: Sequence[Scene], size: float) -> list[list[tuple[str, Window]]]:
    """Blocks of `size` metres or a little more: the windows of scenes that each of them holds.

    A large scene is divided evenly. Small scenes of one CRS that touch are gathered by a lattice over all of them,
    and scenes of one CRS that overlap are cut by it.
    """
    return [part for group in _touching(scenes) for part in (_cut_alone(group[0], size) if len(group) == 1 else _cut_group(group, size))]


def _cut_alone(scene: Scene, size: float) -> list[list[tuple[str, Window]]]:
    high, wide = pixel_metres(scene.grid)
    shape = scene.grid.shape
    rows, cols = even(shape.rows, shape.rows * high / size), even(shape.cols, shape.cols * wide / size)
    return [[(scene.id, window)] for window in _windows(rows, cols)]


def _cut_group(scenes: Sequence[Scene], size: float) -> list[list[tuple[str, Window]]]:
    lines = _lattice(scenes, size)
    crossed = _crossing(scenes)
    blocks: dict[tuple[int, int], list[tuple[str, Window]]] = {}
    alone: list[list[tuple[str, Window]]] = []
    for place, scene in enumerate(scenes):
        if place in crossed:
            for window in _windows(*_edges(scene.grid, lines)):
                blocks.setdefault(_centre(scene.grid.at(window), lines), []).append((scene.id, window))
        elif _fits(scene.grid, lines):
            blocks.setdefault(_centre(scene.grid, lines), []).append((scene.id, Window(0, 0, scene.grid.shape)))
        else:
            alone += _cut_alone(scene, size)
    return [blocks[key] for key in sorted(blocks)] + alone


def _lattice(scenes: Sequence[Scene], size: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ground coordinates of the lines, ascending: along x, along y."""
    bounds = np.array([scene.grid.bounds for scene in scenes])
    (left, bottom), (right, top) = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    wide, high = metres(scenes[0].grid.crs, bottom, top)
    count_x, count_y = (max(1, int(extent / size + _SLACK)) for extent in ((right - left) * wide, (top - bottom) * high))
    return np.linspace(left, right, count_x + 1), np.linspace(bottom, top, count_y + 1)


def _edges(grid: Grid, lines: tuple[NDArray[np.float64], NDArray[np.float64]]) -> tuple[list[int], list[int]]:
    """Rows and columns, whole pixels, at which lattice lines cut an upright grid, its border included."""
    a, _, c, _, e, f = grid.transform
    cols = np.rint((lines[0] - c) / a).astype(int).clip(0, grid.shape.cols)
    rows = np.rint((lines[1] - f) / e).astype(int).clip(0, grid.shape.rows)
    return sorted({0, grid.shape.rows, *rows.tolist()}), sorted({0, grid.shape.cols, *cols.tolist()})


def _centre(grid: Grid, lines: tuple[NDArray[np.float64], NDArray[np.float64]]) -> tuple[int, int]:
    """The block in which a grid's centre lies, counted from the north, then from the west."""
    left, bottom, right, top = grid.bounds
    x = int(np.searchsorted(lines[0][1:-1], (left + right) / 2))
    y = int(np.searchsorted(lines[1][1:-1], (bottom + top) / 2))
    return -y, x


def _fits(grid: Grid, lines: tuple[NDArray[np.float64], NDArray[np.float64]]) -> bool:
    left, bottom, right, top = grid.bounds
    return bool(right - left <= _SMALL * (lines[0][1] - lines[0][0]) and top - bottom <= _SMALL * (lines[1][1] - lines[1][0]))


def _windows(rows: Sequence[int], cols: Sequence[int]) -> list[Window]:
    return [Window(row, col, Shape(row_stop - row, col_stop - col)) for row, row_stop in pairwise(rows) for col, col_stop in pairwise(cols)]


def even(length: int, parts: float) -> list[int]:
    """Borders of parts of about equal length: so many parts as are asked for, rounded down, and at least one."""
    count = min(max(1, int(parts + _SLACK)), length)
    return [round(length * place / count) for place in range(count + 1)]


def _touching(scenes: Sequence[Scene]) -> list[list[Scene]]:
    """Scenes on upright grids of one CRS whose extents touch; every other scene alone."""
    groups: list[list[Scene]] = []
    frames: dict[str, list[Scene]] = {}
    for scene in scenes:
        frames.setdefault(scene.grid.crs if scene.grid.upright and scene.grid.crs else f"only {scene.id}", []).append(scene)
    for members in frames.values():
        distance = max(max(scene.grid.resolution) for scene in members)
        pairs = neighbours(_boxes(members), distance)
        groups += [[members[place] for place in group] for group in clusters(len(members), pairs)]
    return groups


def _crossing(scenes: Sequence[Scene]) -> set[int]:
    """Scenes that share more than two pixels' breadth of ground with another."""
    boxes = _boxes(scenes)
    found: set[int] = set()
    for one, other in neighbours(boxes, 0.0):
        left, bottom, right, top = boxes[one].intersection(boxes[other]).bounds
        high, wide = scenes[one].grid.resolution
        if right - left > 2 * wide and top - bottom > 2 * high:
            found |= {one, other}
    return found


def _boxes(scenes: Sequence[Scene]) -> list[Any]:
    from shapely import box

    return [box(*scene.grid.bounds) for scene in scenes]
