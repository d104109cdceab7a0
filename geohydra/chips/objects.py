"""Points on what labels show, drawn by chance: of polygons each as often as any other, of rasters each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import DataError
from geohydra.types import IGNORE, LabelAsset, Scene, Shape, Window

if TYPE_CHECKING:
    from geohydra.task import Ground

Points = NDArray[np.float64]
"""`(point, 2)`: rows and columns of a scene, with fractions."""

_TRIES = 8
_STRIP = 1 << 22
"""Pixels of labels looked at together, at most, beyond one row."""


def object_points(scene: Scene, windows: Sequence[Window], counts: Mapping[str, int], rng: np.random.Generator) -> Points:
    """For each class so many points in some windows of a scene, fewer where it shows nothing of the class there."""
    if scene.labels is None or not windows:
        return np.zeros((0, 2))
    if scene.labels.kind == "vector":
        return _on_polygons(scene, scene.labels, windows, counts, rng)
    return _on_pixels(scene, windows, counts, rng)


def _on_polygons(
    scene: Scene, labels: LabelAsset, windows: Sequence[Window], counts: Mapping[str, int], rng: np.random.Generator
) -> Points:
    from shapely import get_coordinates, is_empty, point_on_surface

    shapes, classes = _polygons(labels)
    sure = _pixels(get_coordinates(point_on_surface(shapes)), scene)
    kept = np.flatnonzero(~is_empty(shapes))
    near = kept[_inside(sure, windows)]
    place = dict(zip(kept.tolist(), range(len(kept)), strict=True))
    found = [np.zeros((0, 2))]
    for name, count in counts.items():
        members = near[classes[near] == name]
        if len(members):
            chosen = _each_before_again(members, count, rng)
            found.append(_anywhere(shapes[chosen], sure[[place[int(one)] for one in chosen]], scene, windows, rng))
    return np.concatenate(found)


def _polygons(labels: LabelAsset) -> tuple[NDArray[Any], NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from shapely import from_wkb

    from geohydra import storage

    try:
        rows = [(name, "==", value) for name, value in labels.where.items()]
        table = pq.read_table(storage.fetch(labels.uri), columns=["geometry", "class"], filters=rows or None)
    except (OSError, pa.ArrowException) as cause:
        raise DataError(labels.uri, f"holds no labels that ingest wrote ({cause})", "run ingest again") from cause
    geometry = pc.cast(table["geometry"], pa.binary()).to_numpy(zero_copy_only=False)
    return np.asarray(from_wkb(geometry)), table["class"].to_numpy(zero_copy_only=False)


def _pixels(ground: NDArray[np.float64], scene: Scene) -> Points:
    """Ground coordinates `(point, xy)` as rows and columns."""
    a, b, c, d, e, f = scene.grid.transform
    cols_rows = (ground - [c, f]) @ np.linalg.inv(np.array([[a, b], [d, e]])).T
    return np.asarray(cols_rows[:, ::-1])


def _inside(points: Points, windows: Sequence[Window]) -> NDArray[np.bool_]:
    found = np.zeros(len(points), bool)
    for window in windows:
        low, high = [window.row, window.col], [window.row_stop, window.col_stop]
        found |= ((points >= low) & (points < high)).all(axis=1)
    return found


def _each_before_again(members: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    rounds = -(-count // len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count]


def _anywhere(shapes: NDArray[Any], sure: Points, scene: Scene, windows: Sequence[Window], rng: np.random.Generator) -> Points:
    """A random point of each polygon that lies in the windows; the sure one where none is found soon."""
    from shapely import bounds, contains_xy, prepare

    prepare(shapes)
    found = sure.copy()
    left = np.arange(len(shapes))
    edges = bounds(shapes)
    for _ in range(_TRIES):
        ground = rng.uniform(edges[left, :2], edges[left, 2:])
        points = _pixels(ground, scene)
        good = contains_xy(shapes[left], ground[:, 0], ground[:, 1]) & _inside(points, windows)
        found[left[good]] = points[good]
        left = left[~good]
    return found


def _on_pixels(scene: Scene, windows: Sequence[Window], counts: Mapping[str, int], rng: np.random.Generator) -> Points:
    """Each pixel of a class is as likely: the ones with the smallest of the random numbers that all of them draw."""
    from geohydra.ground import open_ground

    ground = open_ground(scene)
    if ground is None:
        return np.zeros((0, 2))
    best = {name: (np.empty(0), np.zeros((0, 2))) for name in counts}
    for strip in (part for window in windows for part in _strips(window, scene.grid.shape)):
        for name, points in _shown(ground, strip, list(counts)):
            keys, kept = best[name]
            keys, kept = np.concatenate([keys, rng.random(len(points))]), np.concatenate([kept, points])
            least = np.argsort(keys)[: counts[name]]
            best[name] = keys[least], kept[least]
    return np.concatenate([np.zeros((0, 2)), *(points for _, points in best.values())])


def _strips(window: Window, image: Shape) -> Iterator[Window]:
    inside = window.clip(image)
    if inside is None:
        return
    step = max(1, _STRIP // inside.shape.cols)
    for row in range(inside.row, inside.row_stop, step):
        yield Window(row, inside.col, Shape(min(step, inside.row_stop - row), inside.shape.cols))


def _shown(ground: Ground, strip: Window, names: Sequence[str]) -> Iterator[tuple[str, Points]]:
    """The middles of the pixels of each class."""
    mask = ground.mask(strip, ids={name: place for place, name in enumerate(names)}, background=IGNORE)
    for place, name in enumerate(names):
        rows_cols = np.argwhere(mask == place)
        yield name, rows_cols + np.array([strip.row + 0.5, strip.col + 0.5])
