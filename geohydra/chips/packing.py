"""Rectangles of whole cells inside a shape of cells: where chips fit into an area of any outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geohydra.types import Shape, Window

_TALL = (16, 8, 4, 2, 1)
"""Rectangles are looked for in this order: so many times as high as is needed."""


def rectangles(inside: NDArray[np.bool_], least: Shape) -> list[Window]:
    """Windows that share no cell, all cells inside, none smaller than `least`: large ones first, then what fits beside them."""
    free = inside.copy()
    found: list[Window] = []
    for factor in _TALL:
        wide = max(1, factor // 2) * least.cols
        for row in range(free.shape[0] - least.rows * factor + 1):
            band = free[row : row + least.rows * factor]
            for col, col_stop in _runs(np.logical_and.reduce(band), wide):
                found.append(_stretched(Window(row, col, Shape(len(band), col_stop - col)), free))
                free[found[-1].slices] = False
    return found


def _stretched(window: Window, free: NDArray[np.bool_]) -> Window:
    """As far down as all columns are free; above there is never room."""
    below = np.logical_and.reduce(free[window.row :, window.col : window.col_stop], axis=1)
    rows = len(below) if below.all() else int(np.argmin(below))
    return Window(window.row, window.col, Shape(rows, window.shape.cols))


def _runs(line: NDArray[np.bool_], least: int) -> list[tuple[int, int]]:
    """Starts and stops of what is true, at least so long."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2) if stop - start >= least]
