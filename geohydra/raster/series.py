"""Scenes of several acquisitions: read as a series, or as one image that is a composite of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import DataError
from geohydra.raster.composites import Series as Series
from geohydra.raster.composites import check_composite, scored_bands
from geohydra.raster.composites import composite as composite
from geohydra.raster.read import SceneReader
from geohydra.raster.stacks import Stacks
from geohydra.raster.steps import check_steps, step_times, stepped
from geohydra.types import Asset, Grid, Image, MaskAsset, Scene, Shape, Window

OPEN_FILES = 64
"""Files that one reader keeps open at most; those beyond it are opened for each read."""


class ImageReader(Protocol):
    """Reads one image of a scene: the plain one, or a composite of several acquisitions."""

    bands: tuple[str, ...]
    dtype: np.dtype[Any]

    @property
    def block(self) -> Shape: ...

    def read(self, window: Window) -> Image: ...

    def read_overview(self, max_size: int) -> Image: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_pixels(
    scene: Scene, *, bands: Sequence[str] | None = None, open_files: int = OPEN_FILES
) -> ImageReader | SeriesReader | SteppedReader:
    """A reader of what a task learns from: of all acquisitions (or steps) where the scene is a series, else of its one image."""
    if scene.series and scene.steps is not None:
        return SteppedReader(scene, bands=bands, open_files=open_files)
    if scene.series:
        return SeriesReader(scene, bands=bands, open_files=open_files)
    return open_image(scene, bands=bands, open_files=open_files)


def read_times(scene: Scene) -> tuple[datetime, ...]:
    """The times of a series as it is read: those of its acquisitions, or of its steps."""
    return scene.times if scene.steps is None else step_times(scene.times, scene.steps)


def like(reader: ImageReader | SeriesReader | SteppedReader) -> Callable[[NDArray[Any], NDArray[np.bool_]], Image | Series]:
    """Makes of pixels and validity what a reader gives."""
    return partial(Series, times=reader.times) if isinstance(reader, SeriesReader | SteppedReader) else Image


def open_image(scene: Scene, *, bands: Sequence[str] | None = None, open_files: int = OPEN_FILES) -> ImageReader:
    """A reader of the one image of a scene; of one that is read as a series, of its clearest acquisition.

    Raises DataError where it has several acquisitions and nothing says how they become one.
    """
    wanted = tuple(bands) if bands is not None else scene.bands
    if scene.series:
        return SceneReader(scene.at(clearest_time(scene, wanted)), bands=wanted)
    times = moving_times(scene, wanted)
    if len(times) < 2:
        return SceneReader(scene.at(times[0]) if times else scene, bands=wanted)
    if scene.composite is None:
        problem = f"holds {len(times)} acquisitions ({times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}), where one image is asked for"
        raise DataError(scene.id, problem, "say how they become one with source.composite=median, or choose one date")
    return CompositeReader(scene, bands=wanted, open_files=open_files)


class SeriesReader:
    """Reads windows of all acquisitions of a scene. Files are opened at the first read; no more than `open_files` stay open.

    One thread at a time may use a reader. `times` chooses acquisitions, all that have the bands by default. Bands without
    a time (a height model) are the same in each of them.
    """

    def __init__(
        self, scene: Scene, *, bands: Sequence[str] | None = None, times: Sequence[datetime] | None = None, open_files: int = OPEN_FILES
    ) -> None:
        self.scene = scene
        self.bands = tuple(bands) if bands is not None else scene.bands
        self.times = _chosen(scene, self.bands, times)
        moving = _moving(scene, self.bands)
        self._places = [place for place, band in enumerate(self.bands) if band in moving]
        self._still = _still_reader(scene, [band for band in self.bands if band not in moving])
        self._readers = {time: SceneReader(scene.at(time), bands=moving) for time in self.times}
        self._stacks = Stacks(scene, moving, self.times)
        parts = [*self._readers.values(), *([self._still] if self._still else [])]
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self._kept = _first_files(scene, self.times, open_files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in (*self._readers.values(), *([self._still] if self._still else [])):
            reader.close()
        self._stacks.close()

    @property
    def block(self) -> Shape:
        """The shape of the blocks in which the first file is stored: windows along them cost least."""
        return self._stacks.block or self._readers[self.times[0]].block

    def read(self, window: Window) -> Series:
        """All acquisitions of a window, validity as of `SceneReader.read`. Every block of a file is read once, also of one that
        holds many dates."""
        together = self._stacks.read(window)
        images = (together.get(time) or self._one(time, lambda reader: reader.read(window)) for time in self.times)
        return self._series(images, window.shape, self._still.read(window) if self._still else None)

    def read_overview(self, max_size: int) -> Series:
        """All acquisitions of the whole scene, decimated so that its longer side has at most `max_size` pixels."""
        images = [self._one(time, lambda reader: reader.read_overview(max_size)) for time in self.times]
        still = self._still.read_overview(max_size) if self._still else None
        return self._series(iter(images), Shape(*images[0].valid.shape), still)

    def _one(self, time: datetime, look: Any) -> Image:
        """One acquisition. All are read each time, in the same order: keeping the first ones open saves most."""
        reader = self._readers[time]
        image: Image = look(reader)
        if time not in self._kept:
            reader.close()
        return image

    def _series(self, images: Iterator[Image], shape: Shape, still: Image | None) -> Series:
        pixels = np.zeros((len(self.times), len(self.bands), shape.rows, shape.cols), self.dtype)
        valid = np.zeros((len(self.times), shape.rows, shape.cols), np.bool_)
        for place, image in enumerate(images):
            pixels[place, self._places] = image.pixels
            valid[place] = image.valid
        if still is not None:
            others = [place for place in range(len(self.bands)) if place not in self._places]
            pixels[:, others] = still.pixels
            valid &= still.valid
        return Series(pixels, valid, self.times)


class _Drawn:
    """What is drawn from the acquisitions of a series: their files are its files."""

    _series: SeriesReader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        self._series.close()

    @property
    def block(self) -> Shape:
        """The shape of the blocks in which the first file is stored."""
        return self._series.block


class SteppedReader(_Drawn):
    """Reads a series by its `steps`: it can be used like a `SeriesReader`, with a time for each step."""

    def __init__(self, scene: Scene, *, bands: Sequence[str] | None = None, open_files: int = OPEN_FILES) -> None:
        if scene.steps is None:
            raise ValueError(f"{scene.id} has no steps")
        self.scene, self._steps = scene, scene.steps
        self.bands = tuple(bands) if bands is not None else scene.bands
        check_steps(self._steps, scene.bands, where=f"the steps of {scene.id}")
        self._all = tuple(dict.fromkeys((*self.bands, *scored_bands(self._steps.how))))
        self._series = SeriesReader(scene, bands=self._all, open_files=open_files)
        self.times = step_times(self._series.times, self._steps)
        self.dtype = self._series.dtype

    def read(self, window: Window) -> Series:
        """All steps of a window."""
        return self._stepped(self._series.read(window))

    def read_overview(self, max_size: int) -> Series:
        """All steps of the whole scene, decimated."""
        return self._stepped(self._series.read_overview(max_size))

    def _stepped(self, series: Series) -> Series:
        found = stepped(series, self._steps, bands=self._all)
        return Series(found.pixels[:, : len(self.bands)], found.valid, found.times)


class CompositeReader(_Drawn):
    """Reads a scene of several acquisitions as if it were one image, by its `composite`: it can be used like a `SceneReader`."""

    def __init__(self, scene: Scene, *, bands: Sequence[str] | None = None, open_files: int = OPEN_FILES) -> None:
        self.scene = scene
        self.bands = tuple(bands) if bands is not None else scene.bands
        self._how = scene.composite or "median"
        check_composite(self._how, scene.bands, where=f"the composite of {scene.id}")
        self._all = tuple(dict.fromkeys((*self.bands, *scored_bands(self._how))))
        self._series = SeriesReader(scene, bands=self._all, open_files=open_files)
        self.dtype = np.result_type(*{asset.dtype for asset in scene.assets if set(asset.bands) & set(self.bands)}, self._series.dtype)

    def read(self, window: Window) -> Image:
        """The composite of a window; a pixel is valid where any acquisition is."""
        return self._composite(self._series.read(window))

    def read_overview(self, max_size: int) -> Image:
        """The composite of the whole scene, decimated."""
        return self._composite(self._series.read_overview(max_size))

    def _composite(self, series: Series) -> Image:
        image = composite(series, self._how, bands=self._all)
        return Image(image.pixels[: len(self.bands)], image.valid)


def clearest_time(scene: Scene, bands: Sequence[str]) -> datetime:
    """An acquisition to look at: that nearest to the middle of the series with hardly an invalid pixel, else the best of some."""
    return _clearest(scene.id, scene.grid, scene.assets, scene.masks, tuple(bands))


@lru_cache(maxsize=32)
def _clearest(name: str, grid: Grid, assets: tuple[Asset, ...], masks: tuple[MaskAsset, ...], bands: tuple[str, ...]) -> datetime:
    scene = Scene(name, grid, assets, masks=masks)
    moving = [band for band in bands if moving_times(scene, [band])]
    times = moving_times(scene, moving[:1]) if moving else ()
    if not times:
        raise DataError(name, f"has no acquisition of {', '.join(bands)} with a time", "give its files a time")
    shares: dict[datetime, float] = {}
    for time in sorted(times, key=lambda time: abs(2 * times.index(time) - len(times) + 1))[:_LOOKS]:
        with SceneReader(scene.at(time), bands=moving[:1]) as reader:
            shares[time] = float(reader.read_overview(_LOOK).valid.mean())
        if shares[time] >= _CLEAR:
            break
    return max(shares, key=lambda time: shares[time])


_LOOK = 64
"""Pixels on a side of what is looked at to find a clear acquisition."""

_LOOKS = 12
"""Acquisitions that are looked at, at most: where files have no overviews each look reads a whole one."""

_CLEAR = 0.97
"""Share of valid pixels that is good enough."""


def moving_times(scene: Scene, bands: Sequence[str]) -> tuple[datetime, ...]:
    """When any of these bands was acquired, in order; none where they have no time."""
    wanted = set(bands)
    return tuple(sorted({asset.time for asset in scene.assets if asset.time is not None and wanted & set(asset.bands)}))


def _chosen(scene: Scene, bands: Sequence[str], times: Sequence[datetime] | None) -> tuple[datetime, ...]:
    known = moving_times(scene, bands)
    missing = [time for time in times or () if time not in known]
    if missing or not known:
        problem = f"has no acquisition of {missing[0]}" if missing else f"has no acquisition of {', '.join(bands)} with a time"
        told = f"its acquisitions are {known[0]} to {known[-1]}" if known else "give its files a time"
        raise DataError(scene.id, problem, told)
    return known if times is None else tuple(sorted(set(times)))


def _moving(scene: Scene, bands: Sequence[str]) -> tuple[str, ...]:
    timed = {band for asset in scene.assets if asset.time is not None for band in asset.bands}
    return tuple(band for band in bands if band in timed)


def _still_reader(scene: Scene, bands: Sequence[str]) -> SceneReader | None:
    """A reader of bands that have no time; masks are left to the acquisitions."""
    if not bands:
        return None
    untimed = tuple(asset for asset in scene.assets if asset.time is None)
    return SceneReader(replace(scene, assets=untimed, masks=(), composite=None), bands=bands)


def _first_files(scene: Scene, times: Sequence[datetime], most: int) -> frozenset[datetime]:
    """The first acquisitions that together have no more than so many files."""
    kept: list[datetime] = []
    count = 0
    for time in times:
        one = scene.at(time)
        count += len({asset.uri for asset in one.assets} | {mask.uri for mask in one.masks})
        if count > most:
            break
        kept.append(time)
    return frozenset(kept)
