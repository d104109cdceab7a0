"""Boxes that overlap, and the best way to pair them one to one: sparse, never a table of all with all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FEW = 1 << 16
"""Up to so many pairs all are looked at, and no tree is built."""
_AT_ONCE = 1 << 15
"""Boxes whose neighbours are sought together."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of things of two kinds: `ones` and `others` (n) are their places, `weights` (n) tell how well they go together."""

    ones: Ints
    others: Ints
    weights: Floats

    def __len__(self) -> int:
        return len(self.ones)

    def take(self, chosen: NDArray[np.bool_] | Ints) -> Pairs:
        """Some of them."""
        return Pairs(self.ones[chosen], self.others[chosen], self.weights[chosen])


def overlapping(ones: Floats, others: Floats) -> Pairs:
    """Boxes `(top, left, bottom, right)` of two lists that share some area, with the intersection over union of each pair, ordered."""
    first, last = _near(ones, others)
    one, other = ones[first], others[last]
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0.0)
    union = _areas(one) + _areas(other) - shared
    found = Pairs(first, last, np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
    return found.take(found.weights > 0)


def assigned(pairs: Pairs) -> Pairs:
    """Those pairs that together weigh most while nothing is paired twice; weights are positive.

    What hangs together is solved on its own (Hungarian method), so that a million things far apart cost little.
    """
    if not len(pairs):
        return pairs
    _, row = np.unique(pairs.ones, return_inverse=True)
    _, col = np.unique(pairs.others, return_inverse=True)
    lonely = (np.bincount(row)[row] == 1) & (np.bincount(col)[col] == 1)
    chosen = [np.flatnonzero(lonely)]
    rest = np.flatnonzero(~lonely)
    if rest.size:
        chosen += [
            rest[_solved(row[rest][part], col[rest][part], pairs.weights[rest][part], part)] for part in _together(row[rest], col[rest])
        ]
    return pairs.take(np.sort(np.concatenate(chosen)))


def touching(ones: Floats, others: Floats) -> Iterator[tuple[Ints, Ints]]:
    """Places of all pairs whose boxes touch, in pieces of the first list: memory grows with what touches within a piece."""
    if len(ones) * len(others) <= _FEW:
        one, other = ones[:, None], others[None]
        first, last = np.nonzero((one[..., :2] <= other[..., 2:]).all(-1) & (one[..., 2:] >= other[..., :2]).all(-1))
        yield first, last
        return
    from shapely import STRtree

    tree = STRtree(_diagonals(others))
    for start in range(0, len(ones), _AT_ONCE):
        first, last = tree.query(_diagonals(ones[start : start + _AT_ONCE]))
        yield first.astype(np.int64) + start, last.astype(np.int64)


def _diagonals(boxes: Floats) -> NDArray[Any]:
    """The smallest geometries that have these boxes as their bounds."""
    from shapely import linestrings

    return np.asarray(linestrings(boxes[:, [1, 0, 3, 2]].reshape(-1, 2, 2)))


def _near(ones: Floats, others: Floats) -> tuple[Ints, Ints]:
    """Places of all pairs whose boxes touch, ordered."""
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64)), *touching(ones, others)]
    first, last = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((last, first))
    return first[order], last[order]


def _areas(boxes: Floats) -> Floats:
    found: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return found


def _together(row: Ints, col: Ints) -> list[Ints]:
    """Places of the pairs of each group that hangs together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(row.max()) + 1
    size = count + int(col.max()) + 1
    graph = coo_array((np.ones(len(row), bool), (row, count + col)), shape=(size, size))
    groups = connected_components(graph, directed=False)[1][row]
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def _solved(row: Ints, col: Ints, weights: Floats, places: Ints) -> Ints:
    """Of the places of one group those that are chosen."""
    from scipy.optimize import linear_sum_assignment

    _, rows = np.unique(row, return_inverse=True)
    _, cols = np.unique(col, return_inverse=True)
    table = np.zeros((rows.max() + 1, cols.max() + 1))
    table[rows, cols] = weights
    best = np.zeros_like(table, dtype=bool)
    best[linear_sum_assignment(table, maximize=True)] = True
    found: Ints = places[best[rows, cols] & (weights > 0)]
    return found
