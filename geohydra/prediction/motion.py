"""How objects move: a Kalman filter of constant velocity for the middle and the size of each box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SEEN = 0.1
"""Deviation of a detector's box from the object, as a share of the object's size."""
_PUSHED = 0.1
"""How much the velocity of an object changes from frame to frame, as a share of its size."""
_UNKNOWN = 1.0
"""Deviation of the velocity of an object that was seen once, in its sizes a frame; of its growth a tenth of it."""


@dataclass(slots=True)
class Motion:
    """Objects `(n, 4)`: middle (row, column), height, width. Each of the four has a value, a rate a frame, and the covariance
    of both `(n, 4, 2, 2)`; the four do not depend on each other."""

    values: Floats
    rates: Floats
    covariance: Floats

    @classmethod
    def begun(cls, boxes: Floats) -> Motion:
        """Objects that were seen for the first time, in boxes `(top, left, bottom, right)`."""
        values = _middles(boxes)
        covariance = np.zeros((len(values), 4, 2, 2))
        size = _sizes(values)
        covariance[..., 0, 0] = (_SEEN * size) ** 2
        covariance[..., 1, 1] = (_UNKNOWN * np.array([1.0, 1.0, 0.1, 0.1]) * size) ** 2
        return cls(values, np.zeros_like(values), covariance)

    @property
    def boxes(self) -> Floats:
        """Where they are: `(top, left, bottom, right)`."""
        half = np.maximum(self.values[:, 2:], 1e-3) / 2
        return np.hstack([self.values[:, :2] - half, self.values[:, :2] + half])

    def take(self, places: NDArray[np.bool_] | NDArray[np.int64]) -> Motion:
        """Some of them."""
        return Motion(self.values[places], self.rates[places], self.covariance[places])

    def joined(self, other: Motion) -> Motion:
        """These, then the others."""
        mine, theirs = (self.values, self.rates, self.covariance), (other.values, other.rates, other.covariance)
        return Motion(*(np.concatenate(pair) for pair in zip(mine, theirs, strict=True)))

    def predict(self, frames: float) -> None:
        """Where they are so many frames later."""
        push = (_PUSHED * _sizes(self.values)) ** 2 * frames
        self.values = self.values + self.rates * frames
        step = np.array([[1.0, frames], [0.0, 1.0]])
        self.covariance = step @ self.covariance @ step.T
        self.covariance[..., 1, 1] += push

    def correct(self, places: NDArray[np.int64], boxes: Floats) -> None:
        """Some were seen in these boxes."""
        seen = _middles(boxes)
        old = self.covariance[places]
        gain = old[..., :, 0] / (old[..., 0, 0] + (_SEEN * _sizes(seen)) ** 2)[..., None]
        off = seen - self.values[places]
        self.values[places] += gain[..., 0] * off
        self.rates[places] += gain[..., 1] * off
        self.covariance[places] = old - gain[..., :, None] * old[..., None, 0, :]


def _middles(boxes: Floats) -> Floats:
    return np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]])


def _sizes(values: Floats) -> Floats:
    """The length that counts for each of the four: the side of a square of the same area for the middle, else height and width."""
    sides = np.maximum(values[:, 2:], 1e-3)
    side = np.sqrt(sides.prod(axis=1, keepdims=True))
    return np.hstack([side, side, sides])
