"""Maps of objects: a landscape is written strip by strip as it is predicted, then flooded from the middles of objects.

Memory holds some rows of pixels and a few numbers for each object. However a scene is cut into windows and strips, its objects
are those of the scene as a whole, see `geohydra.raster.flooding`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.prediction.object_table import EVERY, Least, Sums, Table
from geohydra.prediction.outputs import PICTURE, Shapes, read_small
from geohydra.prediction.parts import PLANES, SURE, PartsDecision
from geohydra.prediction.threads import one_ahead
from geohydra.raster.flooding import SEED, Components, blocks, flood, margin
from geohydra.raster.scratch import Rows, strip_rows
from geohydra.raster.write import CogWriter
from geohydra.sheet import sheet
from geohydra.types import IGNORE, Grid, Shape
from geohydra.vector.area import row_areas

if TYPE_CHECKING:
    from geohydra.prediction.settings import Prediction

FILE = "instances.tif"
_PIECE = 1024
_WORKERS = 2
"""Pieces that are flooded at a time."""
_ROWS = 64
"""Rows whose seeds are numbered, and of which sums are made, at once."""
_LEAST_ROWS = 128
"""Rows that are flooded together, at least: with as many around them that are only looked at."""


class InstanceMap:
    """`instances.tif`: which object each pixel belongs to, 0 where there is none; `objects.parquet`: their outlines. One for a scene.

    `reach`: pixels by which an object may grow from level to level. What is smaller than the settings ask, or less sure, is left out.
    """

    file = FILE

    def __init__(self, classes: Sequence[str], colors: Mapping[str, str] | None, *, reach: int, settings: Prediction) -> None:
        self._classes = tuple(classes)
        self.names = (*self._classes, *PLANES)
        self._shades = pictures.palette(classes, colors, background=classes[0])
        self._reach, self._least = reach, Least(settings.min_area_m2, settings.min_score or 0.0)
        self._writer: InstanceWriter | None = None

    def decision(self, thresholds: Mapping[str, float]) -> PartsDecision:
        """See Answers."""
        return PartsDecision(self._classes, thresholds)

    def writer(self, folder: Path, grid: Grid) -> InstanceWriter:
        """See Answers."""
        self._writer = InstanceWriter(folder / FILE, grid, classes=len(self._classes), reach=self._reach, least=self._least)
        return self._writer

    def tally(self) -> Measured:
        """See Answers."""
        return Measured()

    @property
    def table(self) -> Table:
        """What is known of the objects, once the map is finished."""
        if self._writer is None or self._writer.table is None:
            raise ValueError("the map is not finished")
        return self._writer.table

    def shapes(self, settings: Prediction, folder: Path, cell: Shape, columns: Mapping[str, str] | None) -> Shapes:  # noqa: ARG002
        """See Answers."""
        from geohydra.prediction.instance_outlines import write_outlines

        return write_outlines(folder, folder / FILE, self.table, self._classes, settings)

    def picture(self, folder: Path, images: Sequence[pictures.Panel]) -> bytes:
        """See Answers."""
        panel = ("objects", objects_rgb(read_small(folder / FILE, PICTURE), self.table.classes, self._shades))
        legend = dict(zip(self._classes[1:], self._shades[1:], strict=True))
        return sheet([*images, panel], legend=legend)


class Measured:
    """Pixels that were measured, and those that were not."""

    def __init__(self) -> None:
        self._pixels, self._unknown = 0, 0

    def add(self, labels: NDArray[Any]) -> None:
        """See Tally."""
        unknown = int(np.count_nonzero(labels[0] == IGNORE))
        self._unknown += unknown
        self._pixels += labels[0].size - unknown

    def row(self, cell: Shape) -> dict[str, Any]:
        """See Tally."""
        return {"pixels": self._pixels * cell.size, "unknown_pixels": self._unknown * cell.size}


class InstanceWriter:
    """Takes rows `(3, row, col)` as PartsDecision gives them, from the top; on leaving without an error `path` is a COG of objects (uint32)
    numbered from 1, first by where their seeds begin, and `table` tells of each."""

    def __init__(self, path: Path, grid: Grid, *, classes: int, reach: int, least: Least = EVERY) -> None:
        self.table: Table | None = None
        self._path, self._grid, self._classes, self._reach, self._least = path, grid, classes, reach, least
        self._scratch = Path()
        self._seeds = Components()
        self._stack = ExitStack()

    def __enter__(self) -> InstanceWriter:
        self._scratch = Path(tempfile.mkdtemp(dir=self._path.parent, prefix=f".{self._path.name}."))
        self._parts = self._stack.enter_context(Rows(self._scratch / "parts.tif", self._grid.shape, bands=3, dtype="uint8"))
        self._seeded = self._stack.enter_context(Rows(self._scratch / "seeds.tif", self._grid.shape, bands=1, dtype="uint32"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._stack.close()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def write(self, row: int, parts: NDArray[np.uint8]) -> None:
        """The next rows."""
        self._parts.write(row, parts)
        for first, last in blocks(parts.shape[1], _ROWS):
            self._seeded.write(row + first, self._seeds.add(parts[1, first:last] == SEED)[None])

    def _finish(self) -> None:
        self._parts.reopen()
        self._seeded.reopen()
        seeds, others = self._seeds.united(least=SURE), Components()
        sums = Sums(int(seeds.max()), self._classes, row_areas(self._grid))
        with (
            Rows(self._scratch / "ids.tif", self._grid.shape, bands=1, dtype="uint32") as ids,
            closing(one_ahead(self._floods(seeds))) as floods,
        ):
            for top, parts, found in floods:
                for first, last in blocks(len(found), _ROWS):
                    some, own = parts[:, first:last], found[first:last]
                    left = others.add((some[1] > 0) & (some[1] <= SEED) & (own == 0))
                    own += np.where(left > 0, left + np.uint32(sums.seeds), np.uint32(0))
                    sums.add(own, some, top + first)
                ids.write(top, found[None])
            ids.reopen()
            numbers, self.table = sums.finished(others.united(), self._least)
            self._write(ids, numbers)

    def _floods(self, seeds: NDArray[np.uint32]) -> Generator[tuple[int, NDArray[np.uint8], NDArray[np.uint32]], None, None]:
        """Strip by strip its first row and what `_flooded` gives."""
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="flooding") as pool:
            for top, bottom in blocks(self._grid.shape.rows, strip_rows(self._grid.shape.cols, least=_LEAST_ROWS)):
                yield top, *self._flooded(seeds, top, bottom, pool)

    def _flooded(
        self, seeds: NDArray[np.uint32], top: int, bottom: int, pool: ThreadPoolExecutor
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """The parts of some rows, and which seed has each of their pixels."""
        around, width = margin(self._reach), self._grid.shape.cols
        first, last = max(0, top - around), min(self._grid.shape.rows, bottom + around)
        parts, seeded = self._parts.read(first, last), self._seeded.read(first, last)[0]
        found = np.zeros((bottom - top, width), np.uint32)

        def fill(place: tuple[int, int]) -> None:
            left, right = place
            start, stop = max(0, left - around), min(width, right + around)
            levels = np.where(parts[1, :, start:stop] > SEED, np.uint8(0), parts[1, :, start:stop])
            piece = flood(levels, seeds[seeded[:, start:stop]], reach=self._reach)
            found[:, left:right] = piece[top - first : bottom - first, left - start : right - start]

        list(pool.map(fill, blocks(width, _PIECE)))
        return parts[:, top - first : bottom - first], found

    def _write(self, ids: Rows, numbers: NDArray[np.uint32]) -> None:
        with CogWriter(
            self._path, grid=self._grid, bands=1, dtype="uint32", nodata=0, descriptions=("object",), overviews="nearest"
        ) as writer:
            for top, bottom in blocks(self._grid.shape.rows, strip_rows(self._grid.shape.cols)):
                writer.write(top, numbers[ids.read(top, bottom)])


def objects_rgb(ids: NDArray[Any], classes: NDArray[np.uint8], shades: Sequence[pictures.Color]) -> NDArray[np.uint8]:
    """Objects `(row, col)` in shades of the colour of their class, so that neighbours can be told apart; uint8 `(row, col, 3)`."""
    colors = np.array(shades, np.float32)[classes]
    tone = 0.55 + 0.45 * ((np.arange(len(classes)) * 7) % 11) / 10
    colors = np.minimum(colors * tone[:, None] + 40 * (1 - tone[:, None]), 255).astype(np.uint8)
    colors[0] = shades[0]
    return np.asarray(colors[ids])
