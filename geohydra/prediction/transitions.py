"""How much ground went over from what to what: a table of areas from a map of changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra import storage
from geohydra.raster.files import open_raster, reading
from geohydra.raster.header import probe
from geohydra.vector.area import row_areas

Table = dict[str, list[Any]]
_ROWS = 256
_HECTARE = 10_000.0
_JOINT = "_to_"
ALL = "all"
"""The scene of the rows that add up all others."""


def from_to(name: str) -> tuple[str | None, str | None]:
    """What a change begins and ends with, where its name tells: `field_to_built`."""
    before, joint, after = name.partition(_JOINT)
    return (before, after) if joint and before and after else (None, None)


def transition_table(raster: Path, names: Sequence[str], *, scene: str, dates: Mapping[str, str]) -> Table:
    """A row a class of a class map: pixels, and their area on the ground."""
    pixels, areas = _areas(raster)
    return _table([scene] * len(names), names, pixels[: len(names)], areas[: len(names)], dates)


def joined_tables(tables: Sequence[Table]) -> Table:
    """The rows of all scenes, then a row for each class of all together."""
    whole = {key: [value for table in tables for value in table[key]] for key in tables[0]}
    names = list(dict.fromkeys(whole["change"]))
    sums = {
        key: [sum(value for value, name in zip(whole[key], whole["change"], strict=True) if name == wanted) for wanted in names]
        for key in ("pixels", "area_m2")
    }
    total = _table([ALL] * len(names), names, np.array(sums["pixels"]), np.array(sums["area_m2"]), {})
    return {key: whole[key] + total[key] for key in whole}


def write_tables(table: Table, folder: Path) -> dict[str, str]:
    """`transitions.csv` and `transitions.parquet`; returns their names by key."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    texts = ("scene", "change", "from", "to", "date_before", "date_after")
    made = pa.table({key: pa.array(values, pa.string() if key in texts else None) for key, values in table.items()})
    for suffix, write in (("csv", pyarrow.csv.write_csv), ("parquet", pyarrow.parquet.write_table)):
        with storage.writing(str(folder / f"transitions.{suffix}")):
            write(made, folder / f"transitions.{suffix}")
    return {f"transitions_{suffix}": f"transitions.{suffix}" for suffix in ("csv", "parquet")}


def read_table(path: Path) -> Table:
    """What `write_tables` wrote, from its Parquet file."""
    import pyarrow.parquet

    return dict(pyarrow.parquet.read_table(path).to_pydict())


def _table(scenes: list[str], names: Sequence[str], pixels: NDArray[Any], areas: NDArray[Any], dates: Mapping[str, str]) -> Table:
    return {
        "scene": scenes,
        "change": list(names),
        "from": [from_to(name)[0] for name in names],
        "to": [from_to(name)[1] for name in names],
        "pixels": [int(count) for count in pixels],
        "area_m2": [float(area) for area in areas],
        "area_ha": [float(area) / _HECTARE for area in areas],
        "date_before": [dates.get("date_before")] * len(names),
        "date_after": [dates.get("date_after")] * len(names),
    }


def _areas(raster: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pixels and square metres by value of a raster of bytes."""
    grid = probe(str(raster), allow_no_crs=True).grid
    by_row = row_areas(grid)
    pixels, areas = np.zeros(256, np.int64), np.zeros(256)
    with reading(str(raster)), open_raster(str(raster)) as dataset:
        from rasterio.windows import Window as Box

        for top in range(0, grid.shape.rows, _ROWS):
            rows = min(_ROWS, grid.shape.rows - top)
            labels = dataset.read(1, window=Box(0, top, grid.shape.cols, rows)).astype(np.int64)
            codes = labels + 256 * np.arange(rows)[:, None]
            counts = np.bincount(codes.ravel(), minlength=256 * rows).reshape(rows, 256)
            pixels += counts.sum(0)
            areas += by_row[top : top + rows] @ counts
    return pixels, areas
