"""Where chips are cut: windows of one size within regions of one split, and which of them are worth keeping."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from geohydra.build import near
from geohydra.chips.candidates import Candidate, Candidates
from geohydra.chips.index import Region
from geohydra.chips.splits import Blocks, Split
from geohydra.errors import ConfigError, GeohydraError
from geohydra.types import Scene, Shape, Window

Pixels = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(ge=0)]
Overlap = Literal["refuse", "warn"]

Starts = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of upper left corners."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Which candidates become chips.

    `max_nodata` is the largest share of a window that may be without measurement, `min_labelled` the least share of valid
    pixels with a class that labels bring, `keep_empty` the share of training chips without any such pixel that stay.
    A window that reaches beyond its scene is judged by the part inside.

    Two more are judged over all training chips together: `negatives`, the number of those without any label relative to
    those with one, at most; `quotas`, how many chips with a class are enough, the rarest class first. A chip stays where
    one of its classes still lacks chips, and where it shows no class with a quota.
    """

    max_nodata: float = 0.5
    min_labelled: float = 0.0
    keep_empty: float = 1.0
    negatives: float | None = None
    quotas: Mapping[str, int] = field(default_factory=dict)

    @property
    def compares(self) -> bool:
        """Whether chips must all be known before it can be said which of them stay."""
        return self.negatives is not None or bool(self.quotas)

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
    overlap: Overlap

    def windows(self, scene: Scene, regions: Sequence[Region], *, seed: int, classes: Sequence[str] = ()) -> Sequence[Candidate]:
        """Candidates in the regions of one scene: the same for the same seed, whoever asks. `classes` are those of the task."""


class Sliding:
    """Chips every `stride` pixels (default: side by side), the last of a row moved back inside its region.

    `cap` is the largest number of chips of one split in a scene, chosen at random before empty ones are dropped. With
    `stored` the chips are written once for fast reading; without, training reads them from the scenes. `negatives` and
    `quotas` are explained with Keep. Chips of two splits that show the same ground are an error; `overlap: warn` takes them.
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
        negatives: Ratio | None = None,
        quotas: dict[str, Pixels] | None = None,
        cap: Pixels | None = None,
        overlap: Overlap = "refuse",
    ) -> None:
        self.size, self.stored, self.overlap = size, stored, overlap
        self.split: Split = Blocks() if split is None else split
        self.keep = Keep(max_nodata, min_labelled, keep_empty, negatives, quotas or {})
        self._stride, self._cap = stride or size, cap

    def windows(self, scene: Scene, regions: Sequence[Region], *, seed: int, classes: Sequence[str] = ()) -> Candidates:  # noqa: ARG002
        rng = generator(seed, scene.id)
        found = [(region.split, tile_starts(region, scene.grid.shape, size=self.size, stride=self._stride)) for region in regions]
        return capped(gathered(scene, self.size, found, rng), self._cap)

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """What does not fit the task, and what the split misses."""
        yield from mistakes(self, parts)


class Random:
    """`count` training chips of every scene at random places; for choosing and testing, chips side by side.

    All else is as with Sliding.
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
        negatives: Ratio | None = None,
        quotas: dict[str, Pixels] | None = None,
        cap: Pixels | None = None,
        overlap: Overlap = "refuse",
    ) -> None:
        self.size, self.stored, self.overlap = size, stored, overlap
        self.split: Split = Blocks() if split is None else split
        self.keep = Keep(max_nodata, min_labelled, keep_empty, negatives, quotas or {})
        self._count, self._cap = count, cap

    def windows(self, scene: Scene, regions: Sequence[Region], *, seed: int, classes: Sequence[str] = ()) -> Candidates:  # noqa: ARG002
        rng = generator(seed, scene.id)
        train = [region for region in regions if region.split == "train"]
        free = ("train", scattered(train, scene.grid.shape, size=self.size, count=self._count, rng=rng))
        return capped(gathered(scene, self.size, [free, *side_by_side(scene, regions, self.size)], rng), self._cap)

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """What does not fit the task, and what the split misses."""
        yield from mistakes(self, parts)


def tiles(region: Region, image: Shape, *, size: int, stride: int) -> Iterator[Window]:
    """Windows that cover a region of an image; none where it is smaller than a window, unless the whole image is."""
    rows, cols = tile_starts(region, image, size=size, stride=stride)
    return (Window(int(row), int(col), Shape(size, size)) for row, col in zip(rows, cols, strict=True))


def tile_starts(region: Region, image: Shape, *, size: int, stride: int) -> Starts:
    """The same, row by row, as arrays."""
    window = region.window
    if not holds(window, image, size):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows, cols = _line(window.row, window.shape.rows, size, stride), _line(window.col, window.shape.cols, size, stride)
    return np.repeat(rows, len(cols)), np.tile(cols, len(rows))


def side_by_side(scene: Scene, regions: Sequence[Region], size: int) -> list[tuple[str, Starts]]:
    """Windows for choosing and testing, by split."""
    others = [region for region in regions if region.split != "train"]
    return [(region.split, tile_starts(region, scene.grid.shape, size=size, stride=size)) for region in others]


def scattered(regions: Sequence[Region], image: Shape, *, size: int, count: int, rng: np.random.Generator) -> Starts:
    """Different windows at random places, at most as many as there are places for."""
    roomy = [region.window for region in regions if holds(region.window, image, size)]
    if not roomy:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    corners = np.array([(window.row, window.col) for window in roomy])
    room = np.array([(max(1, window.shape.rows - size + 1), max(1, window.shape.cols - size + 1)) for window in roomy])
    places = room.prod(axis=1, dtype=np.float64)
    picks = rng.choice(len(roomy), size=count, p=places / places.sum())
    starts = corners[picks] + rng.integers(room[picks])
    return each_once((starts[:, 0], starts[:, 1]))


def each_once(starts: Starts) -> Starts:
    """Without those that came before, in the order in which they came."""
    rows, cols = starts
    order = np.lexsort((np.arange(len(rows)), cols, rows))
    again = (np.diff(rows[order], prepend=-1) == 0) & (np.diff(cols[order], prepend=-1) == 0)
    first = np.sort(order[~again])
    return rows[first], cols[first]


def gathered(scene: Scene, size: int, found: Sequence[tuple[str, Starts]], rng: np.random.Generator) -> Candidates:
    """Candidates from windows by split."""
    rows = np.concatenate([np.empty(0, np.int64), *(rows for _, (rows, _) in found)])
    cols = np.concatenate([np.empty(0, np.int64), *(cols for _, (_, cols) in found)])
    splits = np.repeat(np.array([split for split, _ in found], dtype="U8"), [len(rows) for _, (rows, _) in found])
    return Candidates(scene.id, Shape(size, size), rows, cols, splits, rng.random(len(rows)))


def capped(found: Candidates, cap: int | None) -> Candidates:
    """At most so many of each split, those with most luck."""
    if cap is None:
        return found
    order = np.lexsort((found.luck, found.splits))
    splits = found.splits[order]
    rank = np.arange(len(order)) - np.searchsorted(splits, splits)
    return found.take(np.sort(order[rank < cap]))


def generator(seed: int, scene: str) -> np.random.Generator:
    """Chance that depends on the seed and the scene's name alone."""
    return np.random.default_rng([seed, zlib.crc32(scene.encode())])


def mistakes(sampling: Sampling, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
    """What does not fit together, with what the split finds wrong itself."""
    yield from unknown_classes(sampling.keep.quotas, parts, "quotas")
    if callable(own := getattr(sampling.split, "check", None)):
        yield from own(parts)


def unknown_classes(named: Mapping[str, int], parts: Mapping[str, Any], key: str) -> Iterator[ConfigError]:
    """Classes that are named, but that the task does not ask for."""
    known = getattr(parts.get("task"), "labels", None)
    for name in named:
        if known is not None and name not in known:
            yield ConfigError(f"chip.{key}.{name}", f"the task has no class {name!r}", near(name, known))


def holds(window: Window, image: Shape, size: int) -> bool:
    """Whether a chip fits, or reaches beyond the region only where the image itself ends."""
    tall = window.shape.rows >= size or window.shape.rows == image.rows
    wide = window.shape.cols >= size or window.shape.cols == image.cols
    return tall and wide


def _line(start: int, length: int, size: int, stride: int) -> NDArray[np.int64]:
    """Starts of windows along one side, the last moved back."""
    last = max(0, length - size)
    return start + np.append(np.arange(0, last, stride), last)
