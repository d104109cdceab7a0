"""Sizes and shapes of anchors from the boxes that are to be found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EACH = 2
"""Sizes of a level."""
_LONG = 1.3
"""From this ratio of the sides on, lying and standing anchors are worth their time."""
_CLOSEST = 1.12
"""Sizes that differ by less are one: the next is so many times as large."""


def fit(boxes: Iterable[NDArray[Any]], *, levels: int) -> tuple[list[list[float]], list[float]]:
    """For each level two sides of squares, and ratios of height to width, the same lying as standing, as chips are turned.

    Sizes stand at even steps among those of the boxes. `boxes` `(..., 4)` in any number of arrays; NaN is none. Without any box: sizes from
    8 pixels on.
    """
    parts = [np.asarray(part, np.float64).reshape(-1, 4) for part in boxes]
    every = np.concatenate([np.empty((0, 4)), *parts])
    sides = every[:, 2:] - every[:, :2]
    sides = sides[(sides > 0).all(axis=1)]
    if not len(sides):
        return [[8.0 * 2**level, 12.0 * 2**level] for level in range(levels)], [0.5, 1.0, 2.0]
    sizes = _spread(np.log(sides).mean(axis=1), levels * _EACH)
    slender = float(np.exp(np.quantile(np.abs(np.log(sides[:, 0] / sides[:, 1])), 0.8)))
    ratios = [1.0] if slender < _LONG else [1 / slender, 1.0, slender]
    return [sizes[start : start + _EACH] for start in range(0, len(sizes), _EACH)], [round(ratio, 3) for ratio in ratios]


def _spread(logs: NDArray[np.float64], count: int) -> list[float]:
    """So many sizes, from small to large, none too close to the one before."""
    steps = (np.arange(count) + 0.5) / count
    chosen = np.quantile(logs, steps)
    for place in range(1, count):
        chosen[place] = max(chosen[place], chosen[place - 1] + np.log(_CLOSEST))
    return [round(float(size), 2) for size in np.exp(chosen)]
