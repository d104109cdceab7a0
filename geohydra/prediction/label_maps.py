"""Maps of several labels a pixel or cell: a band of 0 and 1 for each class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.prediction.decision import LabelDecision
from geohydra.prediction.outputs import PICTURE, Shapes, levels_of, read_small
from geohydra.raster.write import CogWriter
from geohydra.types import IGNORE, PIXEL, Grid, Shape

if TYPE_CHECKING:
    from geohydra.prediction.settings import Prediction

_ROWS = 16


class LabelMap:
    """Of each class where it is: `classes.tif`, and polygons of each class, or squares with the classes of each cell.

    Implements `geohydra.prediction.outputs.Answers`.
    """

    file = "classes.tif"

    def __init__(self, classes: Sequence[str], colors: Mapping[str, str] | None) -> None:
        self.names = tuple(classes)
        self._shades = pictures.palette(classes, colors)

    def decision(self, thresholds: Mapping[str, float]) -> LabelDecision:
        """See Answers."""
        return LabelDecision(self.names, thresholds)

    def writer(self, folder: Path, grid: Grid) -> CogWriter:
        """See Answers."""
        named = {0: "no", 1: "yes"}
        return CogWriter(
            folder / self.file, grid=grid, bands=len(self.names), dtype="uint8", nodata=IGNORE, names=named, descriptions=self.names
        )

    def tally(self) -> LabelledPixels:
        """See Answers."""
        return LabelledPixels(self.names)

    def shapes(self, settings: Prediction, folder: Path, cell: Shape, columns: Mapping[str, str] | None) -> Shapes:
        """See Answers; the columns are those of polygons."""
        return self._polygons(settings, folder, columns) if cell == PIXEL else self._squares(folder)

    def picture(self, folder: Path, images: Sequence[pictures.Panel]) -> bytes:
        """See Answers: the mean colour of the classes of a pixel."""
        labels = read_small(folder / self.file, PICTURE, list(range(1, len(self.names) + 1)))
        panel = ("prediction", pictures.labels_rgb(labels, self._shades))
        return pictures.side_by_side([[*images, panel]], legend=dict(zip(self.names, self._shades, strict=True)))

    def _polygons(self, settings: Prediction, folder: Path, columns: Mapping[str, str] | None) -> Shapes:
        """A GeoParquet file for each class."""
        from geohydra.vector.polygonize import polygonize

        files: dict[str, str] = {}
        counts: dict[str, Any] = {}
        for place, name in enumerate(self.names):
            path = folder / f"polygons_{place + 1}_{re.sub(r'[^A-Za-z0-9]+', '_', name)}.parquet"
            [traced] = polygonize(
                folder / self.file,
                path,
                names={1: name},
                min_area_m2=settings.min_area_m2,
                simplify_m=settings.simplify_m,
                probabilities=levels_of(folder),
                columns=columns,
                band=place + 1,
            )
            files[f"polygons_parquet/{name}"] = path.name
            counts |= {f"polygons/{name}": traced.polygons, f"area_m2/{name}": traced.area_m2}
        return files, counts

    def _squares(self, folder: Path) -> Shapes:
        from geohydra.vector.cells import write_label_cells

        paths, counts = write_label_cells(
            folder / self.file, levels_of(folder), folder / "cells.parquet", folder / "cells.geojson", names=self.names
        )
        return {f"cells_{path.suffix[1:]}": path.name for path in paths}, {f"cells/{name}": count for name, count in counts.items()}


class LabelledPixels:
    """Pixels of each class, of all that were measured."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._there = np.zeros(len(self._classes), np.int64)
        self._known = self._unknown = 0

    def add(self, labels: NDArray[Any]) -> None:
        """See geohydra.prediction.outputs.Tally."""
        for row in range(0, labels.shape[1], _ROWS):
            part = labels[:, row : row + _ROWS]
            unknown = int((part[0] == IGNORE).sum())
            self._unknown += unknown
            self._known += part[0].size - unknown
            self._there += (part == 1).sum((1, 2))

    def row(self, cell: Shape) -> dict[str, Any]:
        """See geohydra.prediction.outputs.Tally."""
        shares = {f"share/{name}": int(count) / max(self._known, 1) for name, count in zip(self._classes, self._there, strict=True)}
        return {"pixels": self._known * cell.size, "unknown_pixels": self._unknown * cell.size} | shares
