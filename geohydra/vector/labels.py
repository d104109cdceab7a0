"""Labels that are polygons, burnt into the pixels of a scene window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.task import Instances, Objects
from geohydra.types import IGNORE, Grid, Window
from geohydra.vector.objects import clipped, painted
from geohydra.vector.polygons import Polygons
from geohydra.vector.rasterize import Spans, covered


class VectorGround:
    """The ground as polygons tell it: implements `geohydra.task.Ground`.

    `uri` is a GeoParquet file of polygons in the CRS of `grid`, with a text column `class`. It is parsed once, at the first
    window; a window costs what the polygons that touch it cost. `ignored`, `unlabelled`, `priority` and `where` are told by
    `LabelAsset`.
    """

    def __init__(
        self,
        uri: str,
        grid: Grid,
        *,
        ignored: Polygons | None = None,
        unlabelled: str = "background",
        priority: Sequence[str] = (),
        where: Mapping[str, int | str] | None = None,
    ) -> None:
        self.uri = uri
        self._grid = grid
        self._polygons = Polygons(uri, grid, where=where)
        self._ignored = ignored
        self._sparse = unlabelled == "ignore"
        self._priority = tuple(priority)

    @property
    def grid(self) -> Grid:
        """The grid of the scene."""
        return self._grid

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        """Class ids `(row, col)` of a window."""
        mask = np.full((window.shape.rows, window.shape.cols), IGNORE, np.uint8)
        inside = window.clip(self._grid.shape)
        if inside is None:
            return mask
        part = mask[inside.shift(-window.row, -window.col).slices]
        touching = self._polygons.touching(inside)
        spans = self._polygons.edges.spans(touching, inside)
        part[:] = self._rest(spans, inside, background)
        classes = self._polygons.codes[touching][spans.owners]
        for name in self._upward(ids):
            own = np.flatnonzero(classes == self._code(name))
            if own.size:
                part[covered(spans.take(own), inside)] = ids[name]
        if self._ignored is not None:
            part[self._ignored.cover(inside)] = IGNORE
        return mask

    def known(self, window: Window) -> NDArray[np.bool_]:
        """Where the ground counts `(row, col)`: within the scene, not ignored, and labelled where that is asked for."""
        mask = self.mask(window, ids=dict.fromkeys(self._polygons.names, 0), background=0)
        return np.asarray(mask != IGNORE)

    def objects(self, window: Window) -> Objects:
        """The polygons that lie in a window, in the order of the file."""
        inside = window.clip(self._grid.shape)
        if inside is None:
            return Objects.none()
        return clipped(self._polygons, self._polygons.touching(inside), inside).moved(inside.row - window.row, inside.col - window.col)

    def instances(self, window: Window) -> Instances:
        """The objects of a window, and which of them each pixel shows."""
        objects = self.objects(window)
        ids = np.zeros((window.shape.rows, window.shape.cols), np.uint16 if len(objects) < 1 << 16 else np.uint32)
        inside = window.clip(self._grid.shape)
        if inside is not None and len(objects):
            ranks = {name: len(self._priority) - place for place, name in enumerate(self._priority)}
            part = ids[inside.shift(-window.row, -window.col).slices]
            part[:] = painted(self._polygons, objects, ranks, inside)
        return Instances(ids, objects)

    def outlines(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Some polygons, whole, as shapely geometries in pixels of the scene: x are columns, y are rows."""
        return self._polygons.edges.shapes(numbers)

    def attribute(self, name: str) -> NDArray[np.float64]:
        """A number of each polygon, in the order of the file; see `geohydra.task.Attributed`."""
        return self._polygons.attribute(name)

    def touching(self, window: Window) -> NDArray[np.int64]:
        """Numbers of the polygons whose upright box touches a window, in the order of the file."""
        return self._polygons.touching(window)

    def _rest(self, spans: Spans, window: Window, background: int) -> NDArray[np.uint8] | int:
        """What pixels are before classes are burnt."""
        if not self._sparse or background == IGNORE:
            return background
        return np.where(covered(spans, window), np.uint8(background), np.uint8(IGNORE))

    def _upward(self, ids: Mapping[str, int]) -> list[str]:
        """Class names from the lowest to the uppermost."""
        named = [name for name in reversed(self._priority) if name in ids]
        return [name for name in ids if name not in self._priority] + named

    def _code(self, name: str) -> int:
        names = self._polygons.names
        return names.index(name) if name in names else -1
