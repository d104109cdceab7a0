"""Scores of found objects while a network is trained: batches of chips go in, a few numbers come out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation.object_tally import COCO_OVERLAPS, Tally, coco_measures
from geohydra.evaluation.overlaps import Found, Pairs, Truth, overlapping
from geohydra.task import Detections

Labelled = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Boxes `(n, 4)` and classes `(n)` that are truly in a chip; a row whose box is NaN is not there."""


class ObjectScores:
    """COCO average precision and the best F1 at an overlap of 0.5, over all chips that were given.

    `most`: only so many found objects of a class and a chip count (COCO: 100).
    """

    def __init__(self, classes: Sequence[str], *, most: int | None = 100) -> None:
        self.classes = tuple(classes)
        self._tally = Tally(len(self.classes), coco_measures(), most=most)

    def update(self, found: Sequence[Detections], truth: Sequence[Labelled]) -> None:
        """Count a batch: what was found in each chip, and what is there; boxes are in pixels of the chip."""
        parts, finds, truths = [], [Found.of(*_nothing(), np.empty(0, np.float32))], [Truth.of(*_nothing())]
        seen = known = 0
        for mine, (boxes, classes) in zip(found, truth, strict=True):
            there = ~np.isnan(boxes).any(axis=1)
            finds.append(Found.of(mine.boxes, mine.classes, mine.scores))
            truths.append(Truth.of(boxes[there], classes[there]))
            parts.append(overlapping(finds[-1], truths[-1], least=COCO_OVERLAPS[0]).moved(seen, known))
            seen, known = seen + len(finds[-1]), known + len(truths[-1])
        images = np.repeat(np.arange(len(finds) - 1), [len(one) for one in finds[1:]])
        self._tally.add(Found.joined(finds), Truth.joined(truths), Pairs.joined(parts), images=images)

    def compute(self) -> dict[str, float]:
        """`map` (overlaps 0.50 to 0.95), `map50`, `f1`, `precision` and `recall` at the best thresholds, and `ap50/class`.

        Means are over classes that are truly there; what cannot be told is NaN.
        """
        averages = self._tally.averages()
        chosen = self._tally.at(self._cuts())
        values = {
            "map": _mean(np.concatenate(list(averages.values()))),
            "map50": _mean(averages[COCO_OVERLAPS[0]]),
            "f1": _mean(chosen.f1),
            "precision": _mean(chosen.precision),
            "recall": _mean(chosen.recall),
        }
        return values | {f"ap50/{name}": float(value) for name, value in zip(self.classes, averages[COCO_OVERLAPS[0]], strict=True)}

    @property
    def thresholds(self) -> dict[str, float]:
        """The score of the best F1 of each class that is there and was found."""
        cuts = {name: self._tally.line(place).best[0] for place, name in enumerate(self.classes)}
        return {name: cut for name, cut in cuts.items() if np.isfinite(cut)}

    def _cuts(self) -> NDArray[np.float64]:
        return np.array([self.thresholds.get(name, 0.5) for name in self.classes])


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _nothing() -> Labelled:
    return np.empty((0, 4)), np.empty(0, np.int64)
