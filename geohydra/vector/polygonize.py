"""From a class raster to polygons, strip by strip: any size in bounded memory, no cuts at the seams."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.windows import Window as RasterWindow

from geohydra import storage
from geohydra.raster.files import open_raster, reading
from geohydra.raster.read import probe
from geohydra.types import Grid
from geohydra.vector.area import row_areas
from geohydra.vector.outlines import Floats, Outlines, trace
from geohydra.vector.seams import Seams
from geohydra.vector.write import Files, GeoJsonWriter, GeoParquetWriter

_STRIP_PIXELS = 1 << 21
_LON_LAT = "EPSG:4326"


@dataclass(frozen=True, slots=True)
class Traced:
    """What was written of one class."""

    name: str
    polygons: int
    area_m2: float


def polygonize(
    raster: Path,
    parquet: Path,
    geojson: Path | None = None,
    *,
    names: Mapping[int, str],
    skip: Collection[str] = (),
    min_area_m2: float = 0.0,
    simplify_m: float = 0.0,
    probabilities: Path | None = None,
    columns: Mapping[str, str] | None = None,
    band: int | None = None,
    strip_rows: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Traced]:
    """Write the areas of connected pixels of each class in `names`, less those in `skip`; other pixel values are no class.

    Columns: `class_id`, `class`, `area_m2` (of the pixels, on the ground) and, where `probabilities` names a raster on the same
    grid with a band for each class id, `score`: the mean probability of the class within; then `columns`, the same text for
    all. `band`: of a raster with a band of 0 and 1 for each class, the one to trace, and that of its probability. `simplify_m` is a
    tolerance; each polygon is simplified for itself, so that neighbours may then part or overlap.
    GeoJSON needs a CRS: without one, none is written, and a pixel counts as a square metre.
    """
    grid = probe(str(raster), allow_no_crs=True).grid
    wanted = {value: name for value, name in names.items() if name not in set(skip)}
    paths = [parquet, geojson] if geojson and grid.crs else [parquet]
    with storage.writing(str(parquet)), Files(*paths) as targets, ExitStack() as stack:
        output = _Output(
            targets, grid, wanted, scored=probabilities is not None, columns=columns, min_area_m2=min_area_m2, simplify_m=simplify_m
        )
        stack.enter_context(closing(output))
        for areas, row in _areas((raster, probabilities), grid, wanted, band, strip_rows):
            output.write(areas)
            if progress:
                progress(row, grid.shape.rows)
    return output.traced()


def _areas(
    files: tuple[Path, Path | None], grid: Grid, wanted: Mapping[int, str], band: int | None, strip_rows: int | None
) -> Iterator[tuple[Outlines, int]]:
    """Complete areas, and the row up to which the raster has been read."""
    raster, probabilities = files
    rows = strip_rows or max(1, min(grid.shape.rows, _strip_rows(grid.shape.cols)))
    chosen = np.zeros(256, np.bool_)
    chosen[list(wanted)] = True
    seams = Seams(grid.shape.cols)
    with closing(_Pixels(raster, band)) as classes, closing(_Pixels(probabilities or raster, band)) as scores:
        for top in range(0, grid.shape.rows, rows):
            bottom = min(top + rows, grid.shape.rows)
            pixels = classes.read(top, bottom)[0]
            found = trace(pixels, chosen[pixels], top)
            if probabilities:
                found = found.summed(_own(scores.read(top, bottom), pixels), top)
            yield seams.add(found, top=top, bottom=bottom, last=bottom == grid.shape.rows), bottom


def _strip_rows(cols: int) -> int:
    """As many as bounded memory allows. Blocks that reach into the next strip stay in GDAL's cache."""
    return max(64, _STRIP_PIXELS // cols // 64 * 64)


def _own(probabilities: NDArray[Any], classes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """For each pixel the probability of its class; one band is that of class 1, the rest is that of class 0."""
    values = probabilities.astype(np.float32)
    if len(values) == 1:
        return np.asarray(np.where(classes == 1, values[0], 1 - values[0]))
    places = np.minimum(classes, len(values) - 1)
    return np.asarray(np.take_along_axis(values, places[None].astype(np.intp), axis=0)[0])


class _Pixels:
    """Rows of a raster as numbers with the file's scale."""

    def __init__(self, path: Path, band: int | None) -> None:
        self._uri = str(path)
        self._bands = None if band is None else [band]
        self._file = open_raster(self._uri)

    def close(self) -> None:
        self._file.close()

    def read(self, top: int, bottom: int) -> NDArray[Any]:
        with reading(self._uri):
            pixels = self._file.read(self._bands, window=RasterWindow(0, top, self._file.width, bottom - top))
        scale = self._file.scales[0]
        return np.asarray(pixels if scale == 1 else pixels * np.float32(scale))


class _Output:
    """Turns areas into polygons on the ground, measures them and writes them."""

    def __init__(
        self,
        paths: list[Path],
        grid: Grid,
        names: Mapping[int, str],
        *,
        scored: bool,
        columns: Mapping[str, str] | None,
        min_area_m2: float,
        simplify_m: float,
    ) -> None:
        self._names = dict(names)
        self._grid = grid
        self._scored = scored
        self._told = dict(columns or {})
        self._least = min_area_m2
        a, b, _, d, e, _ = grid.transform
        self._mirrored = a * e - b * d > 0
        rows = row_areas(grid)
        self._tolerance = simplify_m / math.sqrt(float(rows.mean()))
        self._levels = np.concatenate([[0.0], np.cumsum(rows)])
        self._pixel_levels = np.arange(grid.shape.rows + 1, dtype=np.float64)
        fields = [("class_id", pa.int32()), ("class", pa.string()), ("area_m2", pa.float64())] + [("score", pa.float32())] * scored
        fields += [(name, pa.string()) for name in self._told]
        self._parquet = GeoParquetWriter(paths[0], crs=grid.crs, schema=pa.schema(fields))
        self._geojson = GeoJsonWriter(paths[1]) if len(paths) > 1 else None
        self._lonlat = _to_lonlat(grid.crs) if self._geojson else None
        self._counts = dict.fromkeys(names, 0)
        self._sums = dict.fromkeys(names, 0.0)

    def write(self, areas: Outlines) -> None:
        """Those that are large enough."""
        sizes = areas.areas(self._levels)
        if self._least > 0:
            areas, sizes = areas.only(sizes >= self._least), sizes[sizes >= self._least]
        if not len(areas):
            return
        for value in np.unique(areas.values).tolist():
            self._counts[value] += int((areas.values == value).sum())
            self._sums[value] += float(sizes[areas.values == value].sum())
        columns = self._columns(areas, sizes)
        self._write(areas.simplified(self._tolerance) if self._tolerance > 0 else areas, columns)

    def _write(self, areas: Outlines, columns: Mapping[str, Any]) -> None:
        places = areas.points[areas.backwards] if self._mirrored else areas.points
        ground = _on_ground(places, self._grid)
        self._parquet.write(columns, areas, ground)
        if self._geojson:
            lonlat = ground if self._lonlat is None else np.stack(self._lonlat.transform(ground[:, 0], ground[:, 1]), axis=1)
            self._geojson.write(columns, areas, lonlat)

    def close(self) -> None:
        """Finish the files."""
        self._parquet.close()
        if self._geojson:
            self._geojson.close()

    def traced(self) -> list[Traced]:
        """What was written, by class."""
        return [Traced(name, self._counts[value], self._sums[value]) for value, name in self._names.items()]

    def _columns(self, areas: Outlines, sizes: Floats) -> dict[str, Any]:
        names = np.full(256, "", dtype=object)
        names[list(self._names)] = list(self._names.values())
        columns = {"class_id": areas.values.astype(np.int32), "class": names[areas.values], "area_m2": sizes}
        if self._scored:
            columns["score"] = (areas.sums / areas.areas(self._pixel_levels)).astype(np.float32)
        return columns | {name: [text] * len(areas) for name, text in self._told.items()}


def _on_ground(points: Floats, grid: Grid) -> Floats:
    """Coordinates of `(col, row)` in the CRS of the grid."""
    a, b, c, d, e, f = grid.transform
    cols, rows = points[:, 0], points[:, 1]
    return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=1)


def _to_lonlat(crs: str) -> Transformer | None:
    """None where the CRS is longitude and latitude already."""
    if CRS.from_user_input(crs).equals(CRS.from_user_input(_LON_LAT), ignore_axis_order=True):
        return None
    return Transformer.from_crs(crs, _LON_LAT, always_xy=True)
