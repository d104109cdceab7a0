"""Chips by their places in the index: from the store, or from the scenes themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.build import near
from geohydra.chips.dates import level
from geohydra.chips.index import Chip
from geohydra.chips.rows import kinds_of, stacked
from geohydra.chips.store import ChipStore
from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.raster.series import ImageReader, Series, SeriesReader, SteppedReader, open_pixels
from geohydra.task import Ground, Target, Task
from geohydra.types import Image, Scene

_OPEN = 64
"""Scenes kept open at once, at most."""

_FILES = 8
"""Files kept open of each of them, at most, where it has several acquisitions: systems often allow 1024 in all."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Pixels `(n, band, row, col)` as they are in the scenes, validity `(n, row, col)`, targets `(n, ...)` by name.

    `rows` names the kind of those targets that have a row for each object, see `geohydra.task.Rows`. Of series pixels are
    `(n, time, band, row, col)`, validity `(n, time, row, col)` and `days` int32 `(n, time)`; chips with fewer dates end with zeros.
    """

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    targets: Mapping[str, NDArray[Any]]
    rows: Mapping[str, str] = field(default_factory=dict)
    days: NDArray[np.int32] | None = None


class StoredChips:
    """From the store of a chip step."""

    def __init__(self, folder: Path, bands: Sequence[str] | None) -> None:
        self._folder, self._bands = folder, bands
        self._store = ChipStore(folder)
        self.dtype = self._store.dtype
        self._picks = None if bands is None else _picks(bands, self._store.bands)

    def __call__(self, places: Sequence[int]) -> Gathered:
        pixels = self._store.pixels(places)
        if self._picks is not None:
            pixels = pixels[..., self._picks, :, :]
        targets = {name: self._store.target(name, places) for name in self._store.targets}
        return Gathered(pixels, self._store.valid(places), targets, self._store.rows, self._store.days(places))

    def __reduce__(self) -> tuple[Any, ...]:
        """Each loader process opens the store itself."""
        return StoredChips, (self._folder, self._bands)


class SceneChips:
    """From the scenes, a window at a time; the scenes used last stay open."""

    def __init__(self, index: Sequence[Chip], scenes: Sequence[Scene], task: Task, bands: Sequence[str] | None) -> None:
        self._index, self._task = index, task
        self._scenes = {scene.id: scene for scene in scenes}
        self._bands = tuple(bands) if bands is not None else self._scenes[index[0].scene].bands
        self.dtype = chip_dtype(scenes, self._bands)
        self._opened: OrderedDict[str, tuple[ImageReader | SeriesReader | SteppedReader, Ground]] = OrderedDict()

    def __call__(self, places: Sequence[int]) -> Gathered:
        found = [self._read(self._index[place]) for place in places]
        targets = [target for _, target in found]
        series = [image for image, _ in found if isinstance(image, Series)]
        together = level if series else np.stack
        return Gathered(
            together([image.pixels for image, _ in found]).astype(self.dtype, copy=False),
            together([image.valid for image, _ in found]),
            stacked(targets),
            kinds_of(targets[0]),
            level([image.days for image in series]) if series else None,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Each loader process opens scenes itself."""
        return self.__dict__ | {"_opened": OrderedDict()}

    def _read(self, chip: Chip) -> tuple[Image | Series, Target]:
        reader, ground = self._open(chip.scene)
        image = reader.read(chip.window)
        return image.seen() if isinstance(image, Series) else image, self._task.target(ground, chip.window)

    def _open(self, name: str) -> tuple[ImageReader | SeriesReader | SteppedReader, Ground]:
        if name not in self._opened:
            scene = self._scenes[name]
            ground = open_ground(scene)
            if ground is None:
                raise DataError(f"scene {name}", "has no labels to learn from", "run ingest again with the labels")
            self._opened[name] = (open_pixels(scene, bands=self._bands, open_files=_FILES), ground)
        self._opened.move_to_end(name)
        if len(self._opened) > _OPEN:
            _, (reader, _) = self._opened.popitem(last=False)
            reader.close()
        return self._opened[name]


def chip_dtype(scenes: Sequence[Scene], bands: Sequence[str]) -> np.dtype[Any]:
    """The smallest dtype that holds the pixels of these bands in all scenes without loss."""
    return np.result_type(*{asset.dtype for scene in scenes for asset in scene.assets if set(asset.bands) & set(bands)})


def _picks(bands: Sequence[str], stored: Sequence[str]) -> list[int] | None:
    """Places of the bands in the store; None where it holds just these."""
    for band in bands:
        if band not in stored:
            raise DataError("chips", f"no band {band!r} is stored", near(band, stored))
    return None if tuple(bands) == tuple(stored) else [list(stored).index(band) for band in bands]
