"""Counts that grow batch by batch on the device and are read once an epoch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from geohydra.types import IGNORE


def answers(outputs: torch.Tensor) -> torch.Tensor:
    """The class of the largest output `(n, class, row, col)`, as `(n, row, col)`.

    Not `argmax`, which takes many times as long over this axis.
    """
    if outputs.shape[1] == 2:
        return (outputs[:, 1] > outputs[:, 0]).to(torch.int64)
    return outputs.max(1).indices


class Confusion:
    """How often each true class was answered by each class; IGNORE does not count."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._counts: torch.Tensor | None = None

    def update(self, answer: torch.Tensor, truth: torch.Tensor) -> None:
        """Add pixels: two tensors of class ids of one shape."""
        cells = self.classes * self.classes
        places = torch.where(truth == IGNORE, cells, truth.to(torch.int64) * self.classes + answer)
        counts = torch.bincount(places.flatten(), minlength=cells + 1)[:cells]
        self._counts = counts if self._counts is None else self._counts + counts

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Counts `(truth, answer)`."""
        if self._counts is None:
            return np.zeros((self.classes, self.classes), np.int64)
        return np.asarray(self._counts.cpu().numpy(), np.int64).reshape(self.classes, self.classes)


class Levels:
    """How many pixels of a class, and of the other one, had which probability of it: a histogram each."""

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self._counts: torch.Tensor | None = None

    def update(self, outputs: torch.Tensor, truth: torch.Tensor) -> None:
        """Add outputs `(n, 2, row, col)`: the second class is the positive one."""
        probability = (outputs[:, 1] - outputs[:, 0]).float().sigmoid()
        level = (probability * self.levels).round().to(torch.int64)
        width = self.levels + 1
        places = torch.where(truth == IGNORE, 2 * width, truth.to(torch.int64) * width + level)
        counts = torch.bincount(places.flatten(), minlength=2 * width + 1)[: 2 * width]
        self._counts = counts if self._counts is None else self._counts + counts

    @property
    def histograms(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts by level of positive and of negative pixels."""
        if self._counts is None:
            return np.zeros(self.levels + 1, np.int64), np.zeros(self.levels + 1, np.int64)
        negative, positive = np.asarray(self._counts.cpu().numpy(), np.int64).reshape(2, self.levels + 1)
        return positive, negative
