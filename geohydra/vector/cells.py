"""Cells of a coarse map as polygons: one square each with its class, its score and the probability of every class."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window as RasterWindow

from geohydra import storage
from geohydra.raster.files import open_raster, reading
from geohydra.raster.header import probe
from geohydra.types import IGNORE, Grid
from geohydra.vector.outlines import Floats, Ints, Outlines
from geohydra.vector.write import Files, GeoJsonWriter, GeoParquetWriter

_PIXELS = 1 << 18
"""Cells that are in memory at once."""


def write_cells(
    raster: Path, probabilities: Path | None, parquet: Path, geojson: Path, *, names: Sequence[str], skip: Collection[str] = ()
) -> tuple[list[Path], dict[str, int]]:
    """Write a square for each cell of a class map `(row, col)`, less those of the classes to skip and those not measured.

    Columns: `class`, `score` (the probability of that class) and one of each class, where probabilities are given. GeoJSON is
    written only where the map has a CRS. Returns the files, and cells by class.
    """
    grid = probe(str(raster), allow_no_crs=True).grid
    wanted = np.isin(np.arange(256), [place for place, name in enumerate(names) if name not in skip])
    paths = [parquet, geojson] if grid.crs else [parquet]
    counts = np.zeros(256, np.int64)
    with (
        storage.writing(str(parquet)),
        Files(*paths) as targets,
        closing(_Writer(targets, grid, names, scored=probabilities is not None)) as writer,
    ):
        for top, labels, levels in _strips(raster, probabilities, grid):
            rows, cols = np.nonzero(wanted[labels])
            counts += np.bincount(labels[rows, cols], minlength=256)
            writer.write(rows + top, cols, labels[rows, cols], None if levels is None else levels[:, rows, cols])
    return paths, {name: int(counts[place]) for place, name in enumerate(names) if wanted[place]}


def squares(rows: Ints, cols: Ints, values: NDArray[Any]) -> Outlines:
    """One area a cell, its corners in turn: down, right, up, back."""
    down, right = np.array([0, 1, 1, 0, 0]), np.array([0, 0, 1, 1, 0])
    points = np.stack([cols[:, None] + right, rows[:, None] + down], axis=-1).reshape(-1, 2).astype(np.float64)
    ones = np.ones(len(rows), np.int64)
    return Outlines(points, 5 * ones, ones, np.asarray(values, np.int64), np.zeros(len(rows)))


class _Writer:
    def __init__(self, paths: Sequence[Path], grid: Grid, names: Sequence[str], *, scored: bool) -> None:
        self._grid, self._names, self._scored = grid, np.array([*names], dtype=object), scored
        a, b, _, d, e, _ = grid.transform
        self._mirrored = a * e - b * d > 0
        fields = [("class", pa.string())]
        if scored:
            fields += [("score", pa.float32()), *((f"probability_{name}", pa.float32()) for name in names)]
        self._parquet = GeoParquetWriter(paths[0], crs=grid.crs, schema=pa.schema(fields))
        self._geojson = GeoJsonWriter(paths[1]) if len(paths) > 1 else None
        self._lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True) if grid.crs else None

    def write(self, rows: Ints, cols: Ints, labels: NDArray[np.uint8], levels: NDArray[np.float32] | None) -> None:
        """Some cells, and the probabilities `(class, cell)` of each."""
        if not len(rows):
            return
        areas = squares(rows, cols, labels)
        ground = _on_ground(areas.points[areas.backwards] if self._mirrored else areas.points, self._grid)
        columns = self._columns(labels, levels)
        self._parquet.write(columns, areas, ground)
        if self._geojson is not None and self._lonlat is not None:
            self._geojson.write(columns, areas, np.stack(self._lonlat.transform(ground[:, 0], ground[:, 1]), axis=1))

    def close(self) -> None:
        """Finish the files."""
        self._parquet.close()
        if self._geojson is not None:
            self._geojson.close()

    def _columns(self, labels: NDArray[np.uint8], levels: NDArray[np.float32] | None) -> Mapping[str, Any]:
        columns: dict[str, Any] = {"class": self._names[labels]}
        if levels is None:
            return columns
        columns["score"] = np.take_along_axis(levels, labels[None].astype(np.intp), axis=0)[0]
        return columns | {f"probability_{name}": level for name, level in zip(self._names, levels, strict=True)}


def _strips(raster: Path, probabilities: Path | None, grid: Grid) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float32] | None]]:
    """First row, class ids `(row, col)`, and probabilities `(class, row, col)`; cells without a probability are IGNORE."""
    step = max(1, _PIXELS // grid.shape.cols)
    with closing(open_raster(str(raster))) as classes, closing(open_raster(str(probabilities or raster))) as scores:
        for top in range(0, grid.shape.rows, step):
            box = RasterWindow(0, top, grid.shape.cols, min(step, grid.shape.rows - top))
            with reading(str(raster)):
                labels = np.asarray(classes.read(1, window=box), np.uint8)
                levels = None if probabilities is None else np.asarray(scores.read(window=box) * np.float32(scores.scales[0]), np.float32)
            yield top, np.minimum(labels, np.uint8(IGNORE)), levels


def _on_ground(points: Floats, grid: Grid) -> Floats:
    a, b, c, d, e, f = grid.transform
    cols, rows = points[:, 0], points[:, 1]
    return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=1)
