"""How unsure an answer is, from 0 (sure) to 1, or as the variance of several answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["none", "entropy", "margin", "variance"]
Planes = NDArray[np.float32]
Measure = Callable[[Planes], Planes]
"""Of probabilities `(class, row, col)`; for the variance, of the plane that joined answers have in the end."""

MOST: Mapping[str, float] = MappingProxyType({"entropy": 1.0, "margin": 1.0, "variance": 0.25})
"""The largest value of each kind: level 254 of what is written as uint8."""

_LEAST = 1e-12


def entropy(chances: Planes) -> Planes:
    """The entropy as a part of the largest possible one, that of equal probabilities."""
    total = np.zeros(chances.shape[1:], np.float32)
    for chance in chances:
        total -= chance * np.log(np.maximum(chance, _LEAST), dtype=np.float32)
    return np.asarray(np.clip(total / np.float32(math.log(len(chances))), 0, 1), np.float32)


def margin(chances: Planes) -> Planes:
    """One less the distance between the two largest probabilities."""
    first, second = chances[0].copy(), np.zeros_like(chances[0])
    for chance in chances[1:]:
        np.maximum(second, np.minimum(first, chance), out=second)
        np.maximum(first, chance, out=first)
    return np.asarray(np.clip(1 - (first - second), 0, 1), np.float32)


def least_sure_entropy(chances: Planes) -> Planes:
    """Where classes do not exclude each other: the entropy of the class that is least sure."""
    nearest = _nearest(chances)
    return entropy(np.stack([nearest, 1 - nearest]))


def least_sure_margin(chances: Planes) -> Planes:
    """Where classes do not exclude each other: the margin between yes and no of the class that is least sure."""
    nearest = _nearest(chances)
    return np.asarray(1 - np.abs(2 * nearest - 1), np.float32)


def _nearest(chances: Planes) -> Planes:
    """The probability nearest to one half."""
    place = np.abs(chances - np.float32(0.5)).argmin(0)
    return np.asarray(np.take_along_axis(chances, place[None], axis=0)[0], np.float32)


def _last(planes: Planes) -> Planes:
    return np.asarray(planes[-1])


EXCLUSIVE: Mapping[str, Measure] = MappingProxyType({"entropy": entropy, "margin": margin, "variance": _last})
INDEPENDENT: Mapping[str, Measure] = MappingProxyType({"entropy": least_sure_entropy, "margin": least_sure_margin, "variance": _last})
VALUES: Mapping[str, Measure] = MappingProxyType({"variance": _last})
