"""Areas that were cut by strips, put together again.

Each strip is traced by itself. Where equal pixels meet across a seam, their areas are one: the pieces of outline on the seam
between them cancel out, and the rest is linked to new rings. An area waits only as long as it reaches the last seam,
so memory holds one strip and the outlines of the areas that are still open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geohydra.vector.outlines import Outlines, joined
from geohydra.vector.rasterize import ranges

Ints = NDArray[np.int64]
Ring = NDArray[np.int32]
"""Closed, `(point, 2)`: column and row."""


@dataclass(slots=True)
class _Open:
    """An area that may go on below: rings that run along a seam, and the others."""

    value: int
    sum: float
    cut: list[Ring] = field(default_factory=list)
    whole: list[Ring] = field(default_factory=list)
    pieces: int = 1

    def take(self, other: _Open) -> None:
        self.cut += other.cut
        self.whole += other.whole
        self.sum += other.sum
        self.pieces += other.pieces


class Seams:
    """Takes the areas of one strip after the other, and gives those that no later strip can change."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._above = np.full(width, -1, np.int64)
        self._above_values = np.zeros(width, np.int64)
        self._inner: dict[int, NDArray[np.bool_]] = {}
        self._open: dict[int, _Open] = {}
        self._merged_into: dict[int, int] = {}
        self._next = 0

    def add(self, strip: Outlines, *, top: int, bottom: int, last: bool) -> Outlines:
        """The areas of the rows from `top` to before `bottom`; the strip after the last one does not exist."""
        first, ring = strip.edges
        rows = strip.points[:, 1]
        level = rows[first] == rows[first + 1]
        seams = {row: first[level & (rows[first] == row)] for row in ([top] if top else []) + ([] if last else [bottom])}
        owner = strip.ring_owners
        above = self._along(strip, seams.get(top, np.empty(0, np.int64)), owner, ring, first)
        below = self._along(strip, seams.get(bottom, np.empty(0, np.int64)), owner, ring, first)
        touched = np.unique(np.concatenate([above[above >= 0], below[below >= 0]]))
        numbers = np.full(len(strip) + 1, -1, np.int64)
        numbers[touched] = self._next + np.arange(touched.size)
        self._keep(strip, touched, np.concatenate([*seams.values(), np.empty(0, np.int64)]))
        self._unite(top, numbers[above], np.append(strip.values, -1)[above])
        self._reach(numbers[below], np.append(strip.values, -1)[below])
        closed = np.ones(len(strip), np.bool_)
        closed[touched] = False
        return joined([strip.only(closed), *self._finished()])

    def _along(self, strip: Outlines, edges: Ints, owner: Ints, ring: Ints, first: Ints) -> Ints:
        """For each column the area that has an edge there, -1 where there is none."""
        areas = np.full(self._width, -1, np.int64)
        if edges.size:
            ends = np.stack([strip.points[edges, 0], strip.points[edges + 1, 0]]).astype(np.int64)
            low, high = ends.min(axis=0), ends.max(axis=0)
            areas[ranges(low, high - low)] = np.repeat(owner[ring[np.searchsorted(first, edges)]], high - low)
        return areas

    def _keep(self, strip: Outlines, touched: Ints, on_seam: Ints) -> None:
        """Store the areas that touch a seam under the next numbers."""
        starts, sizes, areas = strip.ring_starts, strip.ring_sizes, strip.area_starts
        cut = set(np.unique(np.searchsorted(starts, on_seam, side="right") - 1).tolist())
        for area in touched.tolist():
            kept = _Open(int(strip.values[area]), float(strip.sums[area]))
            for ring in range(areas[area], areas[area] + strip.ring_counts[area]):
                points = strip.points[starts[ring] : starts[ring] + sizes[ring]].astype(np.int32)
                (kept.cut if ring in cut else kept.whole).append(points)
            self._open[self._next] = kept
            self._next += 1

    def _unite(self, seam: int, below: Ints, values: Ints) -> None:
        """Make one area of those that meet across a seam."""
        meet = (self._above >= 0) & (below >= 0) & (self._above_values == values)
        self._inner[seam] = meet
        for upper, lower in np.unique(np.stack([self._above[meet], below[meet]], axis=1), axis=0).tolist():
            one, other = self._root(upper), self._root(lower)
            if one != other:
                self._open[one].take(self._open.pop(other))
                self._merged_into[other] = one

    def _root(self, number: int) -> int:
        path = []
        while number in self._merged_into:
            path.append(number)
            number = self._merged_into[number]
        self._merged_into |= dict.fromkeys(path, number)
        return number

    def _reach(self, numbers: Ints, values: Ints) -> None:
        """Remember what lies along the seam below, by the numbers of whole areas."""
        known, places = np.unique(numbers, return_inverse=True)
        self._above = np.array([self._root(number) for number in known.tolist()], np.int64)[places]
        self._above_values = values
        self._merged_into.clear()

    def _finished(self) -> Iterable[Outlines]:
        """Take out the areas that do not reach the last seam."""
        alive = set(np.unique(self._above).tolist())
        areas = [self._open.pop(number) for number in list(self._open) if number not in alive]
        done = [_outlines(area, self._inner) for area in areas]
        if not self._open:
            self._inner.clear()
        return done


def _outlines(area: _Open, inner: Mapping[int, NDArray[np.bool_]]) -> Outlines:
    rings = area.whole + (stitch(area.cut, inner) if area.pieces > 1 else area.cut)
    outer = next(place for place, ring in enumerate(rings) if _turns_left(ring))
    rings.insert(0, rings.pop(outer))
    sizes = np.array([len(ring) for ring in rings], np.int64)
    points = np.concatenate(rings).astype(np.float64)
    return Outlines(points, sizes, np.array([len(rings)]), np.array([area.value]), np.array([area.sum]))


def _turns_left(ring: Ring) -> bool:
    """Whether a ring has what it encloses on its left, as one looks at an image."""
    cols, rows = ring[:, 0].astype(np.int64), ring[:, 1].astype(np.int64)
    return int(cols[:-1] @ rows[1:] - cols[1:] @ rows[:-1]) < 0


def stitch(rings: Sequence[Ring], inner: Mapping[int, NDArray[np.bool_]]) -> list[Ring]:
    """Rings without the pieces along seams that `inner` says lie inside of an area: `{row: (col,)}`.

    Rings are cut up at seams and where they touch one another, and linked again.
    """
    arcs = list(_arcs(rings, inner))
    ends = [(tuple(arc[0].tolist()), tuple(arc[-1].tolist())) for arc in arcs]
    leaving: dict[tuple[int, ...], list[int]] = {}
    for number, (start, _) in enumerate(ends):
        leaving.setdefault(start, []).append(number)
    done = []
    for number, (start, _) in enumerate(ends):
        if number in leaving[start]:
            done.append(_straightened(np.concatenate([arcs[part][:-1] for part in _circle(number, arcs, ends, leaving)])))
    return done


def _circle(
    number: int, arcs: list[Ring], ends: list[tuple[tuple[int, ...], tuple[int, ...]]], leaving: dict[tuple[int, ...], list[int]]
) -> list[int]:
    """The arcs of one ring, taken out of `leaving`. Where two go on, the right turn: areas do not meet at corners."""
    begin = ends[number][0]
    leaving[begin].remove(number)
    circle = [number]
    while True:
        arc, at = arcs[circle[-1]], ends[circle[-1]][1]
        choices = leaving[at]
        if at == begin and (not choices or _right_turn(arc, arcs[circle[0]])):
            return circle
        following = next((one for one in choices if _right_turn(arc, arcs[one])), None) if len(choices) > 1 else choices[0]
        if following is None:
            raise ValueError(f"the outline breaks off at {at}")
        choices.remove(following)
        circle.append(following)


def _right_turn(arc: Ring, following: Ring) -> bool:
    """Whether the second begins to the right of where the first ends, as one looks at an image."""
    (across, down), (over, under) = (arc[-1] - arc[-2]).tolist(), (following[1] - following[0]).tolist()
    return bool(across * under - down * over > 0)


def _arcs(rings: Sequence[Ring], inner: Mapping[int, NDArray[np.bool_]]) -> Iterable[Ring]:
    """What remains of rings: runs between breaks, and of edges on seams what lies on the outside."""
    points = np.concatenate([ring[:-1] for ring in rings])
    stops = np.cumsum([len(ring) - 1 for ring in rings])
    following = np.arange(1, len(points) + 1)
    following[stops - 1] = np.concatenate([[0], stops[:-1]])
    level = np.isin(points[:, 1], np.array(sorted(inner), np.int32)) & (points[following, 1] == points[:, 1])
    _, places, counts = np.unique(_keys(points), return_inverse=True, return_counts=True)
    breaks = (counts > 1)[places] | level
    breaks[following[level]] = True
    begin = 0
    for ring, stop in zip(rings, stops.tolist(), strict=True):
        yield from _pieces(ring, np.flatnonzero(breaks[begin:stop]).tolist(), level[begin:stop], inner)
        begin = stop


def _keys(points: Ring) -> Ints:
    """One number for each pixel corner."""
    return points[:, 1].astype(np.int64) << 32 | points[:, 0].astype(np.int64)


def _pieces(ring: Ring, breaks: list[int], level: NDArray[np.bool_], inner: Mapping[int, NDArray[np.bool_]]) -> Iterable[Ring]:
    """One ring, cut at its breaks; `level` tells which of its edges lie on seams."""
    body = ring[:-1]
    for start, stop in zip(breaks, [*breaks[1:], breaks[0] + len(body)], strict=True):
        if level[start]:
            yield from _outside(ring[start : start + 2], inner)
        elif stop < len(body):
            yield body[start : stop + 1]
        else:
            yield np.concatenate([body[start:], body[: stop - len(body) + 1]])


def _outside(edge: Ring, inner: Mapping[int, NDArray[np.bool_]]) -> Iterable[Ring]:
    """What of an edge on a seam is not inside of the area."""
    (start, row), (stop, _) = edge.tolist()
    low, high = min(start, stop), max(start, stop)
    hidden = inner[row][low:high]
    if hidden.all():
        return
    changes = np.flatnonzero(np.diff(~hidden, prepend=False, append=False)) + low
    for first, last in changes.reshape(-1, 2).tolist():
        ends = (first, last) if start < stop else (last, first)
        yield np.array([[ends[0], row], [ends[1], row]], np.int32)


def _straightened(points: Ring) -> Ring:
    """A closed ring without points in the middle of straight lines."""
    steps = np.sign(np.diff(np.concatenate([points[-1:], points, points[:1]]), axis=0))
    corners = points[(steps[1:] != steps[:-1]).any(axis=1)]
    return np.concatenate([corners, corners[:1]])
