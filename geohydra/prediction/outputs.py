"""What is written of one scene: a map of answers, probabilities, how unsure they are, and a count of what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.prediction.decision import LEVELS, Deciding, Decision
from geohydra.prediction.merging import Form, Strip
from geohydra.prediction.uncertainty import MOST
from geohydra.raster.files import open_raster
from geohydra.raster.write import CogWriter
from geohydra.types import IGNORE, PIXEL, Grid, Shape

if TYPE_CHECKING:
    from geohydra.prediction.settings import Prediction

_ROWS = 16
PICTURE = 700
"""Rows or columns of a picture, at most."""

Shapes = tuple[dict[str, str], dict[str, Any]]
"""Files by key, and numbers for the row of the scene."""


class Tally(Protocol):
    """Counts what is written, strip by strip."""

    def add(self, labels: NDArray[Any]) -> None:
        """Answers `([layer,] row, col)`."""

    def row(self, cell: Shape) -> dict[str, Any]:
        """Numbers of the scene; of cells, in pixels."""


class RowWriter(Protocol):
    """Takes rows from the top, and has written a file on leaving without an error."""

    def __enter__(self) -> RowWriter: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def write(self, row: int, pixels: NDArray[Any], /) -> None:
        """The next rows `(band, row, col)`."""


class Answers(Protocol):
    """A kind of answer: how outputs are decided upon, and what is written of them."""

    file: str
    names: tuple[str, ...]
    """Bands of probabilities; none where answers have no probability."""

    def decision(self, thresholds: Mapping[str, float]) -> Deciding:
        """How outputs become answers."""

    def writer(self, folder: Path, grid: Grid) -> RowWriter:
        """The map of answers."""

    def tally(self) -> Tally:
        """A fresh count."""

    def shapes(self, settings: Prediction, folder: Path, cell: Shape, columns: Mapping[str, str] | None) -> Shapes:
        """Vector files made from the finished map."""

    def picture(self, folder: Path, images: Sequence[pictures.Panel]) -> bytes:
        """The finished map beside its scene, as PNG."""


class ClassMap:
    """One class a pixel or cell: `classes.tif`, and polygons or squares of what is not background."""

    file = "classes.tif"

    def __init__(self, classes: Sequence[str], colors: Mapping[str, str] | None, background: str | None) -> None:
        self.names = tuple(classes)
        self._shades = pictures.palette(classes, colors, background=background)
        self._skip = () if background is None else (background,)

    def decision(self, thresholds: Mapping[str, float]) -> Decision:
        """See Answers."""
        return Decision(self.names, thresholds)

    def writer(self, folder: Path, grid: Grid) -> CogWriter:
        """See Answers."""
        return CogWriter(
            folder / self.file,
            grid=grid,
            bands=1,
            dtype="uint8",
            nodata=IGNORE,
            colors={place: (*color, 255) for place, color in enumerate(self._shades)},
            names=dict(enumerate(self.names)),
            descriptions=("class",),
        )

    def tally(self) -> ClassTally:
        """See Answers."""
        return ClassTally(self.names)

    def shapes(self, settings: Prediction, folder: Path, cell: Shape, columns: Mapping[str, str] | None) -> Shapes:
        """See Answers; the columns are those of polygons."""
        return self._polygons(settings, folder, columns) if cell == PIXEL else self._squares(folder)

    def picture(self, folder: Path, images: Sequence[pictures.Panel]) -> bytes:
        """See Answers."""
        panel = ("prediction", pictures.classes_rgb(read_small(folder / self.file, PICTURE), self._shades))
        return pictures.side_by_side([[*images, panel]], legend=dict(zip(self.names, self._shades, strict=True)))

    def _polygons(self, settings: Prediction, folder: Path, columns: Mapping[str, str] | None) -> Shapes:
        """Files, and how many polygons of each class there are; GeoJSON only where the place on the ground is known."""
        from geohydra.vector.polygonize import polygonize

        traced = polygonize(
            folder / self.file,
            folder / "polygons.parquet",
            folder / "polygons.geojson",
            names=dict(enumerate(self.names)),
            skip=self._skip,
            min_area_m2=settings.min_area_m2,
            simplify_m=settings.simplify_m,
            probabilities=levels_of(folder),
            columns=columns,
        )
        files = {f"polygons_{kind}": f"polygons.{kind}" for kind in ("parquet", "geojson") if (folder / f"polygons.{kind}").exists()}
        counts = {f"polygons/{one.name}": one.polygons for one in traced} | {f"area_m2/{one.name}": one.area_m2 for one in traced}
        return files, counts

    def _squares(self, folder: Path) -> Shapes:
        """Files with a square for each cell that is not background, and how many there are of each class."""
        from geohydra.vector.cells import write_cells

        paths, counts = write_cells(
            folder / self.file, levels_of(folder), folder / "cells.parquet", folder / "cells.geojson", names=self.names, skip=self._skip
        )
        return {f"cells_{path.suffix[1:]}": path.name for path in paths}, {f"cells/{name}": count for name, count in counts.items()}


class ClassTally:
    """Pixels of each class, and of those that were not measured."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._counts = np.zeros(256, np.int64)

    def add(self, labels: NDArray[Any]) -> None:
        """See Tally."""
        for row in range(0, len(labels), _ROWS):
            self._counts += np.bincount(labels[row : row + _ROWS].reshape(-1), minlength=256)

    def row(self, cell: Shape) -> dict[str, Any]:
        """See Tally."""
        pixels = [int(count) for count in self._counts[: len(self._classes)]]
        known = sum(pixels)
        shares = {f"share/{name}": count / known if known else 0.0 for name, count in zip(self._classes, pixels, strict=True)}
        return {"pixels": known * cell.size, "unknown_pixels": int(self._counts[IGNORE]) * cell.size} | shares


@dataclass(frozen=True, slots=True)
class MapWriter:
    """Writes finished strips and counts them."""

    answers: RowWriter
    tally: Tally
    probabilities: CogWriter | None = None
    uncertainty: CogWriter | None = None

    def write(self, strip: Strip) -> None:
        """The next rows."""
        self.answers.write(strip.row, strip.labels if strip.labels.ndim == 3 else strip.labels[None])
        if self.probabilities is not None and strip.probabilities is not None:
            self.probabilities.write(strip.row, strip.probabilities)
        if self.uncertainty is not None and strip.uncertainty is not None:
            self.uncertainty.write(strip.row, strip.uncertainty[None])
        self.tally.add(strip.labels)


@contextmanager
def map_writer(folder: Path, answers: Answers, *, grid: Grid, form: Form) -> Iterator[MapWriter]:
    """Open the map of answers, and where wanted `probabilities.tif` and `uncertainty.tif`."""
    with ExitStack() as stack:
        labels = stack.enter_context(answers.writer(folder, grid))
        levels = None if form.probabilities == "none" else stack.enter_context(_levels(folder, grid, answers.names, form.probabilities))
        doubts = None if form.kind == "none" else stack.enter_context(_doubts(folder, grid, form))
        yield MapWriter(labels, answers.tally(), levels, doubts)


def files_of(answers: Answers, form: Form) -> dict[str, str]:
    """What `map_writer` writes, by key."""
    files = {answers.file.partition(".")[0]: answers.file}
    if form.probabilities != "none":
        files["probabilities"] = "probabilities.tif"
    return files if form.kind == "none" else files | {"uncertainty": "uncertainty.tif"}


def read_small(file: Path, longest: int, bands: int | list[int] = 1) -> Any:
    """A map from its overviews `([band,] row, col)`, no side longer than this."""
    with open_raster(str(file)) as dataset:
        step = max(1.0, max(dataset.shape) / longest)
        shape = (max(1, round(dataset.height / step)), max(1, round(dataset.width / step)))
        return dataset.read(bands, out_shape=shape if isinstance(bands, int) else (len(bands), *shape))


def levels_of(folder: Path) -> Path | None:
    """The file of probabilities, where there is one."""
    path = folder / "probabilities.tif"
    return path if path.exists() else None


def _levels(folder: Path, grid: Grid, classes: Sequence[str], dtype: str) -> CogWriter:
    kind: dict[str, Any] = {"nodata": float(LEVELS + 1), "scale": 1 / LEVELS} if dtype == "uint8" else {"nodata": float("nan")}
    return CogWriter(folder / "probabilities.tif", grid=grid, bands=len(classes), dtype=dtype, descriptions=tuple(classes), **kind)


def _doubts(folder: Path, grid: Grid, form: Form) -> CogWriter:
    """One band: 0 is sure. What a level stands for is told by the scale."""
    small = form.uncertainty == "uint8"
    kind: dict[str, Any] = {"nodata": float(LEVELS + 1), "scale": MOST[form.kind] / LEVELS} if small else {"nodata": float("nan")}
    return CogWriter(folder / "uncertainty.tif", grid=grid, bands=1, dtype=form.uncertainty, descriptions=(form.kind,), **kind)
