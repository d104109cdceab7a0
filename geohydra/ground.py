"""The ground of a scene, whatever its labels are kept in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import DataError
from geohydra.task import Ground, Instances, Objects
from geohydra.types import IGNORE, Asset, Grid, LabelAsset, Scene, Window

if TYPE_CHECKING:
    from geohydra.raster.series import ImageReader
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

    ignored, where = _ignored(labels, grid), labels.where
    return VectorGround(labels.uri, grid, ignored=ignored, unlabelled=labels.unlabelled, priority=labels.priority, where=where)


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


class ValueGround:
    """Ground of which a number is told for each pixel, such as a height: implements `geohydra.task.Measured` beside Ground."""

    def __init__(self, assets: Sequence[Asset], grid: Grid) -> None:
        self._scene = Scene("values", grid, tuple(assets))
        self._reader: ImageReader | None = None

    @property
    def grid(self) -> Grid:
        """The grid of the scene."""
        return self._scene.grid

    def values(self, window: Window) -> NDArray[np.float32]:
        """Numbers `(row, col)`; NaN where there is none."""
        from geohydra.raster.series import open_image

        if self._reader is None:
            self._reader = open_image(self._scene, bands=self._scene.bands)
        image = self._reader.read(window)
        found = np.where(image.valid, image.pixels[0], np.nan).astype(np.float32)
        return np.where(np.isfinite(found), found, np.float32(np.nan))

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:  # noqa: ARG002
        """See geohydra.task.Ground: numbers are of no class."""
        return np.where(self.known(window), np.uint8(background), np.uint8(IGNORE))

    def known(self, window: Window) -> NDArray[np.bool_]:
        """See geohydra.task.Ground."""
        return ~np.isnan(self.values(window))

    def objects(self, window: Window) -> Objects:
        """Raises DataError: numbers tell no objects apart."""
        raise self._nothing(window)

    def instances(self, window: Window) -> Instances:
        """Raises DataError: numbers tell no objects apart."""
        raise self._nothing(window)

    def __getstate__(self) -> dict[str, Any]:
        """Each process opens the files itself."""
        return self.__dict__ | {"_reader": None}

    def _nothing(self, window: Window) -> DataError:
        problem = f"a raster of numbers tells no objects apart (asked for at row {window.row}, column {window.col})"
        return DataError("task.value", problem, "take task=regression")


def _values(labels: LabelAsset, grid: Grid) -> Ground:
    return ValueGround(labels.measured, grid)


_KINDS: Mapping[str, Callable[[LabelAsset, Grid], Ground]] = MappingProxyType(
    {"vector": _vector, "raster": _raster, "whole": _whole, "values": _values}
)
