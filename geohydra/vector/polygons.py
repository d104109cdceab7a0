"""The polygons of a GeoParquet file in the pixels of a scene, indexed by place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from geohydra import storage
from geohydra.build import near
from geohydra.errors import DataError
from geohydra.types import Grid, Window
from geohydra.vector.index import BoxTree
from geohydra.vector.rasterize import Edges, covered

Ints = NDArray[np.int64]

_AT_ONCE = 1 << 16
"""Polygons that are parsed together: what parsing needs beside the arrays that stay is bounded by it."""


class Polygons:
    """Parsed once, when first asked, into flat arrays; a window costs what the polygons that touch it cost."""

    def __init__(self, uri: str, grid: Grid, *, where: Mapping[str, int | str] | None = None) -> None:
        """`where`: only the rows that have these values in these columns."""
        self.uri = uri
        self._grid = grid
        self._where = dict(where or {})
        self._attributes: dict[str, NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self.edges.boxes)

    @property
    def size(self) -> int:
        """Bytes of outlines, classes and index."""
        return self.edges.size + self.codes.nbytes + self._tree.size

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes that occur; `codes` count in them."""
        return self._parsed[1]

    @property
    def codes(self) -> NDArray[np.int32]:
        """The class of each polygon: its place in `names`."""
        return self._parsed[2]

    @property
    def edges(self) -> Edges:
        """Outlines in pixels."""
        return self._parsed[0]

    def touching(self, window: Window) -> Ints:
        """Numbers of the polygons whose upright box touches a window, in the order of the file."""
        return self._tree.touching(window.col, window.row, window.col_stop, window.row_stop)

    def cover(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels `(row, col)` of a window have their centre in any polygon."""
        return covered(self.edges.spans(self.touching(window), window), window)

    def attribute(self, name: str) -> NDArray[np.float64]:
        """A column of numbers, in the order of the polygons; NaN where there is none. Raises DataError."""
        if name not in self._attributes:
            self._attributes[name] = _numbers(self.uri, name, self._where)
        return self._attributes[name]

    @cached_property
    def _tree(self) -> BoxTree:
        return BoxTree(self.edges.boxes)

    @cached_property
    def _parsed(self) -> tuple[Edges, tuple[str, ...], NDArray[np.int32]]:
        known: dict[str, int] = {}
        parts, codes = [Edges.of_shapes(np.empty(0, object), self._grid)], [np.empty(0, np.int32)]
        for batch in _batches(self.uri, self._where):
            shapes = shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False))
            parts.append(Edges.of_shapes(shapes, self._grid))
            codes.append(_codes(batch["class"], known))
        return Edges.joined(parts), tuple(known), np.concatenate(codes)


def _codes(column: Any, known: dict[str, int]) -> NDArray[np.int32]:
    """Numbers of class names, each name that is new being put into `known`."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = [str(name) for name in coded.dictionary.to_pylist()]
    table = np.array([known.setdefault(name, len(known)) for name in names], np.int32)
    places = coded.indices.to_numpy(zero_copy_only=False)
    return table[places] if len(names) else np.empty(0, np.int32)


def _batches(uri: str, where: Mapping[str, int | str], *also: str) -> Iterator[pa.RecordBatch]:
    path = storage.fetch(uri)
    try:
        with pq.ParquetFile(path) as file:
            missing = {"geometry", "class", *where} - set(file.schema_arrow.names)
            if missing:
                raise DataError(uri, f"holds no labels that ingest wrote: it has no column {min(missing)!r}", "run ingest again")
            groups = [number for number in range(file.num_row_groups) if _may_hold(file.metadata.row_group(number), where)]
            for batch in file.iter_batches(_AT_ONCE, row_groups=groups, columns=["geometry", "class", *where, *also]):
                yield _filtered(batch, where)
    except (OSError, pa.ArrowException) as cause:
        raise DataError(uri, f"holds no labels that ingest wrote ({cause})", "run ingest again") from cause


def _numbers(uri: str, name: str, where: Mapping[str, int | str]) -> NDArray[np.float64]:
    schema = pq.read_schema(storage.fetch(uri))
    if name not in schema.names:
        known = [field.name for field in schema if field.name not in ("geometry", "class")]
        raise DataError(uri, f"its labels have no attribute {name!r}", near(name, known) or "they tell nothing but their class")
    kind = schema.field(name).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)):
        raise DataError(uri, f"the attribute {name!r} of its labels holds {kind}, no numbers", "convert it, or name another")
    parts = [batch[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for batch in _batches(uri, where, name)]
    return np.concatenate([np.empty(0), *parts])


def _filtered(batch: pa.RecordBatch, where: Mapping[str, int | str]) -> pa.RecordBatch:
    for name, value in where.items():
        batch = batch.filter(pc.equal(batch[name], value))
    return batch


def _may_hold(group: Any, where: Mapping[str, int | str]) -> bool:
    """Whether the least and largest values of a group of rows leave room for the wanted ones."""
    columns = [group.column(place) for place in range(group.num_columns)] if where else []
    told = [(column.statistics, where[column.path_in_schema]) for column in columns if column.path_in_schema in where]
    return all(known is None or not known.has_min_max or known.min <= value <= known.max for known, value in told)
