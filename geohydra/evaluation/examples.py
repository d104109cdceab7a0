"""The worst and the best windows of a split, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.evaluation.scores import class_scores, mean
from geohydra.evaluation.streaming import Truth, joint, read_labels
from geohydra.task import Pair
from geohydra.types import IGNORE, Image, Shape, Window

_SIDE = 256
_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Example:
    """One window with its truth and prediction `(row, col)` and its mean IoU."""

    pair: Pair
    window: Window
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    iou: float


def choose(pairs: Sequence[tuple[Pair, Truth]], *, classes: int, count: int) -> list[Example]:
    """The worst and the best of windows drawn evenly from all scenes, from worst to best; those without truth are left out."""
    drawn = [(pair, truth, window) for pair, truth in pairs for window in cut(pair)]
    step = max(1, len(drawn) // _CANDIDATES)
    seen = [example for pair, truth, window in drawn[::step] if (example := _example(pair, truth, window, classes)) is not None]
    seen.sort(key=lambda example: example.iou)
    if len(seen) <= count:
        return seen
    worst = (count + 1) // 2
    return seen[:worst] + seen[len(seen) - (count - worst) :]


def draw(examples: Sequence[Example], *, names: Sequence[str], colors: Sequence[pictures.Color], title: str) -> bytes:
    """A row for each: image, truth, prediction."""
    rows = []
    for example in examples:
        name = f"{example.pair.scene.id} ({example.window.row}, {example.window.col})"
        rows.append(
            (
                *((f"{name} {title}".rstrip(), image) for title, image in read_images(example.pair, example.window)),
                ("truth", pictures.classes_rgb(example.truth, colors)),
                (f"prediction, mean IoU {example.iou:.2f}", pictures.classes_rgb(example.prediction, colors)),
            )
        )
    return pictures.side_by_side(rows, title=title, legend=dict(zip(names, colors, strict=True)))


def read_images(pair: Pair, window: Window | None = None, *, longest: int = _SIDE) -> list[pictures.Panel]:
    """A window of the scene, or all of it made small, as the eye would like it; before and after, where it shows two times."""
    from geohydra.raster.series import open_image

    panels = []
    for title, shown in pictures.views(pair.scene.bands).items():
        with open_image(pair.scene, bands=shown) as reader:
            image: Image = reader.read(window) if window else reader.read_overview(longest)
        panels.append((title, pictures.stretch(image, shown)))
    return panels


def cut(pair: Pair) -> list[Window]:
    """The windows of a pair in pieces that can be looked at."""
    pieces = []
    for window in pair.windows:
        inside = window.clip(pair.scene.grid.shape)
        if inside is None:
            continue
        for row in range(inside.row, inside.row_stop, _SIDE):
            for col in range(inside.col, inside.col_stop, _SIDE):
                piece = inside.intersect(Window(row, col, Shape(_SIDE, _SIDE)))
                if piece is not None and min(piece.shape.rows, piece.shape.cols) * 2 >= min(_SIDE, inside.shape.rows, inside.shape.cols):
                    pieces.append(piece)
    return pieces


def _example(pair: Pair, truth: Truth, window: Window, classes: int) -> Example | None:
    file = pair.file("classes")
    labels = truth(window)
    if file is None or not (labels != IGNORE).any():
        return None
    prediction = read_labels(file, window)
    iou = mean(class_scores(joint(labels, prediction, classes)).iou)
    return None if np.isnan(iou) else Example(pair, window, labels, prediction, iou)
