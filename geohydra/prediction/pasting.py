"""Masks of found objects, from their grids of probabilities to pixels of a window and to outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes

from geohydra.prediction.parts import LEAST

Floats = NDArray[np.float32]
Box = Sequence[float] | NDArray[Any]

INSIDE = 0.5
"""Probability from which on a pixel is of an object."""


def pasted(grid: Floats, box: Box, rows: int, cols: int) -> tuple[int, int, NDArray[np.bool_]]:
    """First row, first column and pixels of an object: its grid stretched over its box, as far as that lies in a window of so many rows
    and columns. A pixel counts where its middle lies in the box; between the middles of cells, probabilities are interpolated."""
    top, left, bottom, right = (float(side) for side in box)
    first, last = max(0, int(np.ceil(top - 0.5))), min(rows, int(np.floor(bottom - 0.5)) + 1)
    start, stop = max(0, int(np.ceil(left - 0.5))), min(cols, int(np.floor(right - 0.5)) + 1)
    if last <= first or stop <= start:
        return 0, 0, np.zeros((0, 0), np.bool_)
    down = _weights(first, last, top, bottom, grid.shape[0])
    across = _weights(start, stop, left, right, grid.shape[1])
    return first, start, (down @ grid @ across.T) >= INSIDE


def _weights(first: int, last: int, low: float, high: float, cells: int) -> Floats:
    """How much each cell says about each pixel `(pixel, cell)`."""
    places = (np.arange(first, last) + 0.5 - low) / max(high - low, 1e-6) * cells - 0.5
    away = np.abs(np.clip(places, 0, cells - 1)[:, None] - np.arange(cells))
    weights: Floats = np.maximum(0, 1 - away).astype(np.float32)
    return weights


def outline(pixels: NDArray[np.bool_], *, row: int, col: int) -> Any:
    """The largest area of connected pixels as a polygon in columns and rows, the first pixel standing at `row` and `col`; None where it
    is too small to count."""
    found = [shapely.geometry.shape(area) for area, _ in shapes(pixels.astype(np.uint8), mask=pixels, connectivity=4)]
    if not found:
        return None
    largest = max(found, key=lambda area: float(area.area))
    return shapely.affinity.translate(largest, col, row) if largest.area >= LEAST else None


def painted(found: Mapping[str, Any], cuts: Sequence[float], rows: int, cols: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """What a detector found in one window as numbers of objects `(row, col)`, the surest above, and 1 + the class of each number; of each
    class only what reaches its threshold."""
    values = {name: found[name].float().cpu().numpy() for name in ("boxes", "scores", "classes", "masks")}
    kinds = values["classes"].astype(np.int64)
    kept = np.flatnonzero(values["scores"] >= np.array(cuts)[kinds])
    kept = kept[np.argsort(values["scores"][kept], kind="stable")]
    ids = np.zeros((rows, cols), np.int32)
    for number, place in enumerate(kept.tolist(), start=1):
        row, col, pixels = pasted(values["masks"][place], values["boxes"][place], rows, cols)
        ids[row : row + pixels.shape[0], col : col + pixels.shape[1]][pixels] = number
    return ids, np.concatenate([[0], kinds[kept] + 1])
