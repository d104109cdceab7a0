"""The ground of a scene, whatever its labels are kept in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import DataError
from geohydra.task import Ground, Instances, Objects
from geohydra.types import IGNORE, Grid, LabelAsset, Scene, Window

if TYPE_CHECKING:
    from geohydra.vector.polygons import Polygons


def open_ground(scene: Scene) -> Ground | None:
    """What is known of the ground below a scene; None where it has no labels."""
    if scene.labels is None:
        return None
    kind = _KINDS.get(scene.labels.kind)
    if kind is None:
        raise DataError(scene.id, f"its labels are of the unknown kind {scene.labels.kind!r}", f"known are {', '.join(_KINDS)}")
    return kind(scene.labels, scene.grid)


def _vector(labels: LabelAsset, grid: Grid) -> Ground:
    from geohydra.vector.labels import VectorGround

    return VectorGround(labels.uri, grid, ignored=_ignored(labels, grid), unlabelled=labels.unlabelled, priority=labels.priority)


def _raster(labels: LabelAsset, grid: Grid) -> Ground:
    from geohydra.raster.labels import RasterGround

    return RasterGround(labels.uri, grid, labels.values, ignored=_ignored(labels, grid), unlabelled=labels.unlabelled)


def _ignored(labels: LabelAsset, grid: Grid) -> Polygons | None:
    from geohydra.vector.polygons import Polygons

    return None if labels.ignored is None else Polygons(labels.ignored, grid)


class WholeGround:
    """Ground that is told as a whole: every pixel of the scene is of its classes. Of several the last one in `ids` shows."""

    def __init__(self, classes: Sequence[str], grid: Grid) -> None:
        self._classes, self._grid = frozenset(classes), grid

    @property
    def grid(self) -> Grid:
        """The grid of the scene."""
        return self._grid

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        """See geohydra.task.Ground."""
        found = [number for name, number in ids.items() if name in self._classes]
        value = found[-1] if found else background
        return np.where(self.known(window), np.uint8(value), np.uint8(IGNORE))

    def known(self, window: Window) -> NDArray[np.bool_]:
        """See geohydra.task.Ground."""
        inside = window.clip(self._grid.shape)
        found = np.zeros((window.shape.rows, window.shape.cols), np.bool_)
        if inside is not None:
            found[inside.shift(-window.row, -window.col).slices] = True
        return found

    def objects(self, window: Window) -> Objects:
        """Raises DataError: a class of a whole chip tells of no place."""
        raise self._nowhere(window)

    def instances(self, window: Window) -> Instances:
        """Raises DataError: a class of a whole chip tells of no place."""
        raise self._nowhere(window)

    def _nowhere(self, window: Window) -> DataError:
        problem = f"the labels tell a class of the whole chip and no objects in it (asked for at row {window.row}, column {window.col})"
        return DataError("source.labels", problem, "take task=classification, or labels that are outlines or boxes")


def _whole(labels: LabelAsset, grid: Grid) -> Ground:
    return WholeGround(labels.classes, grid)


_KINDS: Mapping[str, Callable[[LabelAsset, Grid], Ground]] = MappingProxyType({"vector": _vector, "raster": _raster, "whole": _whole})
