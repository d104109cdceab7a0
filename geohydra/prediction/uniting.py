"""Objects of a scene from those of overlapping windows: none cut at a seam, none told twice.

A window shows some objects only in part: a box that ends at the window's edge is a piece. Two windows agree on an object where, within the
pixels that both see, their boxes of one class overlap by half. A piece that agrees with a whole object of another window, or lies in it, is
dropped; pieces that agree with each other become one object; what then still overlaps by more than `same` is told once, by the surest.

Objects that stand in none of these relations, directly or by others, do not touch each other's fate: they are settled as soon as no later
window can bring a relation. So memory is that of some rows of windows, and the order in which windows come does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.raster.windows import WindowPlan
from geohydra.task import Detections
from geohydra.types import Window

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_EDGE = 2.0
"""A box that ends so near to the edge of its window is a piece: the rest may lie beyond."""
_AGREE = 0.5
_WITHIN = 0.7
"""A piece of which so much lies in a larger object is a part of it."""
_PAIRS = 1 << 19
"""Pairs that are looked at together."""


@dataclass(frozen=True, slots=True)
class _Table:
    """Found boxes with the window of each; `cut` (n, 4): the sides that end at an edge of the window beyond which the scene goes on."""

    boxes: Floats
    scores: NDArray[np.float32]
    classes: Ints
    windows: Floats
    cut: Bools
    corners: Floats | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def pieces(self) -> Bools:
        """Which may be cut."""
        return np.asarray(self.cut.any(axis=1))

    def take(self, places: NDArray[Any]) -> _Table:
        return _Table(*(_taken(getattr(self, one.name), places) for one in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[_Table]) -> _Table:
        columns: Any = ([getattr(part, one.name) for part in parts] for one in fields(cls))
        joined: Any = (None if column[0] is None else np.concatenate(column) for column in columns)
        return cls(*joined)

    @property
    def found(self) -> Detections:
        """From top to bottom, whatever order they came in."""
        order = np.lexsort((self.scores, self.classes, *self.boxes.T[::-1]))
        corners = None if self.corners is None else self.corners[order]
        return Detections(self.boxes[order], self.scores[order], self.classes[order], corners)


@dataclass(frozen=True, slots=True)
class _Relations:
    """Pairs of rows, the first with the better rank: whether their windows agree on them, and how much they overlap."""

    left: Ints
    right: Ints
    agree: Bools
    same: Bools
    within: Bools
    """The smaller one is a piece and lies in the larger one."""

    def take(self, chosen: Bools) -> _Relations:
        return _Relations(*(getattr(self, one.name)[chosen] for one in fields(self)))


class Uniter:
    """Takes what was found in each window, row of windows after row, and gives back objects as soon as they are settled."""

    def __init__(self, plan: WindowPlan, *, same: float = 0.5) -> None:
        """`same`: boxes of one class that overlap by more (intersection over union) are one object."""
        self._plan, self._same = plan, same
        self._grow = 0.0 if _all_overlap(plan) else _EDGE
        self._waiting: list[_Table] = []

    def add(self, found: Detections, window: Window) -> None:
        """What was found in a window, in pixels of the scene; what lies in the padding beyond the scene is left out."""
        rows, cols = self._plan.image.rows, self._plan.image.cols
        middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        found = found.take(np.asarray(((middle >= 0) & (middle <= [rows, cols])).all(axis=1)))
        if len(found):
            self._waiting.append(self._table(found, window))

    def settled(self, row: int) -> Detections:
        """Objects that no window of a later row can change; to be called when the row's last window was added."""
        starts = self._plan.row_starts
        turned = any(table.corners is not None for table in self._waiting)
        beyond = self._plan.size.rows / 2 if turned else 2 * self._grow + _EDGE  # turned boxes reach out of their windows
        return self._settle(starts[row + 1] - beyond if row + 1 < len(starts) else np.inf)

    def rest(self) -> Detections:
        """All that is left."""
        return self._settle(np.inf)

    def _table(self, found: Detections, window: Window) -> _Table:
        rows, cols = self._plan.image.rows, self._plan.image.cols
        frame = np.array([window.row, window.col, min(window.row_stop, rows), min(window.col_stop, cols)], np.float64)
        boxes = found.boxes.clip(0, [rows, cols, rows, cols]) if found.corners is None else found.boxes
        inner = frame != [0, 0, rows, cols]
        cut = inner & np.concatenate([boxes[:, :2] <= frame[:2] + _EDGE, boxes[:, 2:] >= frame[2:] - _EDGE], axis=1)
        return _Table(boxes, found.scores, found.classes, np.tile(frame, (len(boxes), 1)), cut, found.corners)

    def _settle(self, line: float) -> Detections:
        """Resolve every group that ends above a line; keep the others waiting."""
        if not self._waiting:
            return Detections.none()
        table = _Table.joined(self._waiting)
        table = table.take(_ranked(table))
        relations = _relations(table, self._same, self._grow)
        groups = _groups(len(table), relations.left, relations.right)
        lowest = np.full(int(groups.max()) + 1, -np.inf)
        np.maximum.at(lowest, groups, table.boxes[:, 2])
        done = lowest[groups] < line
        self._waiting = [table.take(~done)] if not done.all() else []
        number = np.cumsum(done) - 1
        here = relations.take(done[relations.left])
        moved = _Relations(number[here.left], number[here.right], here.agree, here.same, here.within)
        return _resolved(table.take(done), moved, groups[done], self._same).found


def unite(parts: Sequence[tuple[Window, Detections]], plan: WindowPlan, *, same: float = 0.5) -> Detections:
    """All at once: windows and what was found in each, in pixels of the scene, in any order."""
    uniter = Uniter(plan, same=same)
    for window, found in parts:
        uniter.add(found, window)
    return uniter.rest()


def _taken(values: Any, places: NDArray[Any]) -> Any:
    return None if values is None else values[places]


def _all_overlap(plan: WindowPlan) -> bool:
    """Whether neighbouring windows share enough to agree on something."""
    return plan.size.rows - plan.stride.rows > 2 * _EDGE and plan.size.cols - plan.stride.cols > 2 * _EDGE


def _ranked(table: _Table) -> Ints:
    """Rows from the best to the worst: whole before cut, then by score; ties by place, so that the order of arrival means nothing."""
    return np.lexsort((*table.windows.T, *table.boxes.T, -table.scores, table.pieces))


def _relations(table: _Table, same: float, grow: float) -> _Relations:
    """All pairs of one class that have to do with each other."""
    seen = np.where(table.cut, table.boxes + grow * np.array([-1, -1, 1, 1]), table.boxes)
    windows = table.windows + grow * np.array([-1, -1, 1, 1])
    parts = []
    for left, right in _touching(seen, table.classes):
        agree = _agreeing(table, seen, windows, left, right) if len(left) else np.zeros(0, bool)
        overlap, within = _overlaps(table, left, right)
        pieces = table.pieces
        areas = _areas(table)
        smaller = np.where(areas[left] < areas[right], left, right)
        apart = (table.windows[left] != table.windows[right]).any(axis=1)
        part = _Relations(left, right, agree & apart, overlap > same, (within >= _WITHIN) & pieces[smaller] & apart)
        parts.append(part.take(part.agree | part.same | part.within))
    return _Relations(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(_Relations)))


def _touching(boxes: Floats, classes: Ints) -> Any:
    """Pairs of rows of one class whose boxes share an area, the smaller row first, some at a time."""
    from shapely import STRtree, linestrings

    diagonals = linestrings(boxes[:, [1, 0, 3, 2]].reshape(-1, 2, 2))
    tree = STRtree(diagonals)
    step = max(1, _PAIRS // 16)
    for start in range(0, len(boxes), step):
        left, right = tree.query(diagonals[start : start + step])
        left = left + start
        chosen = (left < right) & (classes[left] == classes[right])
        left, right = left[chosen], right[chosen]
        meet = (boxes[left, :2] < boxes[right, 2:]).all(axis=1) & (boxes[left, 2:] > boxes[right, :2]).all(axis=1)
        yield left[meet], right[meet]


def _agreeing(table: _Table, seen: Floats, windows: Floats, left: Ints, right: Ints) -> Bools:
    """Whether two windows show the same in the pixels that both see, at least one of them only in part."""
    top = np.maximum(windows[left, :2], windows[right, :2])
    bottom = np.minimum(windows[left, 2:], windows[right, 2:])
    common = np.concatenate([top, np.maximum(top, bottom)], axis=1)
    pieces = table.pieces
    if table.corners is not None:
        shared, one, other = _turned(table.corners[left], table.corners[right], common)
    else:
        first, second = (_clipped(seen[rows], common) for rows in (left, right))
        shared, one, other = _size(_clipped(first, second)), _size(first), _size(second)
    return (pieces[left] | pieces[right]) & (shared > 0) & (shared >= _AGREE * (one + other - shared))


def _overlaps(table: _Table, left: Ints, right: Ints) -> tuple[Floats, Floats]:
    """Intersection over union, and over the smaller one."""
    if table.corners is not None:
        everywhere = np.tile([-np.inf, -np.inf, np.inf, np.inf], (len(left), 1))
        shared, one, other = _turned(table.corners[left], table.corners[right], everywhere)
    else:
        shared = _size(_clipped(table.boxes[left], table.boxes[right]))
        one, other = _size(table.boxes[left]), _size(table.boxes[right])
    return shared / np.maximum(one + other - shared, 1e-9), shared / np.maximum(np.minimum(one, other), 1e-9)


def _turned(left: Floats, right: Floats, frames: Floats) -> tuple[Floats, Floats, Floats]:
    """Shared areas and areas of pairs of oriented boxes within frames."""
    import shapely

    one, other = shapely.polygons(left), shapely.polygons(right)
    if np.isfinite(frames).all() and len(frames):
        inner = shapely.box(*frames.T)
        one, other = shapely.intersection(one, inner), shapely.intersection(other, inner)
    return shapely.area(shapely.intersection(one, other)), shapely.area(one), shapely.area(other)


def _areas(table: _Table) -> Floats:
    if table.corners is None:
        return _size(table.boxes)
    import shapely

    return np.asarray(shapely.area(shapely.polygons(table.corners)))


def _clipped(boxes: Floats, frames: Floats) -> Floats:
    top = np.maximum(boxes[:, :2], frames[:, :2])
    return np.concatenate([top, np.maximum(top, np.minimum(boxes[:, 2:], frames[:, 2:]))], axis=1)


def _size(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def _groups(count: int, left: Ints, right: Ints) -> Ints:
    """The number of the group of each row: rows that hang together by pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(count, count))
    return np.asarray(connected_components(edges, directed=False)[1], np.int64)


def _resolved(table: _Table, relations: _Relations, groups: Ints, same: float) -> _Table:
    """The objects of whole groups."""
    pieces = table.pieces
    told = relations.take(pieces[relations.right] & ~pieces[relations.left] & (relations.agree | relations.within))
    absorbed = np.zeros(len(table), bool)
    absorbed[told.right] = True
    open_ends = relations.take(relations.agree & ~absorbed[relations.left] & ~absorbed[relations.right])
    both = pieces[open_ends.left] & pieces[open_ends.right]
    whole = _groups(len(table), open_ends.left[both], open_ends.right[both])
    left = np.flatnonzero(~absorbed)
    united = _united(table.take(left), whole[left])
    return united[0].take(_kept(united[0], groups[left][united[1]], same))


def _united(table: _Table, whole: Ints) -> tuple[_Table, Ints]:
    """One row for each group of pieces, and the first row of each; what stands alone stays as it is."""
    order = np.argsort(whole, kind="stable")
    starts = np.flatnonzero(np.diff(whole[order], prepend=-1))
    first = order[starts]
    if len(first) == len(table):
        return table, np.arange(len(table))
    boxes = np.concatenate(
        [np.minimum.reduceat(table.boxes[order, :2], starts), np.maximum.reduceat(table.boxes[order, 2:], starts)], axis=1
    )
    scores = np.maximum.reduceat(table.scores[order], starts)
    cut = np.logical_and.reduceat(table.cut[order], starts)
    corners = table.corners
    if corners is not None:
        corners = np.stack([_around(part) for part in np.split(corners[order], starts[1:])])
        boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    return _Table(boxes, scores, table.classes[first], table.windows[first], cut, corners), first


def _around(corners: Floats) -> Floats:
    """The smallest rectangle around several; a single one as it is."""
    import shapely

    if len(corners) == 1:
        return np.asarray(corners[0])
    whole = shapely.minimum_rotated_rectangle(shapely.multipoints(corners.reshape(-1, 2)))
    return np.asarray(shapely.get_coordinates(whole)[:4])


def _kept(table: _Table, groups: Ints, same: float) -> Ints:
    """Rows that no better row of their group overlaps by more than `same`, nor holds as a piece, better ones that are kept themselves."""
    order = np.lexsort((*table.boxes.T, -table.scores))
    ranked = table.take(order)
    _, sizes = np.unique(groups, return_counts=True)
    crowded = np.flatnonzero(sizes[np.searchsorted(np.unique(groups), groups[order])] > 1)
    kept = np.ones(len(order), bool)
    if len(crowded):
        some = ranked.take(crowded)
        parts = [_rivals(some, groups[order][crowded], left, right, same) for left, right in _touching(some.boxes, some.classes)]
        better, worse = (np.concatenate(column) for column in zip(*parts, strict=True))
        kept[crowded] = _survivors(len(crowded), better, worse)
    return order[kept]


def _rivals(table: _Table, groups: Ints, left: Ints, right: Ints, same: float) -> tuple[Ints, Ints]:
    """Pairs of which one gives way, the one that stays first: the surer one, or of a piece and what holds it the latter."""
    near = groups[left] == groups[right]
    left, right = left[near], right[near]
    overlap, within = _overlaps(table, left, right)
    areas, pieces = _areas(table), table.pieces
    swapped = areas[left] < areas[right]
    larger, smaller = np.where(swapped, right, left), np.where(swapped, left, right)
    held = (within >= _WITHIN) & pieces[smaller] & ~(overlap > same)
    rival = (overlap > same) | held
    return np.where(held, larger, left)[rival], np.where(held, smaller, right)[rival]


def _survivors(count: int, better: Ints, worse: Ints) -> Bools:
    """Round after round: what has no open better rival stays, and what it beats goes. Circles, which no order has, all stay."""
    kept, open_rows = np.zeros(count, bool), np.ones(count, bool)
    while open_rows.any():
        alive = open_rows[better] & open_rows[worse]
        better, worse = better[alive], worse[alive]
        beaten = np.zeros(count, bool)
        beaten[worse] = True
        best = open_rows & ~beaten
        if not best.any():
            return kept | open_rows
        kept |= best
        open_rows &= ~best
        open_rows[worse[best[better]]] = False
    return kept
