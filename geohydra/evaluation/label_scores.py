"""Scores where a pixel or chip may be of several classes, each by one named definition.

Of each class, precision, recall, F1 and IoU are those of `geohydra.evaluation.scores`, average precision and AUROC those of
`geohydra.evaluation.curves`. Then:

    f1, precision, recall, iou, average_precision, auroc   macro: unweighted means over classes that have the score
    f1_micro, average_precision_micro                      of all classes together: their counts are added up first
    accuracy                                               share of right answers, over all classes (1 - Hamming loss)
    subset_accuracy                                        share of pixels or chips that are right in every class

These are scikit-learn's definitions; levels of probability are those that are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation.curves import LEVELS, Curve, curve
from geohydra.evaluation.scores import Counts, Values, mean


@dataclass(frozen=True, slots=True)
class LabelTally:
    """Counts: by class `(truth, answer)`, absent before present; by class, present before absent, and level of probability; how many
    pixels are known in all classes and how many of those are right in all."""

    answers: Counts
    levels: Counts
    right: int = 0
    known: int = 0

    @classmethod
    def none(cls, classes: int) -> LabelTally:
        """Of nothing."""
        return cls(np.zeros((classes, 2, 2), np.int64), np.zeros((classes, 2, LEVELS + 1), np.int64))

    @classmethod
    def of(cls, arrays: Mapping[str, Counts]) -> LabelTally:
        """From what `arrays` gave."""
        right, known = arrays["pixels"].tolist()
        return cls(arrays["answers"], arrays["levels"], right, known)

    def arrays(self) -> dict[str, Counts]:
        """All of it, to be kept."""
        return {"answers": self.answers, "levels": self.levels, "pixels": np.array([self.right, self.known], np.int64)}

    def __add__(self, other: LabelTally) -> LabelTally:
        return LabelTally(self.answers + other.answers, self.levels + other.levels, self.right + other.right, self.known + other.known)

    @property
    def share(self) -> Values:
        """How much of what is known of each class is of it; NaN where nothing is known."""
        total = self.answers.sum((1, 2))
        return np.asarray(np.divide(self.answers[:, 1].sum(1), total, out=np.full(len(total), np.nan), where=total > 0))

    @property
    def ratios(self) -> dict[str, Values]:
        """By class; NaN where a class neither occurs nor is answered."""
        return _ratios(self.answers)

    def curves(self, names: Sequence[str]) -> dict[str, Curve]:
        """A curve for each class that has pixels with probabilities."""
        return {name: curve(*self.levels[place]) for place, name in enumerate(names) if self.levels[place, 0].any()}

    def headline(self, names: Sequence[str]) -> dict[str, float]:
        """All metrics by short names, and the F1 of the trivial answer: every class everywhere."""
        ratios = self.ratios
        values = {name: mean(ratios[name]) for name in ("f1", "precision", "recall", "iou")}
        values["f1_micro"] = float(_ratios(self.answers.sum(0, keepdims=True))["f1"][0])
        total = int(self.answers.sum())
        values["accuracy"] = float(np.trace(self.answers, axis1=1, axis2=2).sum()) / total if total else float("nan")
        values["subset_accuracy"] = self.right / self.known if self.known else float("nan")
        values["baseline_f1"] = mean(2 * self.share / (1 + self.share))
        values |= {f"f1/{name}": float(value) for name, value in zip(names, ratios["f1"], strict=True)}
        values |= {f"iou/{name}": float(value) for name, value in zip(names, ratios["iou"], strict=True)}
        return values | self._areas(names)

    def table(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """A row a class."""
        ratios, lines = self.ratios, self.curves(names)
        columns: dict[str, list[Any]] = {"class": list(names)} | {name: values.tolist() for name, values in ratios.items()}
        columns["average_precision"] = [lines[name].average_precision if name in lines else float("nan") for name in names]
        columns["auroc"] = [lines[name].auroc if name in lines else float("nan") for name in names]
        return columns | {"pixels": self.answers[:, 1].sum(1).tolist(), "predicted": self.answers[:, :, 1].sum(1).tolist()}

    def thresholds(self, names: Sequence[str]) -> dict[str, float]:
        """Of each class the probability from which on its F1 is best."""
        best = {name: line.best[0] for name, line in self.curves(names).items()}
        return {name: value for name, value in best.items() if np.isfinite(value)}

    def _areas(self, names: Sequence[str]) -> dict[str, float]:
        lines = self.curves(names)
        if not lines:
            return {}
        values = {"average_precision": mean(_of(lines, "average_precision")), "auroc": mean(_of(lines, "auroc"))}
        values["average_precision_micro"] = curve(*self.levels.sum(0)).average_precision
        values["baseline_average_precision"] = mean(self.share[self.share > 0])
        values |= {f"average_precision/{name}": line.average_precision for name, line in lines.items()}
        return values | {f"auroc/{name}": line.auroc for name, line in lines.items()}


def _of(lines: dict[str, Curve], name: str) -> Values:
    return np.array([getattr(line, name) for line in lines.values()], float)


def _ratios(answers: NDArray[np.int64]) -> dict[str, Values]:
    hits, truth, predicted = answers[:, 1, 1], answers[:, 1].sum(1), answers[:, :, 1].sum(1)
    known = np.where(truth + predicted > 0, 0.0, np.nan)

    def share(part: Counts, whole: Counts) -> Values:
        return np.divide(part, whole, out=known.copy(), where=whole > 0)

    return {
        "precision": share(hits, predicted),
        "recall": share(hits, truth),
        "f1": share(2 * hits, truth + predicted),
        "iou": share(hits, truth + predicted - hits),
    }
