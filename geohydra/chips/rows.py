"""Targets with a row for each object: padded to batches, and moved along where a chip is turned or warped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.task import Rows, Target

Array = NDArray[Any]
Floats = NDArray[np.float64]


def padded(parts: Sequence[Array]) -> Array:
    """`(chip, row, ...)`: all as long as the longest; the rest is NaN, or -1 where numbers are whole."""
    longest = max(map(len, parts))
    first = parts[0]
    filled = np.full((len(parts), longest, *first.shape[1:]), np.nan if first.dtype.kind == "f" else -1, first.dtype)
    for place, part in enumerate(parts):
        filled[place, : len(part)] = part
    return filled


def kinds_of(target: Target) -> dict[str, str]:
    """The kind of each part that has rows."""
    return {name: values.kind for name, values in target.items() if isinstance(values, Rows)}


def stacked(targets: Sequence[Target]) -> dict[str, Array]:
    """Targets of several chips as arrays `(chip, ...)`."""
    return {name: _stack([target[name] for target in targets]) for name in targets[0]}


def points_of(values: Array, kind: str) -> Floats:
    """The corners of boxes, or points themselves, as `(point, 2)`: rows and columns."""
    if kind == "points":
        return np.asarray(values, np.float64).reshape(-1, 2)
    top, left, bottom, right = np.asarray(values, np.float64).T
    corners = np.stack([np.stack([top, top, bottom, bottom], 1), np.stack([left, right, right, left], 1)], 2)
    return corners.reshape(-1, 2)


def rows_from(points: Floats, like: Array, kind: str) -> Array:
    """The inverse of `points_of`: of boxes the smallest upright one around their corners."""
    if kind == "points":
        return points.reshape(like.shape).astype(like.dtype)
    corners = points.reshape(-1, 4, 2)
    return np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(like.dtype).reshape(like.shape)


def turned_points(points: Floats, side: int, quarters: int, mirrored: bool) -> Floats:
    """Points of a square chip after so many quarter turns against the clock, then mirrored left to right, as `numpy.rot90` does."""
    rows, cols = points.T
    for _ in range(quarters % 4):
        rows, cols = side - cols, rows
    return np.stack([rows, side - cols if mirrored else cols], axis=1)


def within(values: Array, kind: str, rows: int, cols: int) -> Array:
    """Boxes cut off at the edges of a chip; those with less than a pixel left, and points that all lie outside, are NaN."""
    values = values.copy()
    if kind == "boxes":
        values[:, 0::2] = values[:, 0::2].clip(0, rows)
        values[:, 1::2] = values[:, 1::2].clip(0, cols)
        gone = ((values[:, 2:] - values[:, :2]) < 1).any(axis=1)
    else:
        inside = ((values >= 0) & (values <= [rows, cols])).all(axis=-1)
        gone = ~np.any(inside, axis=tuple(range(1, inside.ndim)))
    values[gone] = np.nan
    return values


def movable(kinds: Mapping[str, str]) -> dict[str, str]:
    """Those that move with the pixels."""
    return {name: kind for name, kind in kinds.items() if kind != "plain"}


def _stack(parts: Sequence[Array | Rows]) -> Array:
    rows = [part.values for part in parts if isinstance(part, Rows)]
    return padded(rows) if rows else np.stack([np.asarray(part) for part in parts])
