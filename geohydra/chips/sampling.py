"""Where chips are cut: windows of one size within regions of one split, and which of them are worth keeping."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from geohydra.chips.index import Region
from geohydra.chips.splits import Blocks, Split
from geohydra.types import Scene, Shape, Window, tile_windows

Pixels = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A window that may become a chip; `luck`, from 0 to 1, was drawn for it by its place."""

    scene: str
    window: Window
    split: str
    luck: float


@dataclass(frozen=True, slots=True)
class Keep:
    """Which candidates become chips.

    `max_nodata` is the largest share of a window that may be without measurement, `min_labelled` the least share of valid
    pixels with a class that labels bring, `keep_empty` the share of training chips without any such pixel that stay.
    A window that reaches beyond its scene is judged by the part inside.
    """

    max_nodata: float = 0.5
    min_labelled: float = 0.0
    keep_empty: float = 1.0

    def too_empty(self, valid: float) -> str | None:
        """Why a window is dropped whose ground has this share of valid pixels; None if it stays."""
        return "too much nodata" if 1 - valid > self.max_nodata else None

    def too_bare(self, candidate: Candidate, *, labelled: float) -> str | None:
        """Why a candidate is dropped that has this share of labelled pixels; None if it stays."""
        if labelled < self.min_labelled:
            return "too few labels"
        if labelled == 0 and candidate.split == "train" and candidate.luck >= self.keep_empty:
            return "no label (some such chips are kept)"
        return None


@runtime_checkable
class Sampling(Protocol):
    """A way to cut chips, by config."""

    size: int
    stored: bool
    split: Split
    keep: Keep

    def windows(self, scene: Scene, regions: Sequence[Region], *, seed: int) -> list[Candidate]:
        """Candidates in the regions of one scene: the same for the same seed, whoever asks."""


class Sliding:
    """Chips every `stride` pixels (default: side by side), the last of a row moved back inside its region.

    `cap` is the largest number of chips of one split in a scene, chosen at random before empty ones are dropped. With
    `stored` the chips are written once for fast reading; without, training reads them from the scenes.
    """

    def __init__(
        self,
        *,
        size: Pixels = 256,
        stride: Pixels | None = None,
        split: Split | None = None,
        stored: bool = True,
        max_nodata: Share = 0.5,
        min_labelled: Share = 0.0,
        keep_empty: Share = 1.0,
        cap: Pixels | None = None,
    ) -> None:
        self.size, self.stored = size, stored
        self.split: Split = Blocks() if split is None else split
        self.keep = Keep(max_nodata, min_labelled, keep_empty)
        self._stride, self._cap = stride or size, cap

    def windows(self, scene: Scene, regions: Sequence[Region], *, seed: int) -> list[Candidate]:
        rng = _generator(seed, scene.id)
        found = [
            Candidate(scene.id, window, region.split, float(rng.random()))
            for region in regions
            for window in tiles(region, scene.grid.shape, size=self.size, stride=self._stride)
        ]
        return _capped(found, self._cap)


class Random:
    """`count` training chips of every scene at random places; for choosing and testing, chips side by side.

    `stored`, `split` and what is dropped are as with Sliding.
    """

    def __init__(
        self,
        *,
        size: Pixels = 256,
        count: Pixels = 200,
        split: Split | None = None,
        stored: bool = True,
        max_nodata: Share = 0.5,
        min_labelled: Share = 0.0,
        keep_empty: Share = 1.0,
    ) -> None:
        self.size, self.stored = size, stored
        self.split: Split = Blocks() if split is None else split
        self.keep = Keep(max_nodata, min_labelled, keep_empty)
        self._count = count

    def windows(self, scene: Scene, regions: Sequence[Region], *, seed: int) -> list[Candidate]:
        rng = _generator(seed, scene.id)
        fixed = [
            (window, region.split)
            for region in regions
            if region.split != "train"
            for window in tiles(region, scene.grid.shape, size=self.size, stride=self.size)
        ]
        train = [region for region in regions if region.split == "train"]
        free = [(window, "train") for window in self._scattered(train, scene.grid.shape, rng)]
        return [Candidate(scene.id, window, split, float(rng.random())) for window, split in free + fixed]

    def _scattered(self, regions: Sequence[Region], image: Shape, rng: np.random.Generator) -> list[Window]:
        """Different windows, at most as many as there are places for."""
        roomy = [region for region in regions if _holds(region.window, image, self.size)]
        if not roomy:
            return []
        places = np.array([_places(region.window, self.size) for region in roomy], np.float64)
        found: dict[Window, None] = {}
        for pick in rng.choice(len(roomy), size=self._count, p=places / places.sum()):
            window = roomy[pick].window
            row = window.row + int(rng.integers(max(1, window.shape.rows - self.size + 1)))
            col = window.col + int(rng.integers(max(1, window.shape.cols - self.size + 1)))
            found[Window(row, col, Shape(self.size, self.size))] = None
        return list(found)


def tiles(region: Region, image: Shape, *, size: int, stride: int) -> Iterator[Window]:
    """Windows that cover a region of an image; none where it is smaller than a window, unless the whole image is."""
    window = region.window
    if _holds(window, image, size):
        for tile in tile_windows(window.shape, Shape(size, size), Shape(stride, stride)):
            yield tile.shift(window.row, window.col)


def _holds(window: Window, image: Shape, size: int) -> bool:
    """Whether a chip fits, or reaches beyond the region only where the image itself ends."""
    tall = window.shape.rows >= size or window.shape.rows == image.rows
    wide = window.shape.cols >= size or window.shape.cols == image.cols
    return tall and wide


def _places(window: Window, size: int) -> int:
    return max(1, window.shape.rows - size + 1) * max(1, window.shape.cols - size + 1)


def _capped(found: list[Candidate], cap: int | None) -> list[Candidate]:
    if cap is None:
        return found
    kept: set[int] = set()
    for split in {candidate.split for candidate in found}:
        places = [place for place, candidate in enumerate(found) if candidate.split == split]
        kept |= set(sorted(places, key=lambda place: found[place].luck)[:cap])
    return [candidate for place, candidate in enumerate(found) if place in kept]


def _generator(seed: int, scene: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(scene.encode())])
