"""Maps of numbers: one float32 band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.prediction.decision import ValueDecision
from geohydra.prediction.outputs import PICTURE, Shapes, read_small
from geohydra.raster.write import CogWriter
from geohydra.types import Grid, Shape

if TYPE_CHECKING:
    from geohydra.prediction.settings import Prediction


class ValueMap:
    """A number a pixel: `values.tif`, NaN where nothing was measured. Implements `geohydra.prediction.outputs.Answers`."""

    file = "values.tif"
    names: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self._name = name

    def decision(self, thresholds: Mapping[str, float]) -> ValueDecision:  # noqa: ARG002
        """See Answers."""
        return ValueDecision()

    def writer(self, folder: Path, grid: Grid) -> CogWriter:
        """See Answers."""
        return CogWriter(folder / self.file, grid=grid, bands=1, dtype="float32", nodata=float("nan"), descriptions=(self._name,))

    def tally(self) -> ValueTally:
        """See Answers."""
        return ValueTally()

    def shapes(self, settings: Prediction, folder: Path, cell: Shape, columns: Mapping[str, str] | None) -> Shapes:  # noqa: ARG002
        """See Answers: numbers have no outline."""
        return {}, {}

    def picture(self, folder: Path, images: Sequence[pictures.Panel]) -> bytes:
        """See Answers: from dark (low) to light (high)."""
        values = read_small(folder / self.file, PICTURE)
        return pictures.side_by_side([[*images, (f"prediction of {self._name}", shaded(values))]])


class ValueTally:
    """The range and the mean of what was written."""

    def __init__(self) -> None:
        self._known = self._unknown = 0
        self._sum, self._least, self._most = 0.0, np.inf, -np.inf

    def add(self, labels: NDArray[Any]) -> None:
        """See geohydra.prediction.outputs.Tally."""
        known = labels[np.isfinite(labels)]
        self._unknown += labels.size - known.size
        self._known += known.size
        if known.size:
            self._sum += float(known.sum(dtype=np.float64))
            self._least, self._most = min(self._least, float(known.min())), max(self._most, float(known.max()))

    def row(self, cell: Shape) -> dict[str, Any]:
        """See geohydra.prediction.outputs.Tally."""
        counts: dict[str, Any] = {"pixels": self._known * cell.size, "unknown_pixels": self._unknown * cell.size}
        return counts | {"mean": self._sum / self._known, "least": self._least, "most": self._most} if self._known else counts


def shaded(values: NDArray[np.float32]) -> pictures.Rgb:
    """Numbers `(row, col)` in colours between their 2nd and 98th percentile; light grey is unknown."""
    from matplotlib import colormaps

    known = np.isfinite(values)
    low, high = np.percentile(values[known], [2, 98]) if known.any() else (0.0, 1.0)
    part = np.clip((np.where(known, values, low) - low) / max(high - low, 1e-12), 0, 1)
    rgb = (colormaps["viridis"](part)[..., :3] * 255).astype(np.uint8)
    rgb[~known] = pictures.UNKNOWN
    return np.asarray(rgb, np.uint8)
