"""Boundary IoU (Cheng et al., CVPR 2021): how well the edges of classes are met, tile by tile.

Of each class, only those of its pixels count that lie within a few pixels of its edge, by 3 x 3 erosion once a pixel: in the truth
by the edge in the truth, in the prediction by the edge there. The edge of the scene is an edge, as in the published code; what is
unknown is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation.scores import Values, mean
from geohydra.evaluation.streaming import Truth, joint, opened, read_band, tiles
from geohydra.types import IGNORE, Shape, Window

_TILE = Shape(512, 2048)
Labels = NDArray[np.uint8]


def compare_boundaries(
    classes_file: Path, *, shape: Shape, windows: Sequence[Window], truth: Truth, classes: int, width: int
) -> NDArray[np.int64]:
    """Pixels `(truth, prediction)` near the edge of their class; the last row and column stand for what is near none."""
    total = np.zeros((classes + 1, classes + 1), np.int64)
    with opened(classes_file, shape) as predicted:
        for box, region in tiles(shape, windows, _TILE):
            wide = Window(box.row - width, box.col - width, Shape(box.shape.rows + 2 * width, box.shape.cols + 2 * width))
            inside = wide.clip(shape)
            if inside is None:
                continue
            known = _framed(truth(inside), inside, wide, classes)
            answers = _framed(np.asarray(read_band(predicted, 1, inside)), inside, wide, classes)
            total += _counted(known, answers, region, classes=classes, width=width)
    return total


def near_edges(labels: Labels, width: int) -> NDArray[np.bool_]:
    """Which pixels `(row, col)` have one of another class within so many rows and columns; IGNORE is no class."""
    from scipy.ndimage import maximum_filter, minimum_filter

    size = 2 * width + 1
    least = minimum_filter(labels, size, mode="nearest")
    most = maximum_filter(np.where(labels == IGNORE, 0, labels), size, mode="nearest")
    return np.asarray(least != most)


def boundary_scores(matrix: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """`boundary_iou`, its mean over classes that have an edge in truth or prediction, and that of each class."""
    ious = boundary_ious(matrix)
    return {"boundary_iou": mean(ious)} | {f"boundary_iou/{name}": float(value) for name, value in zip(names, ious, strict=True)}


def boundary_ious(matrix: NDArray[np.int64]) -> Values:
    """Of each class; NaN without an edge."""
    hits = np.diag(matrix)[:-1].astype(float)
    union = matrix.sum(1)[:-1] + matrix.sum(0)[:-1] - hits
    return np.asarray(np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0))


def _framed(labels: Labels, inside: Window, wide: Window, classes: int) -> Labels:
    """Labels of a window that may reach beyond the scene; what lies there is like no class."""
    framed = np.full((wide.shape.rows, wide.shape.cols), classes, np.uint8)
    framed[inside.shift(-wide.row, -wide.col).slices] = labels
    return framed


def _counted(known: Labels, answers: Labels, region: Any, *, classes: int, width: int) -> NDArray[np.int64]:
    inner = (slice(width, -width), slice(width, -width))
    both = (known != IGNORE) & (answers != IGNORE)
    parts = [
        np.where(both, np.where(near_edges(labels, width), labels, np.uint8(classes)), np.uint8(IGNORE))[inner]
        for labels in (known, answers)
    ]
    truth = parts[0] if region is None else np.where(region, parts[0], np.uint8(IGNORE))
    return joint(truth, parts[1], classes + 1)
