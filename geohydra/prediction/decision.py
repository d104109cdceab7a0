"""From a network's outputs to probabilities and classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

LEVELS = 254
"""Probabilities are written as `round(254 p)`; 255 is not measured."""


class Decision:
    """The class of a pixel is the most probable one. Of two classes, the second one wins from its threshold on, where it has one."""

    def __init__(self, classes: Sequence[str], thresholds: Mapping[str, float]) -> None:
        threshold = thresholds.get(classes[1], 0.5) if len(classes) == 2 else 0.5
        self.classes = len(classes)
        self.threshold = min(max(float(threshold), 1e-6), 1 - 1e-6)

    def labels(self, outputs: torch.Tensor) -> NDArray[np.uint8]:
        """Class ids `(n, row, col)` of outputs `(n, class, row, col)`.

        No softmax, and no `argmax`: over this axis it takes many times as long as `max`.
        """
        import torch

        if self.classes == 2:
            margin = math.log(self.threshold / (1 - self.threshold))
            chosen = (outputs[:, 1] - outputs[:, 0] >= margin).to(torch.uint8)
        else:
            chosen = outputs.max(1).indices.to(torch.uint8)
        return np.asarray(chosen.cpu().numpy())

    def probabilities(self, outputs: torch.Tensor) -> NDArray[np.float32]:
        """Float32 `(n, class, row, col)`, adding up to one over the classes."""
        return np.asarray(outputs.float().softmax(1).cpu().numpy())

    def choose(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Class ids `(row, col)` of probabilities `(class, row, col)`."""
        if self.classes == 2:
            return np.asarray(probabilities[1] >= self.threshold, np.uint8)
        best = probabilities[0].copy()
        chosen = np.zeros(best.shape, np.uint8)
        for place in range(1, self.classes):
            np.copyto(chosen, np.uint8(place), where=probabilities[place] > best)
            np.maximum(best, probabilities[place], out=best)
        return chosen


def encode(probabilities: NDArray[np.float32], dtype: str) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Probabilities, the first axis being whatever it is, as they are written."""
    if dtype == "float32":
        return probabilities.copy()
    levels = np.empty(probabilities.shape, np.uint8)
    for part, level in zip(probabilities, levels, strict=True):
        scaled = part * np.float32(LEVELS)
        scaled += np.float32(0.5)
        level[...] = scaled
    return levels
