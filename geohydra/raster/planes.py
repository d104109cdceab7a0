"""A series as one array of planes, as images are: so that all that goes over images, turns or cuts them can go over series.

For each date its bands, then 1 where it is valid and 0 elsewhere, then its day (since 1970-01-01) in every pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXTRA = 2
"""Planes of a date beside its bands."""


def planes(pixels: NDArray[np.float32], valid: NDArray[np.bool_], days: NDArray[np.int32]) -> NDArray[np.float32]:
    """Float32 `(time * (band + 2), row, col)` of pixels `(time, band, row, col)`, validity `(time, row, col)` and days `(time)`."""
    times, bands, rows, cols = pixels.shape
    found = np.empty((times, bands + EXTRA, rows, cols), np.float32)
    found[:, :bands] = pixels
    found[:, bands] = valid
    found[:, bands + 1] = days[:, None, None]
    return found.reshape(-1, rows, cols)
