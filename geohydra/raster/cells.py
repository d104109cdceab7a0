"""Coarse cells of a class mask: how many pixels of each class, their shares, and the class that has most of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geohydra.types import IGNORE, Shape


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


def majority(mask: NDArray[np.uint8], cell: Shape, *, classes: int, known: float = 0.0) -> NDArray[np.uint8]:
    """The class `(row, col)` that most pixels of a cell have, the lower id of equals.

    IGNORE where no pixel is known, or less than the share `known` of the cell's pixels.
    """
    found = counts(mask, cell, classes=classes)
    whole = counts(np.zeros_like(mask), cell, classes=1)[0]
    total = found.sum(axis=0)
    return np.where((total > 0) & (total >= known * whole), found.argmax(axis=0), IGNORE).astype(np.uint8)
