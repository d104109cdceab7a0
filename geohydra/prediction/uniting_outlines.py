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
        done, left = [], []
        for members in groups:
            if bottoms[members].max() <= row - _NEAR:
                done += united([self._waiting[place] for place in members])
            else:
                left += members.tolist()
        self._waiting = [self._waiting[place] for place in sorted(left)]
        return done


def united(pieces: Sequence[Piece]) -> list[Piece]:
    """The objects of all these pieces, the surest first. Of whole ones that are the same the surest stays, and what is cut gives way to it;
    cut ones that are the same become one."""
    ranked = sorted(pieces, key=lambda each: (each.cut, -each.score, *each.outline.bounds))
    pairs = _same(ranked)
    gone = np.zeros(len(ranked), np.bool_)
    for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist():
        gone[second] |= not ranked[first].cut and not gone[first]
    whole = [one for place, one in enumerate(ranked) if not one.cut and not gone[place]]
    groups = _groups(len(ranked), pairs[~gone[pairs].any(axis=1)])
    cut = [_joined([ranked[place] for place in members]) for members in groups if ranked[members[0]].cut and not gone[members[0]]]
    return sorted(whole + cut, key=lambda each: (-each.score, *each.outline.bounds))


def _same(ranked: Sequence[Piece]) -> NDArray[np.intp]:
    """Pairs `(n, 2)` of pieces of different windows that are one object, the one with the better rank first."""
    first, second = _near(ranked)
    kinds = np.array([one.kind for one in ranked])
    seen, shapes = (np.array([getattr(one, name) for one in ranked], object) for name in ("seen", "outline"))
    apart = (kinds[first] == kinds[second]) & (shapely.bounds(seen[first]) != shapely.bounds(seen[second])).any(axis=1)
    first, second = first[apart], second[apart]
    both = shapely.intersection(seen[first], seen[second])
    one, other = shapely.intersection(shapes[first], both), shapely.intersection(shapes[second], both)
    smaller = np.minimum(shapely.area(one), shapely.area(other))
    alike = (smaller > 0) & (shapely.area(shapely.intersection(one, other)) > SAME * smaller)
    return np.stack([first[alike], second[alike]], axis=1)


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
