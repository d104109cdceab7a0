"""Objects that several overlapping windows have found, made one each: none is cut at the edge of a window, none is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

SAME = 0.5
"""Two windows have found the same object where the smaller of what both say about the ground that both have seen lies in the larger by more
than this part."""

_NEAR = 2.0
"""Pixels from an edge of a window within which an object may go on beyond it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one window has found: a polygon in columns and rows of the scene, its class and score; `seen` is the ground of the window, and
    `cut` tells whether the object may go on beyond it."""

    outline: Any
    kind: int
    score: float
    seen: Any
    cut: bool


def piece(outline: Any, kind: int, score: float, *, window: tuple[int, int, int, int], scene: tuple[int, int]) -> Piece:
    """A piece from a window `(top, left, bottom, right)` of a scene of so many rows and columns, all in pixels."""
    top, left, bottom, right = window
    west, north, east, south = outline.bounds
    beyond = (north < top + _NEAR and top > 0, west < left + _NEAR and left > 0)
    after = (south > bottom - _NEAR and bottom < scene[0], east > right - _NEAR and right < scene[1])
    return Piece(outline, kind, score, shapely.box(left, top, right, bottom), any(beyond + after))


class Uniting:
    """Takes pieces row of windows by row of windows, and gives objects that no later window can change."""

    def __init__(self) -> None:
        self._waiting: list[Piece] = []

    @property
    def top(self) -> float:
        """The uppermost row of what waits."""
        return min((float(one.outline.bounds[1]) for one in self._waiting), default=float("inf"))

    def add(self, pieces: Sequence[Piece]) -> None:
        """What a row of windows has found."""
        self._waiting += pieces

    def finished(self, row: float) -> list[Piece]:
        """Objects that nothing below this row, where the next windows begin, can change."""
        groups = _groups(len(self._waiting), np.stack(_near(self._waiting), axis=1))
        bottoms = np.array([one.outline.bounds[3] for one in self._waiting])
        done = {place: number for number, group in enumerate(groups) if bottoms[group].max() <= row - _NEAR for place in group.tolist()}
        found = united([self._waiting[place] for place in done], [*done.values()])
        self._waiting = [one for place, one in enumerate(self._waiting) if place not in done]
        return found


def united(pieces: Sequence[Piece], groups: Sequence[int] | None = None) -> list[Piece]:
    """The objects of all these pieces, the surest first. Of whole ones that are the same the surest stays, and what is cut gives way to it;
    cut ones that are the same become one. Objects of a group, whose pieces meet none of another, stand together."""
    rows = sorted(zip(pieces, groups or [0] * len(pieces), strict=True), key=lambda each: (each[0].cut, *_rank(each[0])))
    ranked = [one for one, _ in rows]
    pairs = _same(ranked)
    gone = np.zeros(len(ranked), np.bool_)
    for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist():
        gone[second] |= not ranked[first].cut and not gone[first]
    whole = [row for place, row in enumerate(rows) if not row[0].cut and not gone[place]]
    alike = [members for members in _groups(len(ranked), pairs[~gone[pairs].any(axis=1)]) if not gone[members[0]]]
    cut = [(_joined([ranked[place] for place in members]), rows[members[0]][1]) for members in alike if ranked[members[0]].cut]
    return [one for one, _ in sorted(whole + cut, key=lambda each: (each[1], *_rank(each[0])))]


def _rank(one: Piece) -> tuple[float, ...]:
    return (-one.score, *one.outline.bounds)


def _same(ranked: Sequence[Piece]) -> NDArray[np.intp]:
    """Pairs `(n, 2)` of pieces of different windows that are one object, the one with the better rank first."""
    first, second = _near(ranked)
    kinds = np.array([one.kind for one in ranked])
    seen, shapes = (np.array([getattr(one, name) for one in ranked], object) for name in ("seen", "outline"))
    apart = (kinds[first] == kinds[second]) & (shapely.bounds(seen[first]) != shapely.bounds(seen[second])).any(axis=1)
    first, second = first[apart], second[apart]
    both = shapely.intersection(seen[first], seen[second])
    one, other = (_areal(shapely.intersection(shapes[places], both)) for places in (first, second))
    smaller = np.minimum(shapely.area(one), shapely.area(other))
    alike = (smaller > 0) & (shapely.area(shapely.intersection(one, other)) > SAME * smaller)
    return np.stack([first[alike], second[alike]], axis=1)


def _areal(shapes: NDArray[Any]) -> NDArray[Any]:
    """Without the lines and points at which an area only touches the edge: with both, GEOS finds no intersection."""
    for place in np.flatnonzero(shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION).tolist():
        parts = shapely.get_parts(shapely.get_parts(shapes[place]))
        shapes[place] = shapely.multipolygons([part for part in parts if part.geom_type == "Polygon"])
    return shapes


def _near(pieces: Sequence[Piece]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs whose boxes meet, the smaller place first."""
    if not pieces:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    boxes = shapely.box(*np.array([one.outline.bounds for one in pieces]).T)
    first, second = shapely.STRtree(boxes).query(boxes)
    once = first < second
    return first[once], second[once]


def _joined(parts: Sequence[Piece]) -> Piece:
    """All as one; its score is the mean by area."""
    if len(parts) == 1:
        return parts[0]
    areas = np.array([one.outline.area for one in parts])
    score = float(areas @ [one.score for one in parts] / areas.sum())
    return replace(parts[0], outline=_largest(shapely.union_all([one.outline for one in parts])), score=score)


def _largest(shape: Any) -> Any:
    return max(shapely.get_parts(shape), key=lambda part: float(part.area)) if shape.geom_type != "Polygon" else shape


def _groups(count: int, pairs: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Places that hang together by pairs, the smallest first in each group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not count:
        return []
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, groups = connected_components(links, directed=False)
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
