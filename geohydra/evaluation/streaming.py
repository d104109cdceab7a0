"""Counts of truth against prediction, read tile by tile: memory is set by the tile and not by the scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import DataError
from geohydra.evaluation.curves import LEVELS
from geohydra.types import IGNORE, Shape, Window

Truth = Callable[[Window], NDArray[np.uint8]]
"""True class ids `(row, col)` of a window; IGNORE where nothing is known."""

_TILE = Shape(512, 4096)
_CHUNK = 1 << 17


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted: pixels `(truth, prediction)`; by class, whether they are of it, and level of probability; and by whether the
    answer is right, and level of probability of the answer.

    `overview` is every `step`-th row and column of the truth as it was compared; IGNORE elsewhere.
    """

    matrix: NDArray[np.int64]
    levels: NDArray[np.int64]
    sure: NDArray[np.int64]
    overview: NDArray[np.uint8]
    step: int


def compare(
    classes_file: Path,
    probabilities_file: Path | None,
    *,
    shape: Shape,
    windows: Sequence[Window],
    truth: Truth,
    classes: int,
    longest: int = 600,
) -> Tally:
    """Count over these windows of a scene. Pixels that are IGNORE in truth or prediction do not count.

    Raises DataError where a prediction is not of the scene's shape.
    """
    step = max(1, -(-max(shape.rows, shape.cols) // longest))
    overview = np.full((-(-shape.rows // step), -(-shape.cols // step)), IGNORE, np.uint8)
    matrix = np.zeros((classes, classes), np.int64)
    levels = np.zeros((classes, 2, LEVELS + 1), np.int64)
    sure = np.zeros((2, LEVELS + 1), np.int64)
    with opened(classes_file, shape) as predicted, opened(probabilities_file, shape) as probabilities:
        for box, region in tiles(shape, windows, _TILE):
            labels = truth(box)
            if region is not None:
                labels = np.where(region, labels, np.uint8(IGNORE))
            _thin(labels, box, overview, step)
            answers = read_band(predicted, 1, box)
            matrix += joint(labels, answers, classes)
            if probabilities is not None:
                _count_levels(levels, sure, labels, answers, probabilities, box)
    return Tally(matrix, levels, sure, overview, step)


def tiles(shape: Shape, windows: Sequence[Window], size: Shape) -> Iterator[tuple[Window, NDArray[np.bool_] | None]]:
    """Tiles that hold a part of the windows, cut to what they hold, with the pixels that lie in one (None: all do)."""
    parts: dict[tuple[int, int], list[Window]] = {}
    for window in windows:
        inside = window.clip(shape)
        if inside is None:
            continue
        for row in range(inside.row // size.rows * size.rows, inside.row_stop, size.rows):
            for col in range(inside.col // size.cols * size.cols, inside.col_stop, size.cols):
                part = inside.intersect(Window(row, col, size))
                if part is not None:
                    parts.setdefault((row, col), []).append(part)
    for place in sorted(parts):
        yield _box(parts[place])


def joint(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Pixels by class `(truth, prediction)`: one fused count; ids from `classes` on do not count."""
    size = classes + 1
    codes: NDArray[Any] = np.minimum(truth, classes).astype(np.uint8 if size * size <= 256 else np.uint16)
    codes *= codes.dtype.type(size)
    codes += np.minimum(prediction, classes)
    return _bincount(codes, size * size).reshape(size, size)[:classes, :classes]


def _box(parts: Sequence[Window]) -> tuple[Window, NDArray[np.bool_] | None]:
    row, col = min(part.row for part in parts), min(part.col for part in parts)
    stop = max(part.row_stop for part in parts), max(part.col_stop for part in parts)
    box = Window(row, col, Shape(stop[0] - row, stop[1] - col))
    if any(part == box for part in parts):
        return box, None
    region = np.zeros((box.shape.rows, box.shape.cols), bool)
    for part in parts:
        region[part.shift(-row, -col).slices] = True
    return box, None if region.all() else region


def _bincount(codes: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Counts of small integers; in pieces, because numpy widens to 8 bytes what it counts."""
    flat = codes.reshape(-1)
    counts = np.zeros(size, np.int64)
    for start in range(0, flat.size, _CHUNK):
        counts += np.bincount(flat[start : start + _CHUNK], minlength=size)
    return counts


def _count_levels(
    levels: NDArray[np.int64],
    sure: NDArray[np.int64],
    labels: NDArray[np.uint8],
    answers: NDArray[np.uint8],
    probabilities: Any,
    box: Window,
) -> None:
    classes = len(levels)
    table = np.zeros(256, np.uint16)
    for place in range(classes):
        level = levels_of(read_band(probabilities, place + 1, box))
        table[:classes], table[place], table[classes:] = 0, 256, 512
        counts = _bincount(table[labels] + level, 3 * 256).reshape(3, 256)
        levels[place, 0] += counts[1, : LEVELS + 1]
        levels[place, 1] += counts[0, : LEVELS + 1]
        chosen = (answers == place) & (labels < classes) & (level <= LEVELS)
        right = (labels[chosen] == place).astype(np.int64)
        sure += np.bincount(right * (LEVELS + 1) + level[chosen], minlength=2 * (LEVELS + 1)).reshape(2, LEVELS + 1)


def levels_of(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Probabilities as levels; 255 where they were not measured."""
    if pixels.dtype == np.uint8:
        return pixels
    known = np.isfinite(pixels)
    return np.where(known, np.rint(np.where(known, pixels, 0) * LEVELS), 255).astype(np.uint8)


def _thin(labels: NDArray[np.uint8], box: Window, overview: NDArray[np.uint8], step: int) -> None:
    thin = labels[-box.row % step :: step, -box.col % step :: step]
    row, col = -(-box.row // step), -(-box.col // step)
    overview[row : row + thin.shape[0], col : col + thin.shape[1]] = thin


@contextmanager
def opened(path: Path | None, shape: Shape) -> Iterator[Any]:
    """A raster of the scene's shape, or nothing."""
    if path is None:
        yield None
        return
    from geohydra.raster.files import open_raster, reading

    with reading(str(path)), open_raster(str(path)) as dataset:
        if dataset.shape != (shape.rows, shape.cols):
            problem = f"has {dataset.height} x {dataset.width} pixels, the scene {shape.rows} x {shape.cols}"
            raise DataError(str(path), problem, "predict this scene again")
        yield dataset


def read_band(dataset: Any, band: int, box: Window) -> NDArray[Any]:
    """A window of one band, from 1, of an opened raster."""
    from rasterio.windows import Window as Box

    return np.asarray(dataset.read(band, window=Box(box.col, box.row, box.shape.cols, box.shape.rows)))


def read_labels(path: Path, window: Window) -> NDArray[np.uint8]:
    """A window of a class raster."""
    from geohydra.raster.files import open_raster, reading

    with reading(str(path)), open_raster(str(path)) as dataset:
        return np.asarray(read_band(dataset, 1, window), np.uint8)


def read_overview(path: Path, longest: int, bands: int | list[int] = 1) -> NDArray[np.uint8]:
    """A class raster made small enough that no side is longer than this; several bands `(band, row, col)` by a list."""
    from geohydra.raster.files import open_raster, reading

    with reading(str(path)), open_raster(str(path)) as dataset:
        step = max(1, -(-max(dataset.shape) // longest))
        shape = (-(-dataset.height // step), -(-dataset.width // step))
        return np.asarray(dataset.read(bands, out_shape=shape if isinstance(bands, int) else (len(bands), *shape)), np.uint8)
