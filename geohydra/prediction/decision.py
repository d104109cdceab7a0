"""From a network's outputs to probabilities and answers: a class a pixel, several classes a pixel, or a value.

Outputs may have one plane more than there are classes: the variance of joined answers, see `geohydra.models.votes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra.prediction.uncertainty import EXCLUSIVE, INDEPENDENT, VALUES, Measure
from geohydra.types import IGNORE

if TYPE_CHECKING:
    import torch

    from geohydra.models.votes import Activation

LEVELS = 254
"""Probabilities are written as `round(254 p)`; 255 is not measured."""

_LEAST = 1e-6


class Deciding(Protocol):
    """What becomes of outputs `(n, plane, row, col)`."""

    activation: Activation
    classes: int
    """Planes that are probabilities, or values."""

    layers: int | None
    """Answers a pixel; None: one, without an axis of its own."""

    dtype: str
    unknown: float
    """Of answers, and what stands where nothing was measured."""

    measures: Mapping[str, Measure]
    """How unsure an answer is, by name; see `geohydra.prediction.uncertainty`."""

    def labels(self, outputs: torch.Tensor) -> NDArray[Any]:
        """Answers `(n, [layer,] row, col)`."""

    def probabilities(self, outputs: torch.Tensor) -> NDArray[np.float32]:
        """Float32 `(n, plane, row, col)`: what may be averaged over windows."""

    def choose(self, probabilities: NDArray[np.float32]) -> NDArray[Any]:
        """Answers `([layer,] row, col)` of probabilities `(plane, row, col)`."""


class Decision:
    """The class of a pixel is the most probable one. Of two classes, the second one wins from its threshold on, where it has one."""

    activation: Activation = "softmax"
    layers: int | None = None
    dtype = "uint8"
    unknown: float = IGNORE
    measures = EXCLUSIVE

    def __init__(self, classes: Sequence[str], thresholds: Mapping[str, float]) -> None:
        threshold = thresholds.get(classes[1], 0.5) if len(classes) == 2 else 0.5
        self.classes = len(classes)
        self.threshold = _within(threshold)

    def labels(self, outputs: torch.Tensor) -> NDArray[np.uint8]:
        """Class ids `(n, row, col)` of outputs `(n, class, row, col)`.

        No softmax, and no `argmax`: over this axis it takes many times as long as `max`.
        """
        import torch

        if self.classes == 2:
            margin = math.log(self.threshold / (1 - self.threshold))
            chosen = (outputs[:, 1] - outputs[:, 0] >= margin).to(torch.uint8)
        else:
            chosen = outputs[:, : self.classes].max(1).indices.to(torch.uint8)
        return np.asarray(chosen.cpu().numpy())

    def probabilities(self, outputs: torch.Tensor) -> NDArray[np.float32]:
        """Float32 `(n, class, row, col)`, adding up to one over the classes."""
        return _planes(outputs[:, : self.classes].float().softmax(1), outputs)

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


class LabelDecision:
    """A pixel is of every class whose probability reaches its threshold, one half where it has none: 1, else 0."""

    activation: Activation = "sigmoid"
    dtype = "uint8"
    unknown: float = IGNORE
    measures = INDEPENDENT

    def __init__(self, classes: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self.classes = len(classes)
        self.layers: int | None = self.classes
        self.thresholds = np.array([_within(thresholds.get(name, 0.5)) for name in classes], np.float32)[:, None, None]

    def labels(self, outputs: torch.Tensor) -> NDArray[np.uint8]:
        """0 and 1 `(n, class, row, col)`."""
        return np.asarray(self.probabilities(outputs)[:, : self.classes] >= self.thresholds, np.uint8)

    def probabilities(self, outputs: torch.Tensor) -> NDArray[np.float32]:
        """Float32 `(n, class, row, col)`, each from 0 to 1."""
        return _planes(outputs[:, : self.classes].float().sigmoid(), outputs)

    def choose(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """0 and 1 `(class, row, col)`."""
        return np.asarray(probabilities[: self.classes] >= self.thresholds, np.uint8)


class ValueDecision:
    """The output is the answer: a number a pixel."""

    activation: Activation = "none"
    classes = 1
    layers: int | None = None
    dtype = "float32"
    unknown: float = math.nan
    measures = VALUES

    def labels(self, outputs: torch.Tensor) -> NDArray[np.float32]:
        """Values `(n, row, col)`."""
        return np.asarray(outputs[:, 0].float().cpu().numpy())

    def probabilities(self, outputs: torch.Tensor) -> NDArray[np.float32]:
        """Values, and where there is one their variance, `(n, plane, row, col)`."""
        return np.asarray(outputs.float().cpu().numpy())

    def choose(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values `(row, col)`."""
        return np.asarray(probabilities[0])


def _planes(probabilities: torch.Tensor, outputs: torch.Tensor) -> NDArray[np.float32]:
    """Probabilities, and what stands behind them in the outputs."""
    import torch

    rest = outputs[:, probabilities.shape[1] :]
    whole = torch.cat([probabilities, rest.float()], 1) if rest.shape[1] else probabilities
    return np.asarray(whole.cpu().numpy())


def _within(threshold: float) -> float:
    return min(max(float(threshold), _LEAST), 1 - _LEAST)


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
