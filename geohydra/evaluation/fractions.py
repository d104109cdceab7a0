"""How well fractions of cells are told: root mean square error, mean absolute error, R2, and the error of the total area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from geohydra.evaluation.scores import Values, mean

if TYPE_CHECKING:
    import torch

    from geohydra.evaluation.settings import Evaluation
    from geohydra.task import Ground, Pair
    from geohydra.types import Shape, Window
    from geohydra.work import Work


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over cells, one of each class: what all scores are made from, and what grows scene by scene."""

    cells: int
    truth: Values
    answer: Values
    truth_squared: Values
    error_squared: Values
    error: Values

    @classmethod
    def none(cls, classes: int) -> Moments:
        """Of no cell."""
        return cls(0, *(np.zeros(classes) for _ in range(5)))

    @classmethod
    def of(cls, truth: Values, answer: Values) -> Moments:
        """Of fractions `(class, cell)`."""
        wrong = answer - truth
        return cls(truth.shape[1], truth.sum(1), answer.sum(1), (truth**2).sum(1), (wrong**2).sum(1), np.abs(wrong).sum(1))

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Values]) -> Moments:
        """From what `arrays` gave."""
        return cls(int(arrays["cells"]), *(arrays[name] for name in _SUMS))

    def arrays(self) -> dict[str, Values]:
        """All of it, to be kept."""
        return {"cells": np.asarray(self.cells)} | {name: getattr(self, name) for name in _SUMS}

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.cells + other.cells,
            self.truth + other.truth,
            self.answer + other.answer,
            self.truth_squared + other.truth_squared,
            self.error_squared + other.error_squared,
            self.error + other.error,
        )

    @property
    def rmse(self) -> Values:
        """Root of the mean squared error."""
        return np.asarray(np.sqrt(self.error_squared / self.cells)) if self.cells else np.full(len(self.truth), np.nan)

    @property
    def mae(self) -> Values:
        """Mean absolute error."""
        return self.error / self.cells if self.cells else np.full(len(self.truth), np.nan)

    @property
    def spread(self) -> Values:
        """Sum of squares around the mean of the truth."""
        return self.truth_squared - self.truth**2 / max(self.cells, 1)

    @property
    def r2(self) -> Values:
        """1 - squared error / spread of the truth (scikit-learn's `r2_score`); NaN where the truth is the same in all cells."""
        spread = np.where(self.spread > 1e-9, self.spread, np.nan)
        return np.asarray(1 - self.error_squared / spread)

    @property
    def area_error(self) -> Values:
        """Predicted less true area, as a share of the true one; NaN where there is none."""
        return np.asarray((self.answer - self.truth) / np.where(self.truth > 0, self.truth, np.nan))

    def table(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """A row a class."""
        columns = {"rmse": self.rmse, "mae": self.mae, "r2": self.r2, "area_error": self.area_error}
        rows: dict[str, list[Any]] = {"class": list(names), "cells": [self.cells] * len(names)}
        return rows | {key: values.tolist() for key, values in columns.items()}


_SUMS = ("truth", "answer", "truth_squared", "error_squared", "error")


def fraction_scores(moments: Moments, names: Sequence[str]) -> dict[str, float]:
    """Means over classes, R2 of each, and the error of the trivial answer: the mean fraction everywhere (whose R2 is 0)."""
    trivial = np.sqrt(np.maximum(moments.spread, 0) / moments.cells) if moments.cells else np.full(len(names), np.nan)
    values = {"r2": mean(moments.r2), "rmse": mean(moments.rmse), "mae": mean(moments.mae), "baseline_rmse": mean(trivial)}
    return values | {f"r2/{name}": float(value) for name, value in zip(names, moments.r2, strict=True)}


class FractionTask(Protocol):
    """A task that knows true fractions."""

    classes: tuple[str, ...]
    cell: Shape

    def fractions(self, ground: Ground, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
        """Fractions `(class, row, col)` of a window of cells, and where they are known `(row, col)`."""


@dataclass(frozen=True, slots=True)
class FractionComparison:
    """Predicted fractions of cells held against the ground. Streams strip by strip."""

    task: FractionTask

    def count(self, pair: Pair, *, settings: Evaluation) -> Mapping[str, Values]:  # noqa: ARG002 (every comparison is given them)
        """Sums over the cells of a scene."""
        from geohydra.evaluation.dense import by_cell

        return _of_scene(self.task, by_cell(pair, self.task.cell)).arrays()

    def conclude(
        self, pairs: Sequence[Pair], counts: Sequence[Mapping[str, Values]], *, split: str, settings: Evaluation, work: Work
    ) -> dict[str, Any]:
        """A table and metrics."""
        classes = self.task.classes
        total = sum((Moments.of_arrays(found) for _, found in zip(pairs, counts, strict=True)), Moments.none(len(classes)))
        if not total.cells:
            return {"metrics": {}, "thresholds": {}}
        work.report.table(f"{'' if split == settings.splits[-1] else f'{split}_'}fractions", total.table(classes))
        return {"metrics": fraction_scores(total, classes), "thresholds": {}}


def _of_scene(task: FractionTask, pair: Pair) -> Moments:
    from rasterio.windows import Window as Box

    from geohydra.evaluation.streaming import tiles
    from geohydra.ground import open_ground
    from geohydra.raster.files import open_raster, reading
    from geohydra.types import Shape

    total = Moments.none(len(task.classes))
    ground, file = open_ground(pair.scene), pair.file("probabilities")
    if ground is None or file is None:
        return total
    shape = pair.scene.grid.coarse(task.cell).shape
    with reading(str(file)), open_raster(str(file)) as dataset:
        for box, region in tiles(shape, pair.windows, Shape(64, 256)):
            shares, known = (values.numpy() for values in task.fractions(ground, box))
            levels = dataset.read(window=Box(box.col, box.row, box.shape.cols, box.shape.rows))
            measured = levels[0] != 255 if levels.dtype == np.uint8 else np.isfinite(levels[0])
            chosen = known & measured & (True if region is None else region)
            total += Moments.of(shares[:, chosen].astype(np.float64), levels[:, chosen] * float(dataset.scales[0]))
    return total
