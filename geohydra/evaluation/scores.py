"""Scores of a confusion matrix `(truth, prediction)`, each by one named definition.

With TP, FP, FN counted over all pixels of a split, per class:

    precision = TP / (TP + FP), 0 where a class that exists is never predicted
    recall    = TP / (TP + FN), 0 where a class is predicted that does not exist
    F1        = 2 TP / (2 TP + FP + FN)
    IoU       = TP / (TP + FP + FN)
    accuracy  = trace / total

A class neither in the truth nor in the prediction has no scores (NaN). Means over classes are unweighted and over the classes
that are in one of both. These are scikit-learn's definitions with `zero_division=0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One value a class, in the order of the classes; NaN where a class does not occur."""

    precision: Values
    recall: Values
    f1: Values
    iou: Values
    pixels: Counts
    predicted: Counts


def class_scores(matrix: Counts) -> ClassScores:
    """Scores of each class of a confusion matrix."""
    hits = np.diag(matrix)
    truth, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    known = (truth + predicted) > 0
    return ClassScores(
        precision=_share(hits, predicted, known),
        recall=_share(hits, truth, known),
        f1=_share(2 * hits, truth + predicted, known),
        iou=_share(hits, truth + predicted - hits, known),
        pixels=truth,
        predicted=predicted,
    )


def accuracy(matrix: Counts) -> float:
    """The share of pixels that are right; NaN where there are none."""
    total = int(matrix.sum())
    return float(np.trace(matrix)) / total if total else float("nan")


def mean(values: Values) -> float:
    """The unweighted mean over classes that occur; NaN where none does."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def majority(matrix: Counts) -> Counts:
    """The confusion matrix of the trivial answer: the most frequent true class everywhere."""
    answer = np.zeros_like(matrix)
    truth = matrix.sum(axis=1)
    answer[:, int(truth.argmax())] = truth
    return answer


def headline(matrix: Counts, names: Sequence[str]) -> dict[str, float]:
    """The metrics of a split by their short names: `iou`, `f1`, `accuracy`, `iou/water`, and a trivial answer to compare with."""
    scores = class_scores(matrix)
    trivial = majority(matrix)
    values = {
        "iou": mean(scores.iou),
        "f1": mean(scores.f1),
        "precision": mean(scores.precision),
        "recall": mean(scores.recall),
        "accuracy": accuracy(matrix),
        "baseline_iou": mean(class_scores(trivial).iou),
        "baseline_accuracy": accuracy(trivial),
    }
    values |= {f"iou/{name}": float(value) for name, value in zip(names, scores.iou, strict=True)}
    return values | {f"f1/{name}": float(value) for name, value in zip(names, scores.f1, strict=True)}


def class_table(matrix: Counts, names: Sequence[str]) -> dict[str, list[Any]]:
    """A row a class."""
    scores = class_scores(matrix)
    return {
        "class": list(names),
        "precision": scores.precision.tolist(),
        "recall": scores.recall.tolist(),
        "f1": scores.f1.tolist(),
        "iou": scores.iou.tolist(),
        "pixels": scores.pixels.tolist(),
        "predicted": scores.predicted.tolist(),
    }


def confusion_table(matrix: Counts, names: Sequence[str]) -> dict[str, list[Any]]:
    """A row a true class, a column a predicted one."""
    return {"truth": list(names)} | {name: matrix[:, place].tolist() for place, name in enumerate(names)}


def _share(part: Counts, whole: Counts, known: NDArray[np.bool_]) -> Values:
    share = np.where(known, 0.0, np.nan)
    return np.divide(part, whole, out=share, where=whole > 0)
