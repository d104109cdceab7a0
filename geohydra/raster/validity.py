"""Which pixels were measured: nodata, NaN, alpha, masks, all ending in one mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def valid_pixels(pixels: NDArray[Any], nodata: Sequence[float | None], mask: NDArray[Any] | None) -> NDArray[np.bool_]:
    """Which pixels `(row, col)` were measured; see `SceneReader.read` for the rule."""
    zero = [place for place, value in enumerate(nodata) if value == 0]
    valid = pixels[zero[0]] != 0 if zero else np.ones(pixels.shape[1:], np.bool_)
    for place in zero[1:]:
        np.logical_or(valid, pixels[place], out=valid)
    if mask is not None:
        valid &= mask > 0
    for band, value in zip(pixels, nodata, strict=True):
        if value is not None and value != 0 and fits(value, band.dtype):
            valid &= band != band.dtype.type(value)
        if band.dtype.kind == "f":
            valid &= np.isfinite(band)
    return valid


def fits(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a pixel of this type can have this value; NaN is caught with all that is not finite."""
    if dtype.kind == "f":
        return bool(np.isfinite(value))
    return value == int(value) and bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max) if np.isfinite(value) else False
