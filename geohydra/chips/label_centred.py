"""Chips around what labels show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.candidates import Candidates
from geohydra.chips.index import Region
from geohydra.chips.objects import object_points
from geohydra.chips.sampling import (
    Keep,
    Overlap,
    Pixels,
    Ratio,
    Share,
    Starts,
    capped,
    each_once,
    gathered,
    generator,
    holds,
    mistakes,
    scattered,
    side_by_side,
    unknown_classes,
)
from geohydra.chips.splits import Blocks, Split
from geohydra.errors import GeohydraError
from geohydra.types import Scene, Shape

_SPARE = 4
"""Windows at random places for each one without a label that is wanted."""


class LabelCentred:
    """Training chips around objects: `count` of each class in every scene, or of each class that it names.

    An object is a polygon; where labels are a raster, a pixel of the class. Every object has a chip before one has two. `jitter` is how
    far, as a share of half a chip, an object may lie from the middle. With `negatives`, chips at random places come
    to it. For choosing and testing there are chips side by side. All else is as with Sliding.
    """

    def __init__(
        self,
        *,
        size: Pixels = 256,
        count: Pixels | dict[str, Pixels] = 200,
        jitter: Share = 0.5,
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
        self._count, self._jitter, self._cap = count, jitter, cap

    def windows(self, scene: Scene, regions: Sequence[Region], *, seed: int, classes: Sequence[str] = ()) -> Candidates:
        rng = generator(seed, scene.id)
        train = [region for region in regions if region.split == "train"]
        around = each_once(self._around(scene, train, self._counts(scene, classes), rng))
        spare = ceil(_SPARE * (self.keep.negatives or 0) * len(around[0]))
        found = [("train", around)]
        if spare:
            found.append(("train", scattered(train, scene.grid.shape, size=self.size, count=spare, rng=rng)))
        return capped(gathered(scene, self.size, [*found, *side_by_side(scene, regions, self.size)], rng), self._cap)

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """What does not fit the task, and what the split misses."""
        yield from mistakes(self, parts)
        if not isinstance(self._count, int):
            yield from unknown_classes(self._count, parts, "count")

    def _counts(self, scene: Scene, classes: Sequence[str]) -> dict[str, int]:
        if not isinstance(self._count, int):
            return dict(self._count)
        known = classes or (scene.labels.classes if scene.labels is not None else ())
        return dict.fromkeys(known, self._count)

    def _around(self, scene: Scene, regions: Sequence[Region], counts: Mapping[str, int], rng: np.random.Generator) -> Starts:
        windows = [region.window for region in regions if holds(region.window, scene.grid.shape, self.size)]
        points = object_points(scene, windows, counts, rng)
        reach = self._jitter * self.size / 2
        wanted = np.floor(points - self.size / 2 + rng.uniform(-reach, reach, points.shape)).astype(np.int64)
        starts = np.zeros((0, 2), np.int64)
        for window in windows:
            low = np.array([window.row, window.col])
            room = np.maximum(np.array([window.shape.rows, window.shape.cols]) - self.size, 0)
            starts = np.concatenate([starts, np.clip(wanted[_within(points, low, window.shape)], low, low + room)])
        return starts[:, 0], starts[:, 1]


def _within(points: NDArray[np.float64], low: NDArray[np.int64], shape: Shape) -> NDArray[np.bool_]:
    return np.asarray(((points >= low) & (points < low + np.array([shape.rows, shape.cols]))).all(axis=1))
