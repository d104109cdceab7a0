"""Average precision of one class by the rules that published scorers have, and the threshold of the best F1.

All take what each found object is, from the highest score to the lowest: a hit or a false alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation.overlaps import Bools, Floats

RuleName = Literal["coco", "voc2007", "voc2012", "xview", "dota", "spacenet"]


def points_101(hits: Bools, truths: int) -> float:
    """COCO: the mean of the precision envelope at recalls 0, 0.01, ..., 1."""
    precision, recall = _rates(hits, truths)
    envelope = np.append(_envelope(precision), 0.0)
    places = np.searchsorted(recall, np.linspace(0.0, 1.0, 101), side="left")
    return float(envelope[places].mean())


def points_11(hits: Bools, truths: int) -> float:
    """VOC 2007: the mean of the precision envelope at recalls 0, 0.1, ..., 1."""
    precision, recall = _rates(hits, truths)
    envelope = np.append(_envelope(precision), 0.0)
    places = np.searchsorted(recall, np.arange(0.0, 1.1, 0.1), side="left")
    return float(envelope[places].sum() / 11)


def area(hits: Bools, truths: int) -> float:
    """VOC from 2010 on: the area under the precision envelope."""
    precision, recall = _rates(hits, truths)
    return float(np.sum(np.diff(recall, prepend=0.0) * _envelope(precision)))


@dataclass(frozen=True, slots=True)
class Rule:
    """How a published scorer matches, and how it sums up.

    `free`: a found object takes the best true one that is still free, else the best one or nothing. `beyond`: an overlap must be larger
    than the least one, not only as large.
    """

    average: Callable[[Bools, int], float]
    free: bool = False
    beyond: bool = False


RULES: Mapping[RuleName, Rule] = MappingProxyType(
    {
        "coco": Rule(points_101, free=True),
        "voc2007": Rule(points_11),
        "voc2012": Rule(area),
        "xview": Rule(area),
        "dota": Rule(points_11, beyond=True),
        "spacenet": Rule(area, free=True, beyond=True),
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """Precision and recall of one class at each score that occurs, scores falling."""

    scores: Floats
    precision: Floats
    recall: Floats

    @property
    def best(self) -> tuple[float, float]:
        """The score of the highest F1 and that F1; of several, the highest score. NaN where there is no point."""
        if not self.scores.size or np.isnan(self.recall).any():
            return float("nan"), float("nan")
        both = self.precision + self.recall
        f1 = np.divide(2 * self.precision * self.recall, both, out=np.zeros_like(both), where=both > 0)
        place = int(f1.argmax())
        return float(self.scores[place]), float(f1[place])

    def thinned(self, most: int) -> Line:
        """At most so many of its points, evenly taken, with the first and the last."""
        if len(self.scores) <= most:
            return self
        places = np.unique(np.linspace(0, len(self.scores) - 1, most).round().astype(int))
        return Line(self.scores[places], self.precision[places], self.recall[places])


def line(scores: NDArray[np.floating], hits: Bools, truths: int) -> Line:
    """The curve of one class; recall is NaN where there are no true objects."""
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.empty(0, np.int64)
    tp = np.cumsum(hits)[ends].astype(float)
    recall = tp / truths if truths else np.full(len(ends), np.nan)
    return Line(scores[ends].astype(float), tp / (ends + 1), recall)


def _rates(hits: Bools, truths: int) -> tuple[Floats, Floats]:
    tp = np.cumsum(hits).astype(float)
    return tp / (np.arange(1, len(hits) + 1) + np.spacing(1)), tp / truths


def _envelope(precision: Floats) -> Floats:
    """The highest precision at this recall or a higher one."""
    return np.asarray(np.maximum.accumulate(precision[::-1])[::-1], float)
