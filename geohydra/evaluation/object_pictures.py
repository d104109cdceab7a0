"""Pictures of found objects on the image: hits, misses and false alarms in three colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.evaluation.examples import cut, read_images
from geohydra.evaluation.object_tally import FALSE, HIT, Judged
from geohydra.evaluation.overlaps import Bools, Floats, Found, Truth
from geohydra.types import Window

if TYPE_CHECKING:
    from geohydra.task import Pair

COLORS = {"hit": (25, 195, 230), "missed": (255, 205, 40), "false alarm": (225, 45, 60)}
_MAP = 700
_LARGE = 384
_DIM = 0.45
_BITS = 4
"""Fractions of a pixel in which lines are drawn: a sixteenth."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A scene with what its objects are at the chosen thresholds."""

    pair: Pair
    found: Found
    truth: Truth
    judged: Judged

    @property
    def missed(self) -> Bools:
        """Which true objects count and were not found."""
        return ~self.judged.hit & ~self.truth.aside & ~self.truth.crowd

    @property
    def kinds(self) -> tuple[tuple[str, Found | Truth, Bools], ...]:
        """What is drawn, from below to above."""
        states = self.judged.states
        return (
            ("hit", self.found, states == HIT),
            ("false alarm", self.found, states == FALSE),
            ("missed", self.truth, self.missed),
        )


@dataclass(frozen=True, slots=True)
class Example:
    """A window of a scene and its F1."""

    scene: Marked
    window: Window
    f1: float


def scene_map(scene: Marked) -> bytes:
    """The whole scene, with all that counts; what is not in the split is dimmed."""
    title, image = read_images(scene.pair, longest=_MAP)[-1]
    shape = scene.pair.scene.grid.shape
    drawn = draw(_dimmed(image, scene.pair), scene, Window(0, 0, shape))
    counts = {f"{name} ({int(chosen.sum())})": COLORS[name] for name, _, chosen in scene.kinds}
    return pictures.side_by_side([[(f"{scene.pair.scene.id} {title}".rstrip(), drawn)]], legend=counts)


def _dimmed(image: pictures.Rgb, pair: Pair) -> pictures.Rgb:
    shape = pair.scene.grid.shape
    down, right = image.shape[0] / shape.rows, image.shape[1] / shape.cols
    shown = (image * _DIM).astype(np.uint8)
    for window in pair.windows:
        rows = slice(round(window.row * down), round(window.row_stop * down))
        cols = slice(round(window.col * right), round(window.col_stop * right))
        shown[rows, cols] = image[rows, cols]
    return shown


def choose(examples: Sequence[Example], count: int) -> list[Example]:
    """The worst and the best, from worst to best."""
    every = sorted(examples, key=lambda example: example.f1)
    worst = (count + 1) // 2
    return every if len(every) <= count else every[:worst] + every[len(every) - (count - worst) :]


def draw_examples(examples: Sequence[Example], *, title: str) -> bytes:
    """A row for each: the image, and the image with its objects."""
    rows = []
    for example in examples:
        pair, window = example.scene.pair, example.window
        image = _enlarged(read_images(pair, window)[-1][1])
        name = f"{pair.scene.id} ({window.row}, {window.col})"
        rows.append([(name, image), (f"F1 {example.f1:.2f}", draw(image, example.scene, window))])
    pairs = [rows[place] + (rows[place + 1] if place + 1 < len(rows) else []) for place in range(0, len(rows), 2)]
    return pictures.side_by_side(pairs, title=title, legend=COLORS)


def draw(image: pictures.Rgb, scene: Marked, window: Window) -> pictures.Rgb:
    """A picture of a window with outlines of the objects in it."""
    import cv2

    canvas = image.copy(order="C")
    scale = np.array([image.shape[0] / window.shape.rows, image.shape[1] / window.shape.cols])
    for name, things, chosen in scene.kinds:
        rings = _rings(things, np.flatnonzero(chosen & _meets(things.boxes, window)))
        places = [np.rint(((ring - [window.row, window.col]) * scale - 0.5)[:, ::-1] * (1 << _BITS)).astype(np.int32) for ring in rings]
        cv2.polylines(canvas, places, isClosed=True, color=COLORS[name], thickness=1, lineType=cv2.LINE_AA, shift=_BITS)
    return canvas


def _rings(things: Found | Truth, rows: NDArray[np.int64]) -> list[Floats]:
    """Outlines as rings of points (row, col)."""
    if things.outlines is None:
        top, left, bottom, right = things.boxes[rows].T
        return list(np.stack([np.column_stack(corner) for corner in ((top, left), (top, right), (bottom, right), (bottom, left))], axis=1))
    from shapely import get_coordinates, get_exterior_ring, get_parts, get_type_id

    parts: NDArray[Any] = get_parts(get_parts(things.outlines[rows]))
    points, owners = get_coordinates(get_exterior_ring(parts[get_type_id(parts) == 3]), return_index=True)
    return np.split(points[:, ::-1], np.flatnonzero(np.diff(owners)) + 1) if len(points) else []


def _meets(boxes: Floats, window: Window) -> Bools:
    top, left, bottom, right = boxes.T
    return np.asarray((bottom > window.row) & (top < window.row_stop) & (right > window.col) & (left < window.col_stop))


def _enlarged(image: pictures.Rgb) -> pictures.Rgb:
    """Small pictures with larger pixels, so that lines are thin."""
    times = max(1, _LARGE // max(image.shape[:2]))
    return image.repeat(times, 0).repeat(times, 1)


def examples(scene: Marked, count: int) -> list[Example]:
    """The worst and the best windows of a scene, with F1 of the objects whose centre lies in them; windows without any are left out."""
    centres = [(name, (things.boxes[chosen, :2] + things.boxes[chosen, 2:]) / 2) for name, things, chosen in scene.kinds]
    found = []
    for window in cut(scene.pair):
        counts = {name: _inside(places, window) for name, places in centres}
        whole = 2 * counts["hit"] + counts["missed"] + counts["false alarm"]
        if whole:
            found.append(Example(scene, window, 2 * counts["hit"] / whole))
    return choose(found, count)


def _inside(places: Floats, window: Window) -> int:
    rows, cols = places.T
    return int(((rows >= window.row) & (rows < window.row_stop) & (cols >= window.col) & (cols < window.col_stop)).sum())
