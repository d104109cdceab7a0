"""What is compared in one scene: the objects of a file of found objects, and those that the ground tells of, in pixels of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation.overlaps import ANY, Bools, Floats, Found, Ints, Truth
from geohydra.evaluation.streaming import tiles
from geohydra.raster.gaps import image_with_gaps
from geohydra.types import Grid, Scene, Shape, Window

if TYPE_CHECKING:
    from geohydra.task import Ground, Objects, Pair
    from geohydra.vector.rasterize import Edges

Form = Literal["box", "oriented", "outline"]
"""What is compared of an object: its upright box, the smallest turned rectangle around it, or its outline."""

_TILE = Shape(1024, 1024)


@dataclass(frozen=True, slots=True)
class Meeting:
    """Found and true objects of a scene. `void` float64: pixels of each found object that were not measured, or whose ground is not
    known."""

    found: Found
    truth: Truth
    void: Floats


@dataclass(frozen=True, slots=True)
class Terms:
    """Names of the classes in the order of their numbers; names of labels that are neither hit nor missed; what is compared; and the share
    of an object that must lie in the windows, so that it can be missed."""

    classes: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    form: Form = "box"
    share: float = 0.5


def meeting(pair: Pair, terms: Terms) -> Meeting | None:
    """Read both sides of a scene; None where it has no labels. Of found objects all candidates are read, where predict wrote these too.

    Found objects whose centre lies outside the windows, or that lie mostly where nothing was measured or is known, count only as hits.
    True objects of which too little lies in the windows, or that lie mostly on such ground, are neither hit nor missed.
    """
    from geohydra.ground import open_ground

    ground = open_ground(pair.scene)
    if ground is None:
        return None
    path = pair.file("candidates_parquet") or pair.file("objects_parquet")
    if path is None:
        raise KeyError(f"the prediction of {pair.scene.id} names no file of objects")
    found = _in_windows(read_found(path, pair.scene.grid, terms), pair.windows)
    truth = read_truth(ground, pair.windows, terms)
    with _Hidden(pair.scene, ground) as hidden:
        if hidden.nowhere:
            return Meeting(found, truth, np.zeros(len(found)))
        void, off = _covered([found, truth], hidden, pair.windows)
    found = replace(found, aside=found.aside | (2 * void > found.areas))
    return Meeting(found, replace(truth, aside=truth.aside | (2 * off > truth.areas)), void)


def read_found(path: Path, grid: Grid, terms: Terms) -> Found:
    """The objects of a file that predict wrote. Raises DataError for a class that the task does not have."""
    from geohydra.vector.found import found_batches

    parts = [
        Found.of(np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.float32), None if terms.form == "box" else np.empty(0, object))
    ]
    for found, shapes in found_batches(path, classes=terms.classes, grid=None if terms.form == "box" else grid):
        parts.append(Found.of(found.boxes, found.classes, found.scores, None if terms.form == "box" else _valid(shapes)))
    return Found.joined(parts)


def read_truth(ground: Ground, windows: Sequence[Window], terms: Terms) -> Truth:
    """The objects that a ground tells of; those outside the windows stand aside with those of which too little lies in them."""
    from geohydra.vector.labels import VectorGround

    return _polygons(ground, windows, terms) if isinstance(ground, VectorGround) else _areas(ground, windows, terms)


def _polygons(ground: Any, windows: Sequence[Window], terms: Terms) -> Truth:
    """Objects with numbers of their own: each is whole, wherever it lies."""
    whole: Objects = ground.objects(Window(0, 0, ground.grid.shape))
    shares = np.zeros(int(whole.numbers.max(initial=-1)) + 1)
    for window in windows:
        inside: Objects = ground.objects(window)
        np.add.at(shares, inside.numbers, inside.shares)
    little = shares[whole.numbers] < terms.share * (1 - 1e-9)
    numbers = _classes(whole.classes, terms)
    kept = np.flatnonzero(numbers != _NONE)
    outlines = None if terms.form == "box" else _formed(_clipped(ground, whole, kept), terms)
    return Truth.of(whole.boxes[kept], numbers[kept], outlines, aside=little[kept] | (numbers[kept] == ANY))


def _clipped(ground: Any, whole: Objects, kept: Ints) -> NDArray[Any]:
    """Outlines of some objects, without what lies outside the scene."""
    from shapely import box, intersection

    outlines = np.asarray(ground.outlines(whole.numbers[kept]))
    across = whole.shares[kept] < 1
    outlines[across] = intersection(outlines[across], box(0, 0, ground.grid.shape.cols, ground.grid.shape.rows))
    return outlines


def _areas(ground: Ground, windows: Sequence[Window], terms: Terms) -> Truth:
    """Areas of a label raster, window by window: what the edge of a window cuts off inside the scene stands aside."""
    parts = [Truth.of(np.empty((0, 4)), np.empty(0, np.int64), None if terms.form == "box" else np.empty(0, object))]
    for window in windows:
        inside = window.clip(ground.grid.shape)
        if inside is None:
            continue
        found = ground.instances(inside)
        numbers = _classes(found.objects.classes, terms)
        kept = np.flatnonzero(numbers != _NONE)
        boxes = found.objects.boxes[kept] + np.array([inside.row, inside.col, inside.row, inside.col])
        outlines = None if terms.form == "box" else _formed(_traced(found.ids, inside)[kept], terms)
        aside = _cut_off(boxes, inside, ground.grid.shape) | (numbers[kept] == ANY)
        parts.append(Truth.of(boxes, numbers[kept], outlines, aside=aside))
    return Truth.joined(parts)


def _cut_off(boxes: Floats, window: Window, scene: Shape) -> Bools:
    """Which boxes touch an edge of a window that is not the edge of the scene."""
    ends = np.array([window.row, window.col, window.row_stop, window.col_stop])
    inner = np.array([window.row > 0, window.col > 0, window.row_stop < scene.rows, window.col_stop < scene.cols])
    return np.asarray(((boxes == ends) & inner).any(axis=1))


def _traced(ids: NDArray[Any], window: Window) -> NDArray[Any]:
    """The outline of each id but 0, in pixels of the scene."""
    from rasterio.features import shapes
    from shapely.geometry import shape

    outlines = np.empty(int(ids.max(initial=0)), object)
    for area, value in shapes(ids.astype(np.int32), mask=ids > 0, transform=(1, 0, window.col, 0, 1, window.row)):
        outlines[int(value) - 1] = shape(area)
    return outlines


def _formed(outlines: NDArray[Any], terms: Terms) -> NDArray[Any]:
    from shapely import oriented_envelope

    return np.asarray(oriented_envelope(outlines)) if terms.form == "oriented" and len(outlines) else outlines


_NONE = -2


def _classes(names: Sequence[str], terms: Terms) -> Ints:
    """Numbers of classes; ANY for labels that are ignored, and _NONE for those that the task does not know."""
    return _numbers(names, dict.fromkeys(terms.ignored, ANY) | {name: place for place, name in enumerate(terms.classes)})


def _numbers(names: Sequence[str], known: dict[str, int]) -> Ints:
    return np.fromiter((known.get(name, _NONE) for name in names), np.int64, len(names))


def _valid(outlines: NDArray[Any]) -> NDArray[Any]:
    from shapely import is_valid, make_valid

    return np.where(is_valid(outlines), outlines, make_valid(outlines))


def _in_windows(found: Found, windows: Sequence[Window]) -> Found:
    """What touches a window; what has its centre in none is aside."""
    rows, cols = (found.boxes[:, 0] + found.boxes[:, 2]) / 2, (found.boxes[:, 1] + found.boxes[:, 3]) / 2
    near, inside = np.zeros(len(found), bool), np.zeros(len(found), bool)
    for window in windows:
        top, left, bottom, right = window.row, window.col, window.row_stop, window.col_stop
        inside |= (rows >= top) & (rows < bottom) & (cols >= left) & (cols < right)
        near |= (found.boxes[:, 2] > top) & (found.boxes[:, 0] < bottom) & (found.boxes[:, 3] > left) & (found.boxes[:, 1] < right)
    return replace(found, aside=found.aside | ~inside).take(near | inside)


def _hides(scene: Scene) -> bool:
    """Whether there may be ground that is not known: polygons alone tell of all of it."""
    labels = scene.labels
    return labels is not None and (labels.kind != "vector" or labels.ignored is not None or labels.unlabelled == "ignore")


class _Hidden:
    """Pixels that tell nothing: they were not measured, or their ground is not known."""

    def __init__(self, scene: Scene, ground: Ground) -> None:
        self.ground = ground
        self._sparse = _hides(scene)
        self._image = image_with_gaps(scene)
        self.nowhere = not self._sparse and self._image is None

    def __enter__(self) -> _Hidden:
        return self

    def __exit__(self, *_: object) -> None:
        if self._image is not None:
            self._image.close()

    def __call__(self, tile: Window) -> Bools:
        """`(row, col)` of a tile."""
        found = ~self.ground.known(tile) if self._sparse else np.zeros((tile.shape.rows, tile.shape.cols), np.bool_)
        return found if self._image is None else found | ~self._image.read(tile).valid


def _covered(sides: Sequence[Found | Truth], hidden: _Hidden, windows: Sequence[Window]) -> list[Floats]:
    """Hidden pixels of each object, of those that lie in a tile of the windows; tiles without any object are not looked at."""
    from geohydra.vector.index import BoxTree

    edges = [_edges(things) for things in sides]
    trees = [BoxTree(side.boxes) for side in edges]
    counts = [np.zeros(len(things)) for things in sides]
    for tile, _ in tiles(hidden.ground.grid.shape, windows, _TILE):
        near = [tree.touching(tile.col, tile.row, tile.col_stop, tile.row_stop) for tree in trees]
        unknown = hidden(tile) if any(places.size for places in near) else None
        if unknown is None or not unknown.any():
            continue
        sums = np.concatenate([[0], np.cumsum(unknown)])
        for side, places, count in zip(edges, near, counts, strict=True):
            spans = side.spans(places, tile)
            line = spans.rows * tile.shape.cols
            count[places] += np.bincount(spans.owners, sums[line + spans.stops] - sums[line + spans.starts], minlength=places.size)
    return counts


def _edges(things: Found | Truth) -> Edges:
    from geohydra.vector.rasterize import Edges

    if things.outlines is not None:
        return Edges.of_shapes(things.outlines, Grid("", (1, 0, 0, 0, 1, 0), Shape(1, 1)))
    top, left, bottom, right = things.boxes.T
    cols, rows = np.column_stack([left, right, right, left, left]), np.column_stack([top, top, bottom, bottom, top])
    ends = np.tile(np.arange(5) == 4, len(things))
    return Edges(cols.ravel(), rows.ravel(), ends, np.full(len(things), 5, np.int64))
