"""Masks of found objects, from their grids of probabilities to pixels of a window and to outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.prediction.parts import LEAST
from geohydra.vector.outlines import trace

Floats = NDArray[np.float32]
Box = Sequence[float] | NDArray[Any]
Mask = tuple[int, int, NDArray[np.bool_]]
"""Where the first pixel stands, row and column, and which pixels are of the object."""

INSIDE = 0.5
"""Probability from which on a pixel is of an object."""

_TOGETHER = 1 << 20
"""Pixels of masks that are traced at once, about."""


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
    return outlines([(row, col, pixels)])[0]


def outlines(masks: Sequence[Mask]) -> list[Any]:
    """The outline of each of several; they are traced together, as each tracing has its price."""
    found: list[Any] = []
    some: list[Mask] = []
    for mask in masks:
        some.append(mask)
        if sum(pixels.size for *_, pixels in some) > _TOGETHER:
            found += _outlines(some)
            some = []
    return found + _outlines(some)


def _outlines(masks: Sequence[Mask]) -> list[Any]:
    if not masks:
        return []
    stack, tops = _stacked([pixels for *_, pixels in masks])
    areas = trace(stack, stack > 0, 0)
    sizes = areas.areas(np.arange(len(stack) + 1.0))
    order = np.lexsort((-sizes, areas.values))
    first = np.diff(areas.values[order], prepend=0) > 0
    chosen = np.zeros(len(areas), np.bool_)
    chosen[order[first]] = sizes[order[first]] >= LEAST
    areas = areas.only(chosen)
    owners = areas.values - 1
    corners = np.array([(col, row) for row, col, _ in masks]) - np.stack([np.zeros(len(masks)), tops], axis=1)
    moved = areas.points + np.repeat(corners[owners[areas.ring_owners]], areas.ring_sizes, axis=0)
    found = dict(zip(owners.tolist(), areas.polygons(moved), strict=True))
    return [found.get(place) for place in range(len(masks))]


def _stacked(masks: Sequence[NDArray[np.bool_]]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """All masks below each other, a row between them, by their numbers from 1; and the first row of each."""
    stops = np.cumsum([pixels.shape[0] + 1 for pixels in masks])
    tops = np.concatenate([[0], stops[:-1]])
    stack = np.zeros((int(stops[-1]), max(1, *(pixels.shape[1] for pixels in masks))), np.int32)
    for number, (top, pixels) in enumerate(zip(tops.tolist(), masks, strict=True), start=1):
        stack[top : top + pixels.shape[0], : pixels.shape[1]] = pixels * np.int32(number)
    return stack, tops


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
