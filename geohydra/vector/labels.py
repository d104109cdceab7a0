"""Labels that are polygons, burnt into the pixels of a scene window by window."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from geohydra import storage
from geohydra.errors import DataError
from geohydra.types import IGNORE, Grid, Window
from geohydra.vector.rasterize import Edges, covered


class VectorGround:
    """The ground as polygons tell it: implements `geohydra.task.Ground`.

    `uri` is a GeoParquet file of polygons in the CRS of `grid`, with a text column `class`. It is parsed once, at the first
    window; a window costs what the polygons that touch it cost.
    """

    def __init__(self, uri: str, grid: Grid) -> None:
        self.uri = uri
        self._grid = grid

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
        part[:] = background
        touching = self.touching(inside)
        classes = self._shapes.classes[touching]
        for name, key in ids.items():
            chosen = touching[classes == name]
            if chosen.size:
                part[covered(self._shapes.edges.spans(chosen, inside), inside)] = key
        return mask

    def touching(self, window: Window) -> NDArray[np.int64]:
        """Numbers of the polygons whose upright box touches a window, in the order of the file."""
        box = shapely.box(window.col, window.row, window.col_stop, window.row_stop)
        return np.sort(self._shapes.tree.query(box)).astype(np.int64)

    @cached_property
    def _shapes(self) -> _Shapes:
        return _Shapes(self.uri, self._grid)


class _Shapes:
    """The polygons of a file in pixels, indexed."""

    def __init__(self, uri: str, grid: Grid) -> None:
        table = _read(uri)
        polygons = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
        self.classes = np.asarray(table["class"].to_numpy(zero_copy_only=False), dtype=object)
        self.edges = Edges(polygons, grid)
        self.tree: Any = shapely.STRtree(shapely.box(*self.edges.boxes.T))


def _read(uri: str) -> pa.Table:
    path = storage.fetch(uri)
    try:
        table = pq.read_table(path, columns=["geometry", "class"])
    except (OSError, pa.ArrowException) as cause:
        raise DataError(uri, f"holds no labels that ingest wrote ({cause})", "run ingest again") from cause
    return table.set_column(0, "geometry", pc.cast(table["geometry"], pa.binary()))
