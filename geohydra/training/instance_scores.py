"""How well objects of chips are found and kept apart, from maps of them: cheap enough for every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]
Classes = NDArray[Any]
"""For each object number the class id; that of 0, no object, does not matter."""


class InstanceCounts:
    """Objects of one class match where they share more than half of what they cover together: there is one match for each, at most."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._hits, self._false, self._missed, self._overlaps = (np.zeros(len(classes)) for _ in range(4))

    def update(self, found: tuple[Labels, Classes], truth: tuple[Labels, Classes], known: NDArray[np.bool_]) -> None:
        """A chip: numbers of objects `(row, col)`, 0 where there is none, and the place in the names of the class of each number; what is
        not known does not count."""
        pairs, overlaps, sizes = _matches(np.where(known, found[0], 0), np.where(known, truth[0], 0))
        same = found[1][pairs[0]] == truth[1][pairs[1]]
        kinds, (first, second) = truth[1][pairs[1][same]], pairs[:, same]
        self._hits += np.bincount(kinds, minlength=len(self.classes))
        self._overlaps += np.bincount(kinds, overlaps[same], minlength=len(self.classes))
        self._false += self._without(found[1], sizes[0], first)
        self._missed += self._without(truth[1], sizes[1], second)

    def compute(self) -> dict[str, float]:
        """`pq` (panoptic quality), `f1` and `match_iou` (the mean IoU of matches), means over classes that are there or were found."""
        whole = 2 * self._hits + self._false + self._missed
        there = whole > 0
        if not there.any():
            return dict.fromkeys(("pq", "f1", "match_iou"), float("nan"))
        quality = 2 * self._overlaps[there] / whole[there]
        f1 = 2 * self._hits[there] / whole[there]
        hits = self._hits.sum()
        return {"pq": float(quality.mean()), "f1": float(f1.mean()), "match_iou": float(self._overlaps.sum() / hits) if hits else 0.0}

    def _without(self, kinds: Classes, sizes: NDArray[np.int64], matched: NDArray[np.intp]) -> NDArray[np.int64]:
        """By class, objects that have pixels and no match."""
        alone = sizes[1:] > 0
        alone[matched - 1] = False
        return np.bincount(kinds[1 : len(sizes)][alone], minlength=len(self.classes))


def _matches(found: Labels, truth: Labels) -> tuple[NDArray[np.intp], NDArray[np.float64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of numbers `(2, n)` with an IoU above one half, their IoU, and pixels of every number on both sides."""
    width = int(truth.max(initial=0)) + 1
    joint = np.bincount((found.astype(np.int64) * width + truth).ravel(), minlength=(int(found.max(initial=0)) + 1) * width)
    table = joint.reshape(-1, width)
    sizes = table.sum(1), table.sum(0)
    first, second = np.nonzero(table[1:, 1:])
    first, second = first + 1, second + 1
    both = table[first, second]
    overlap = both / (sizes[0][first] + sizes[1][second] - both)
    good = overlap > 0.5
    return np.stack([first[good], second[good]]), overlap[good], sizes
