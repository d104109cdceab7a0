"""Objects that were found in a scene, as GeoParquet and GeoJSON: written batch by batch, read back in pixels, and drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from geohydra import storage
from geohydra.errors import DataError
from geohydra.task import Detections
from geohydra.types import Grid
from geohydra.vector.area import row_areas
from geohydra.vector.drawing import drawn, rings_of
from geohydra.vector.outlines import Outlines
from geohydra.vector.write import Files, GeoJsonWriter, GeoParquetWriter

Shapes = NDArray[Any]
"""Polygons of shapely, in columns and rows of the scene's pixels (x is the column), from edge to edge."""

Extra = Mapping[str, Sequence[Any] | NDArray[Any]]

_FIELDS = (
    ("id", pa.int64()),
    ("class", pa.string()),
    ("score", pa.float32()),
    *((side, pa.float64()) for side in ("top", "left", "bottom", "right")),
    ("area_m2", pa.float64()),
)
_BOX = ["top", "left", "bottom", "right"]
_AT_ONCE = 8_192
"""Objects that are read together: as polygons of shapely some kilobytes each."""
_LINES = 20_000
"""Outlines that a picture shows at most, the surest ones."""


class FoundWriter:
    """Writes objects as they come; counts them by class. Ids run on from 1."""

    def __init__(self, paths: Sequence[Path], grid: Grid, classes: Sequence[str], columns: Mapping[str, pa.DataType]) -> None:
        self._grid, self._names = grid, np.array([*classes], dtype=object)
        self._areas = row_areas(grid)
        self._parquet = GeoParquetWriter(paths[0], crs=grid.crs, schema=pa.schema([*_FIELDS, *columns.items()]))
        self._geojson = GeoJsonWriter(paths[1]) if len(paths) > 1 else None
        self._lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True) if grid.crs else None
        self.counts = np.zeros(len(classes), np.int64)

    def write(self, found: Detections, shapes: Shapes | None = None, columns: Extra | None = None) -> None:
        """Some objects, with outlines of their own (polygons only), else their corners, else their boxes; `columns` are further ones."""
        if not len(found):
            return
        areas, sizes = _corners_on_ground(found, self._grid) if shapes is None else (_on_ground(shapes, self._grid), shapely.area(shapes))
        known = self._columns(found, sizes) | dict(columns or {})
        self._parquet.write(known, areas, areas.points)
        if self._geojson is not None and self._lonlat is not None:
            self._geojson.write(known, areas, np.stack(self._lonlat.transform(areas.points[:, 0], areas.points[:, 1]), axis=1))
        self.counts += np.bincount(found.classes, minlength=len(self.counts))

    def close(self) -> None:
        """Finish the files."""
        self._parquet.close()
        if self._geojson is not None:
            self._geojson.close()

    def _columns(self, found: Detections, sizes: NDArray[np.float64]) -> dict[str, Any]:
        first = int(self.counts.sum()) + 1
        rows = np.clip(found.boxes[:, [0, 2]].mean(axis=1).astype(np.int64), 0, len(self._areas) - 1)
        return {
            "id": np.arange(first, first + len(found)),
            "class": self._names[found.classes],
            "score": found.scores.astype(np.float32),
            **{side: found.boxes[:, place] for place, side in enumerate(_BOX)},
            "area_m2": sizes * self._areas[rows],
        }


@contextmanager
def found_files(
    folder: Path,
    *,
    grid: Grid,
    classes: Sequence[str],
    columns: Mapping[str, pa.DataType] | None = None,
    name: str = "objects",
    geojson: bool = True,
) -> Iterator[FoundWriter]:
    """Open `objects.parquet`, and `objects.geojson` where there is a CRS; both appear on leaving without an error, else not at all."""
    paths = [folder / f"{name}.parquet", *([folder / f"{name}.geojson"] if grid.crs and geojson else [])]
    with storage.writing(str(paths[0])), Files(*paths) as targets:
        writer = FoundWriter(targets, grid, classes, columns or {})
        try:
            yield writer
        finally:
            writer.close()


def files_of(folder: Path) -> dict[str, str]:
    """The keys of a row of predictions and the names of the files that are there: `objects_parquet`, `objects_geojson`."""
    return {f"objects_{kind}": f"objects.{kind}" for kind in ("parquet", "geojson") if (folder / f"objects.{kind}").exists()}


def outlines_of(found: Detections) -> Shapes:
    """Corners, else boxes, as polygons in columns and rows."""
    shapes: Shapes = np.asarray(shapely.polygons(_corners(found)))
    return shapes


def _corners(found: Detections) -> NDArray[np.float64]:
    """Corners, else those of boxes `(n, corner, 2)`, as columns and rows."""
    return np.asarray((rings_of(found.boxes) if found.corners is None else found.corners)[:, :, ::-1], np.float64)


def read_found(path: Path, *, classes: Sequence[str]) -> Detections:
    """All objects of a file, without outlines, in the order of their ids."""
    parts = [found for found, _ in found_batches(path, classes=classes)]
    return joined(parts)


def found_batches(path: Path, *, classes: Sequence[str], grid: Grid | None = None) -> Iterator[tuple[Detections, Shapes]]:
    """Objects of a file, some at a time, with their outlines: in pixels where the grid of the scene is given, else on the ground."""
    places = {name: place for place, name in enumerate(classes)}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_AT_ONCE, columns=[*(name for name, _ in _FIELDS), "geometry"]):
            names = batch["class"].to_pylist()
            unknown = sorted(set(names) - set(places))
            if unknown:
                raise DataError(str(path), f"has objects of the unknown class {unknown[0]!r}", f"known are {', '.join(classes)}")
            boxes = np.stack([batch[side].to_numpy(zero_copy_only=False) for side in _BOX], axis=1)
            scores = batch["score"].to_numpy(zero_copy_only=False).astype(np.float32)
            found = Detections(boxes, scores, np.array([places[name] for name in names], np.int64))
            shapes = np.asarray(shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False)))
            yield found, shapes if grid is None else _in_pixels(shapes, grid)


def joined(parts: Sequence[Detections]) -> Detections:
    """Several batches as one; corners only where all have some."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return Detections.none()
    corners = [part.corners for part in parts if part.corners is not None]
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate(corners) if len(corners) == len(parts) else None,
    )


def outlines_over(
    rgb: NDArray[np.uint8], parquet: Path, *, classes: Sequence[str], grid: Grid, colors: Sequence[tuple[int, int, int]]
) -> NDArray[np.uint8]:
    """A small picture of the whole scene with the outlines of its surest objects over it."""
    scale = np.array([rgb.shape[0] / grid.shape.rows, rgb.shape[1] / grid.shape.cols])
    surest: list[tuple[float, NDArray[Any], int]] = []
    for found, shapes in found_batches(parquet, classes=classes, grid=grid):
        rings = [shapely.get_coordinates(ring)[:-1, ::-1] * scale for ring in shapely.get_exterior_ring(shapes)]
        surest += zip(found.scores.tolist(), rings, found.classes.tolist(), strict=True)
        surest = sorted(surest, key=lambda one: -one[0])[:_LINES]
    return drawn(rgb, [ring for _, ring, _ in surest], [colors[code] for *_, code in surest], width=1)


def _corners_on_ground(found: Detections, grid: Grid) -> tuple[Outlines, NDArray[np.float64]]:
    """What `_on_ground` makes of `outlines_of`, without a polygon of shapely for each object; and areas in pixels."""
    corners = _corners(found)
    a, b, c, d, e, f = grid.transform
    ground = corners @ np.array([[a, d], [b, e]]) + [c, f]
    closed = np.concatenate([ground, ground[:, :1]], axis=1)
    clockwise = _signed_areas(ground - ground[:, :1]) <= 0
    closed[clockwise] = closed[clockwise, ::-1]
    zeros, ones = np.zeros(len(closed)), np.ones(len(closed), np.int64)
    areas = Outlines(closed.reshape(-1, 2), closed.shape[1] * ones, ones, zeros.astype(np.int64), zeros)
    return areas, np.abs(_signed_areas(corners - corners[:, :1]))


def _signed_areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas of rings `(n, corner, 2)` that are not closed, positive where they run counterclockwise with y upwards."""
    x, y = np.moveaxis(corners, -1, 0)
    return np.asarray((x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1) / 2)


def _on_ground(shapes: Shapes, grid: Grid) -> Outlines:
    """Polygons in the CRS of a grid, outer rings counterclockwise."""
    a, b, c, d, e, f = grid.transform
    ground = shapely.transform(shapes, lambda points: points @ np.array([[a, d], [b, e]]) + [c, f])
    kind, points, offsets = shapely.to_ragged_array(shapely.orient_polygons(ground, exterior_cw=False))
    if kind != shapely.GeometryType.POLYGON:
        raise ValueError("outlines of objects are polygons of one part each")
    rings, areas = (np.asarray(each, np.int64) for each in offsets)
    zeros = np.zeros(len(shapes))
    return Outlines(points, np.diff(rings), np.diff(areas), zeros.astype(np.int64), zeros)


def _in_pixels(shapes: Shapes, grid: Grid) -> Shapes:
    a, b, c, d, e, f = grid.transform
    inverse = np.linalg.inv(np.array([[a, b], [d, e]])).T
    found: Shapes = np.asarray(shapely.transform(shapes, lambda points: (points - [c, f]) @ inverse))
    return found
