"""Outlines of a finished map of objects, traced strip by strip, and written as the objects that were found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geohydra.prediction.object_table import Table
from geohydra.prediction.outputs import Shapes
from geohydra.raster.read import probe
from geohydra.raster.scratch import strip_rows, strips
from geohydra.task import Detections
from geohydra.types import Grid
from geohydra.vector.area import pixel_area
from geohydra.vector.found import files_of, found_files
from geohydra.vector.outlines import Outlines, trace
from geohydra.vector.regularise import regularised
from geohydra.vector.seams import Seams

if TYPE_CHECKING:
    from geohydra.prediction.settings import Prediction

_STAIRS = 0.75
"""Pixels by which the stairs of a slanting outline leave its course, about."""


def write_outlines(folder: Path, raster: Path, table: Table, classes: Sequence[str], settings: Prediction) -> Shapes:
    """`objects.parquet` and `objects.geojson` from a raster of ids in the same folder, with the same ids.

    `classes` begin with the background. Returns files, and how many objects of each class there are.
    """
    grid = probe(str(raster), allow_no_crs=True).grid
    with found_files(folder, grid=grid, classes=classes[1:]) as writer:
        for areas in outlines(raster, grid.shape.cols, last=grid.shape.rows):
            found = table.take(areas.values)
            shapes = smoothed(np.asarray(areas.polygons(areas.points)), settings, grid)
            boxes = shapely.bounds(shapes)[:, [1, 0, 3, 2]]
            detections = Detections(boxes, found.scores, found.classes.astype(np.int64) - 1)
            writer.write(detections, shapes, {"id": areas.values, "area_m2": found.areas})
    counts = np.bincount(table.classes[1:], minlength=len(classes))[1:]
    names = classes[1:]
    sums = np.bincount(table.classes[1:], table.areas[1:], minlength=len(classes))[1:]
    numbers = {f"objects/{name}": int(count) for name, count in zip(names, counts, strict=True)}
    return files_of(folder), numbers | {f"area_m2/{name}": float(area) for name, area in zip(names, sums, strict=True)}


def smoothed(shapes: NDArray[Any], settings: Prediction, grid: Grid) -> NDArray[Any]:
    """Outlines that follow pixels, in columns and rows, as the settings want them."""
    if settings.regularise:
        return regularised(shapes, _STAIRS)
    tolerance = settings.simplify_m / pixel_area(grid) ** 0.5
    return np.asarray(shapely.simplify(shapes, tolerance)) if tolerance > 0 else shapes


def outlines(raster: Path, cols: int, *, last: int) -> Iterator[Outlines]:
    """Whole outlines of the objects of a raster of ids, in columns and rows, as soon as no row can add to them."""
    seams = Seams(cols)
    for top, bottom, ids in strips(raster, strip_rows(cols)):
        pixels: NDArray[Any] = ids.astype(np.int32)
        areas = seams.add(trace(pixels, pixels > 0, top), top=top, bottom=bottom, last=bottom == last)
        if len(areas):
            yield areas
