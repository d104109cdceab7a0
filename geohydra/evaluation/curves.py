"""Precision-recall and ROC curves from histograms of probabilities: exact for the levels in which they were written.

A probability is one of the levels 0, 1, ..., n; a pixel is called positive at a threshold when its level is at least that.
Average precision is the sum of precision over the steps of recall (no interpolation); AUROC is the trapezoid area. Both equal
scikit-learn's on the same levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEVELS = 254
"""Probabilities are written as `round(254 p)`; 255 is not measured."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One point for each threshold, thresholds (probabilities) falling; NaN where a rate has no meaning."""

    thresholds: Values
    precision: Values
    recall: Values
    false_positive_rate: Values
    average_precision: float
    auroc: float

    @property
    def best(self) -> tuple[float, float]:
        """The threshold of the highest F1 and that F1; of several, the highest threshold. NaN where no pixel is positive."""
        total = self.precision + self.recall
        f1 = np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)
        if f1.size == 0 or np.isnan(self.recall).all():
            return float("nan"), float("nan")
        place = int(f1.argmax())
        return float(self.thresholds[place]), float(f1[place])


def curve(positive: NDArray[np.int64], negative: NDArray[np.int64]) -> Curve:
    """The curve of one class from counts by level, of pixels that are of the class and of pixels that are not."""
    used = np.flatnonzero((positive + negative)[::-1])
    hits, false = np.cumsum(positive[::-1])[used].astype(float), np.cumsum(negative[::-1])[used].astype(float)
    precision = hits / np.maximum(hits + false, 1)
    recall = hits / hits[-1] if used.size and hits[-1] else np.full(used.size, np.nan)
    fallout = false / false[-1] if used.size and false[-1] else np.full(used.size, np.nan)
    return Curve(
        thresholds=(len(positive) - 1 - used) / (len(positive) - 1),
        precision=precision,
        recall=recall,
        false_positive_rate=fallout,
        average_precision=_average_precision(precision, recall),
        auroc=_area(fallout, recall),
    )


def calibration_error(sure: NDArray[np.int64], *, bins: int = 15) -> float:
    """The expected calibration error (ECE; Guo et al., ICML 2017): how far confidence and accuracy lie apart, over equal bins of
    confidence, each weighted by its pixels. `sure` counts wrong (0) and right (1) answers by level; NaN where there are none.
    """
    total = sure.sum()
    if not total:
        return float("nan")
    confidence = np.arange(sure.shape[1]) / (sure.shape[1] - 1)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    known, right = sure.sum(0), sure[1]
    gaps = np.bincount(which, weights=right - known * confidence, minlength=bins)
    return float(np.abs(gaps).sum() / total)


def _average_precision(precision: Values, recall: Values) -> float:
    if recall.size == 0:
        return float("nan")
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _area(x: Values, y: Values) -> float:
    """The trapezoid area from the origin."""
    if x.size == 0:
        return float("nan")
    x, y = np.concatenate([[0.0], x]), np.concatenate([[0.0], y])
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
