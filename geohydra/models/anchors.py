"""Sizes and shapes of anchors from the boxes that are to be found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EACH = 2
"""Sizes of a level."""
_LONG = 1.3
"""From this ratio of the sides on, lying and standing anchors are worth their time."""
_CLOSEST = 1.12
"""Sizes that differ by less are one: the next is so many times as large."""
_SUITS = 2.7
"""An object of so many cells or more overlaps by half with an anchor of its size, wherever it lies between the cells."""


def fit(boxes: Iterable[NDArray[Any]], *, strides: Sequence[int]) -> tuple[list[list[float]], list[float]]:
    """For each level two sides of squares, and ratios of height to width, the same lying as standing, as chips are turned.

    Levels share the boxes evenly, the largest in the coarsest one, but no box is left to a level whose cells are too coarse for it: the
    finest level has all that are small. `boxes` `(..., 4)` in any number of arrays; NaN is none.
    """
    parts = [np.asarray(part, np.float64).reshape(-1, 4) for part in boxes]
    every = np.concatenate([np.empty((0, 4)), *parts])
    sides = every[:, 2:] - every[:, :2]
    sides = sides[(sides > 0).all(axis=1)]
    if not len(sides):
        return [[2.0 * stride, 3.0 * stride] for stride in strides], [0.5, 1.0, 2.0]
    sizes = _apart(_by_level(np.sort(np.log(sides).mean(axis=1)), strides))
    slender = float(np.exp(np.quantile(np.abs(np.log(sides[:, 0] / sides[:, 1])), 0.8)))
    ratios = [1.0] if slender < _LONG else [1 / slender, 1.0, slender]
    return [sizes[start : start + _EACH] for start in range(0, len(sizes), _EACH)], [round(ratio, 3) for ratio in ratios]


def _by_level(logs: NDArray[np.float64], strides: Sequence[int]) -> NDArray[np.float64]:
    """Sizes of all levels from those of boxes, from small to large, all as logarithms."""
    steps, chosen = (np.arange(_EACH) + 0.5) / _EACH, []
    for level in reversed(range(len(strides))):
        least = np.log(_SUITS * strides[level])
        fair = len(logs) * level // (level + 1)
        first = max(fair, int(np.searchsorted(logs, least))) if level else 0
        own, logs = logs[first:], logs[:first]
        chosen.append(np.quantile(own, steps) if len(own) else least + steps)
    return np.concatenate(chosen[::-1])


def _apart(logs: NDArray[np.float64]) -> list[float]:
    """Sizes, none too close to the one before."""
    chosen = logs.copy()
    for place in range(1, len(chosen)):
        chosen[place] = max(chosen[place], chosen[place - 1] + np.log(_CLOSEST))
    return [round(float(size), 2) for size in np.exp(chosen)]
