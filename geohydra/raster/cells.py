"""Coarse cells of a class mask: how many pixels of each class they have, and their shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geohydra.types import Shape


def counts(mask: NDArray[np.uint8], cell: Shape, *, classes: int) -> NDArray[np.int64]:
    """Pixels `(class, row, col)` of each class id below `classes` in each cell of a mask `(row, col)`.

    Cells of the shape `cell` lie side by side from the upper left corner; the last ones of a row or column hold what is left.
    """
    rows, cols = -(-mask.shape[0] // cell.rows), -(-mask.shape[1] // cell.cols)
    down, across = np.arange(mask.shape[0]) // cell.rows, np.arange(mask.shape[1]) // cell.cols
    known = mask < classes
    place = mask.astype(np.int64) * (rows * cols) + (down * cols)[:, None] + across
    return np.bincount(place[known], minlength=classes * rows * cols).reshape(classes, rows, cols)


def fractions(mask: NDArray[np.uint8], cell: Shape, *, classes: int) -> NDArray[np.float32]:
    """Share `(class, row, col)` that each class has of the known pixels of a cell; 0 throughout where none is known."""
    found = counts(mask, cell, classes=classes)
    total = found.sum(axis=0)
    shares: NDArray[np.float64] = np.divide(found, total, out=np.zeros(found.shape), where=total > 0)
    return shares.astype(np.float32)
