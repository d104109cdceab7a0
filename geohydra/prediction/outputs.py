"""What is written of one scene: a class map, probabilities, and a count of what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from geohydra.pictures import Color
from geohydra.prediction.decision import LEVELS
from geohydra.prediction.merging import Strip
from geohydra.raster.write import CogWriter
from geohydra.types import IGNORE, Grid

_ROWS = 16


class MapWriter:
    """Writes finished strips, and counts the pixels of each class; the last count is of pixels that were not measured."""

    def __init__(self, labels: CogWriter, probabilities: CogWriter | None, classes: int) -> None:
        self._labels = labels
        self._probabilities = probabilities
        self._counts = np.zeros(256, np.int64)
        self._classes = classes

    def write(self, strip: Strip) -> None:
        """The next rows."""
        self._labels.write(strip.row, strip.labels[None])
        if self._probabilities is not None and strip.probabilities is not None:
            self._probabilities.write(strip.row, strip.probabilities)
        for row in range(0, len(strip.labels), _ROWS):
            self._counts += np.bincount(strip.labels[row : row + _ROWS].reshape(-1), minlength=256)

    @property
    def pixels(self) -> tuple[int, ...]:
        """Pixels by class."""
        return tuple(int(count) for count in self._counts[: self._classes])

    @property
    def unknown(self) -> int:
        """Pixels that were not measured."""
        return int(self._counts[IGNORE])


@contextmanager
def map_writer(folder: Path, *, grid: Grid, classes: Sequence[str], colors: Sequence[Color], probabilities: str) -> Iterator[MapWriter]:
    """Open `classes.tif`, and `probabilities.tif` unless these are "none"."""
    with ExitStack() as stack:
        labels = CogWriter(
            folder / "classes.tif",
            grid=grid,
            bands=1,
            dtype="uint8",
            nodata=IGNORE,
            colors={place: (*color, 255) for place, color in enumerate(colors)},
            names=dict(enumerate(classes)),
            descriptions=("class",),
        )
        stack.enter_context(labels)
        levels = None if probabilities == "none" else stack.enter_context(_levels(folder, grid, classes, probabilities))
        yield MapWriter(labels, levels, len(classes))


def _levels(folder: Path, grid: Grid, classes: Sequence[str], dtype: str) -> CogWriter:
    kind: dict[str, Any] = {"nodata": float(LEVELS + 1), "scale": 1 / LEVELS} if dtype == "uint8" else {"nodata": float("nan")}
    return CogWriter(folder / "probabilities.tif", grid=grid, bands=len(classes), dtype=dtype, descriptions=tuple(classes), **kind)
