"""Cells of a coarse map as polygons: one square each with its class, its score and the probability of every class."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
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
    known = np.array([*names], dtype=object)
    with squares_writer(paths, grid, _fields(names, scored=probabilities is not None)) as writer:
        for top, labels, levels in _strips(raster, probabilities, grid):
            rows, cols = np.nonzero(wanted[labels])
            counts += np.bincount(labels[rows, cols], minlength=256)
            writer.write(rows + top, cols, _columns(known, labels[rows, cols], None if levels is None else levels[:, rows, cols]))
    return paths, {name: int(counts[place]) for place, name in enumerate(names) if wanted[place]}


def write_label_cells(
    raster: Path, probabilities: Path | None, parquet: Path, geojson: Path, *, names: Sequence[str]
) -> tuple[list[Path], dict[str, int]]:
    """Write a square for each cell of a map with a band of 0 and 1 for each class, less those not measured.

    Columns: `classes` (names with commas between them; empty where there is none), one of each class, and `score_NAME`, its
    probability, where these are given. Returns the files, and cells by class.
    """
    grid = probe(str(raster), allow_no_crs=True).grid
    paths = [parquet, geojson] if grid.crs else [parquet]
    counts = np.zeros(len(names), np.int64)
    fields = [("classes", pa.string()), *((name, pa.bool_()) for name in names)]
    fields += [(f"score_{name}", pa.float32()) for name in names] if probabilities else []
    with squares_writer(paths, grid, fields) as writer:
        for top, labels, levels in _strips(raster, probabilities, grid, bands=list(range(1, len(names) + 1))):
            rows, cols = np.nonzero((labels != IGNORE).all(0))
            there = labels[:, rows, cols] == 1
            counts += there.sum(1)
            told = [", ".join(name for name, yes in zip(names, cell, strict=True) if yes) for cell in there.T]
            columns: dict[str, Any] = {"classes": np.array(told, dtype=object)} | dict(zip(names, there, strict=True))
            if levels is not None:
                columns |= {f"score_{name}": level for name, level in zip(names, levels[:, rows, cols], strict=True)}
            writer.write(rows + top, cols, columns)
    return paths, dict(zip(names, counts.tolist(), strict=True))


def squares(rows: Ints, cols: Ints, values: NDArray[Any]) -> Outlines:
    """One area a cell, its corners in turn: down, right, up, back."""
    down, right = np.array([0, 1, 1, 0, 0]), np.array([0, 0, 1, 1, 0])
    points = np.stack([cols[:, None] + right, rows[:, None] + down], axis=-1).reshape(-1, 2).astype(np.float64)
    ones = np.ones(len(rows), np.int64)
    return Outlines(points, 5 * ones, ones, np.asarray(values, np.int64), np.zeros(len(rows)))


Fields = Sequence[tuple[str, pa.DataType]]


@contextmanager
def squares_writer(paths: Sequence[Path], grid: Grid, fields: Fields) -> Iterator[SquaresWriter]:
    """Opens a GeoParquet file, and by a second path GeoJSON; they appear whole or not at all."""
    with storage.writing(str(paths[0])), Files(*paths) as targets, closing(SquaresWriter(targets, grid, fields)) as writer:
        yield writer


class SquaresWriter:
    """Writes cells of a grid as squares with columns."""

    def __init__(self, paths: Sequence[Path], grid: Grid, fields: Fields) -> None:
        self._grid = grid
        a, b, _, d, e, _ = grid.transform
        self._mirrored = a * e - b * d > 0
        self._parquet = GeoParquetWriter(paths[0], crs=grid.crs, schema=pa.schema(fields))
        self._geojson = GeoJsonWriter(paths[1]) if len(paths) > 1 else None
        self._lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True) if grid.crs else None

    def write(self, rows: Ints, cols: Ints, columns: Mapping[str, Any]) -> None:
        """Some cells, and what is told of each."""
        if not len(rows):
            return
        areas = squares(rows, cols, np.zeros(len(rows), np.int64))
        ground = _on_ground(areas.points[areas.backwards] if self._mirrored else areas.points, self._grid)
        self._parquet.write(columns, areas, ground)
        if self._geojson is not None and self._lonlat is not None:
            self._geojson.write(columns, areas, np.stack(self._lonlat.transform(ground[:, 0], ground[:, 1]), axis=1))

    def close(self) -> None:
        """Finish the files."""
        self._parquet.close()
        if self._geojson is not None:
            self._geojson.close()


def _fields(names: Sequence[str], *, scored: bool) -> Fields:
    scores = [("score", pa.float32()), *((f"probability_{name}", pa.float32()) for name in names)]
    return [("class", pa.string()), *(scores if scored else [])]


def _columns(names: NDArray[Any], labels: NDArray[np.uint8], levels: NDArray[np.float32] | None) -> Mapping[str, Any]:
    columns: dict[str, Any] = {"class": names[labels]}
    if levels is None:
        return columns
    columns["score"] = np.take_along_axis(levels, labels[None].astype(np.intp), axis=0)[0]
    return columns | {f"probability_{name}": level for name, level in zip(names, levels, strict=True)}


def _strips(
    raster: Path, probabilities: Path | None, grid: Grid, bands: int | list[int] = 1
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float32] | None]]:
    """First row, class ids `(row, col)` or labels `(class, row, col)`, and probabilities `(class, row, col)`."""
    step = max(1, _PIXELS // grid.shape.cols)
    with closing(open_raster(str(raster))) as classes, closing(open_raster(str(probabilities or raster))) as scores:
        for top in range(0, grid.shape.rows, step):
            box = RasterWindow(0, top, grid.shape.cols, min(step, grid.shape.rows - top))
            with reading(str(raster)):
                labels = np.asarray(classes.read(bands, window=box), np.uint8)
                levels = None if probabilities is None else np.asarray(scores.read(window=box) * np.float32(scores.scales[0]), np.float32)
            yield top, np.minimum(labels, np.uint8(IGNORE)), levels


def _on_ground(points: Floats, grid: Grid) -> Floats:
    a, b, c, d, e, f = grid.transform
    cols, rows = points[:, 0], points[:, 1]
    return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=1)
