"""Writing polygons batch by batch: GeoParquet and GeoJSON, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyproj import CRS

from geohydra import storage
from geohydra.vector.encoding import geojson_coordinates, wkb
from geohydra.vector.outlines import Floats, Outlines

_GROUP_BYTES = 8 << 20

Columns = Mapping[str, Sequence[Any] | NDArray[Any]]


def with_polygons(table: pa.Table, shapes: Any, *, crs: str) -> pa.Table:
    """A table with the column `geometry`, polygons of shapely, as GeoParquet has it: to be written by `pyarrow.parquet`."""
    import shapely

    geo = json.dumps(_about(crs))
    found = table.append_column("geometry", pa.array(shapely.to_wkb(shapes).tolist(), pa.binary()))
    return found.replace_schema_metadata({"geo": geo})


def _about(crs: str) -> dict[str, Any]:
    """The metadata of GeoParquet."""
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": _projjson(crs)}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


class GeoParquetWriter:
    """Batches of polygons with their columns, as row groups of a GeoParquet 1.1 file."""

    def __init__(self, path: Path, *, crs: str, schema: pa.Schema) -> None:
        """`schema` names the columns beside `geometry`."""
        self._schema = schema.append(pa.field("geometry", pa.binary())).with_metadata({"geo": json.dumps(_about(crs))})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[pa.Table] = []
        self._bytes = 0

    def write(self, columns: Columns, areas: Outlines, points: Floats) -> None:
        """One row an area, with `points` in the places of its own."""
        table = pa.table({**columns, "geometry": wkb(areas, points).cast(pa.binary())}, schema=self._schema)
        self._waiting.append(table)
        self._bytes += table.nbytes
        if self._bytes > _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._bytes = [], 0


class GeoJsonWriter:
    """Features by RFC 7946: one a line, longitude and latitude with seven decimals, which is a centimetre."""

    def __init__(self, path: Path) -> None:
        self._stream: TextIO = path.open("w", encoding="utf-8")
        self._stream.write('{"type":"FeatureCollection","features":[')
        self._between = "\n"

    def write(self, columns: Columns, areas: Outlines, lonlat: Floats) -> None:
        """One feature an area, with longitudes and latitudes in the places of its points; outer rings are counterclockwise."""
        rows = zip(_properties(columns), geojson_coordinates(areas, lonlat), strict=True)
        kind = '"geometry":{"type":"Polygon","coordinates":'
        self._stream.write(
            self._between + ",\n".join(f'{{"type":"Feature","properties":{known},{kind}{rings}}}}}' for known, rings in rows)
        )
        self._between = ",\n"

    def close(self) -> None:
        """Write the end."""
        self._stream.write("\n]}\n")
        self._stream.close()


def _properties(columns: Columns) -> list[str]:
    """A JSON object for each row."""
    rows = zip(*(_members(name, values) for name, values in columns.items()), strict=True)
    return ["{" + ",".join(row) + "}" for row in rows]


def _members(name: str, values: Sequence[Any] | NDArray[Any]) -> list[str]:
    """The name and each of the values, as members of a JSON object."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return [f'"{name}":{value:.6g}' if value == value else f'"{name}":null' for value in array.tolist()]
    if array.dtype.kind in "iu":
        key = json.dumps(name)
        return [f"{key}:{value}" for value in array.tolist()]
    known = {value: f"{json.dumps(name)}:{json.dumps(value)}" for value in set(array.tolist())}
    return [known[value] for value in array.tolist()]


def _projjson(crs: str) -> dict[str, Any] | None:
    return CRS.from_user_input(crs).to_json_dict() if crs else None


class Files:
    """Files that appear together under their names on leaving without an error, else not at all."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._folder = Path()

    def __enter__(self) -> list[Path]:
        """Where to write each of them for now."""
        with storage.writing(str(self._paths[0])):
            for path in self._paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(dir=self._paths[0].parent, prefix=f".{self._paths[0].name}."))
        return [self._folder / f"{number}{path.suffix}" for number, path in enumerate(self._paths)]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                for number, path in enumerate(self._paths):
                    os.replace(self._folder / f"{number}{path.suffix}", path)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
