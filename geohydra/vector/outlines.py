"""Outlines of areas of equal pixels, as flat arrays: traced from a strip of pixels, measured, made into polygons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes

from geohydra.vector.rasterize import ranges

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BATCH = 64
"""Rings whose points are taken out of Python at once: few enough to stay in the cache."""


@dataclass(frozen=True, slots=True)
class Outlines:
    """Areas of connected pixels of one value. `points` are corners of pixels `(col, row)`, ring after ring, each closed; an
    area's outer ring comes first and runs with the area on its left as one looks at the image, holes run the other way.
    `ring_sizes` counts the points of each ring, `ring_counts` the rings of each area."""

    points: Floats
    ring_sizes: Ints
    ring_counts: Ints
    values: Ints
    sums: Floats
    """What was summed up over the pixels of each area; see `summed`."""

    def __len__(self) -> int:
        return int(self.values.size)

    @property
    def ring_starts(self) -> Ints:
        """Place of the first point of each ring."""
        return np.asarray(np.cumsum(self.ring_sizes) - self.ring_sizes)

    @property
    def area_starts(self) -> Ints:
        """Place of the first ring of each area."""
        return np.asarray(np.cumsum(self.ring_counts) - self.ring_counts)

    @property
    def edges(self) -> tuple[Ints, Ints]:
        """Place of the first point of every edge, and the number of its ring."""
        ring = np.repeat(np.arange(self.ring_sizes.size), self.ring_sizes - 1)
        return np.arange(ring.size) + ring, ring

    @property
    def ring_owners(self) -> Ints:
        """The area of each ring."""
        return np.repeat(np.arange(len(self)), self.ring_counts)

    @property
    def backwards(self) -> Ints:
        """Places of the points that turn every ring round: on a grid that mirrors the image, outer rings stay counterclockwise."""
        starts = self.ring_starts
        return np.asarray(np.repeat(2 * starts + self.ring_sizes - 1, self.ring_sizes) - np.arange(len(self.points)))

    def only(self, chosen: NDArray[np.bool_]) -> Outlines:
        """The chosen areas."""
        rings = chosen[self.ring_owners]
        points = self.points[np.repeat(rings, self.ring_sizes)]
        return Outlines(points, self.ring_sizes[rings], self.ring_counts[chosen], self.values[chosen], self.sums[chosen])

    def areas(self, levels: Floats) -> Floats:
        """Areas on the ground: `levels[row]` is what one column of pixels covers above that row."""
        first, ring = self.edges
        cols, depth = self.points[:, 0], levels[self.points[:, 1].astype(np.int64)]
        parts = (cols[first] + cols[first + 1]) * (depth[first + 1] - depth[first]) / 2
        return np.abs(np.bincount(self.ring_owners[ring], weights=parts, minlength=len(self)))

    def summed(self, pixels: NDArray[np.float32], first_row: int) -> Outlines:
        """With the sum of `pixels` `(row, col)` over each area; all areas lie in the rows from `first_row`."""
        line = np.zeros((pixels.shape[0], pixels.shape[1] + 1))
        np.cumsum(pixels, axis=1, out=line[:, 1:])
        first, ring = self.edges
        tops, bottoms = self.points[first, 1], self.points[first + 1, 1]
        upright = tops != bottoms
        cols = self.points[first, 0][upright].astype(np.int64)
        heights = np.abs(bottoms - tops)[upright].astype(np.int64)
        rows = ranges(np.minimum(tops, bottoms)[upright].astype(np.int64) - first_row, heights)
        found = line[rows, np.repeat(cols, heights)] * np.repeat(np.sign(tops - bottoms)[upright], heights)
        owners = np.repeat(self.ring_owners[ring][upright], heights)
        sums = np.bincount(owners, found, len(self)).astype(np.float64)
        return Outlines(self.points, self.ring_sizes, self.ring_counts, self.values, sums)

    def simplified(self, tolerance: float) -> Outlines:
        """With fewer points: none moves by more than `tolerance` pixels, and every area stays valid."""
        polygons = shapely.simplify(self.polygons(self.points), tolerance)
        rings = shapely.get_rings(polygons)
        counts = 1 + shapely.get_num_interior_rings(polygons).astype(np.int64)
        sizes = shapely.get_num_coordinates(rings).astype(np.int64)
        return Outlines(shapely.get_coordinates(rings), sizes, counts, self.values, self.sums)

    def polygons(self, points: Floats) -> NDArray[Any]:
        """Shapely polygons with other points in the places of these."""
        offsets = tuple(np.append(0, np.cumsum(sizes)) for sizes in (self.ring_sizes, self.ring_counts))
        return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, np.ascontiguousarray(points), offsets))


def joined(parts: Sequence[Outlines]) -> Outlines:
    """All areas of several."""
    if not parts:
        none = np.empty(0, np.int64)
        return Outlines(np.empty((0, 2)), none, none, none, np.empty(0))
    return Outlines(
        points=np.concatenate([part.points for part in parts]),
        ring_sizes=np.concatenate([part.ring_sizes for part in parts]),
        ring_counts=np.concatenate([part.ring_counts for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        sums=np.concatenate([part.sums for part in parts]),
    )


def trace(pixels: NDArray[Any], wanted: NDArray[np.bool_], first_row: int) -> Outlines:
    """Areas of 4-connected equal pixels `(row, col)` among the wanted; the first row of pixels is `first_row` of the image."""
    found = joined(list(_batches(shapes(pixels, mask=wanted, connectivity=4))))
    found.points[:, 1] += first_row
    return found


def _batches(features: Iterator[tuple[dict[str, Any], float]]) -> Iterator[Outlines]:
    rings: list[Any] = []
    counts: list[int] = []
    values: list[float] = []
    for geometry, value in features:
        rings += geometry["coordinates"]
        counts.append(len(geometry["coordinates"]))
        values.append(value)
        if len(rings) >= _BATCH:
            yield _flat(rings, counts, values)
            rings, counts, values = [], [], []
    if rings:
        yield _flat(rings, counts, values)


def _flat(rings: list[Any], counts: list[int], values: list[float]) -> Outlines:
    sizes = np.fromiter(map(len, rings), np.int64, len(rings))
    numbers = chain.from_iterable(chain.from_iterable(rings))
    points = np.fromiter(numbers, np.float64, 2 * int(sizes.sum())).reshape(-1, 2)
    return Outlines(points, sizes, np.array(counts, np.int64), np.array(values).astype(np.int64), np.zeros(len(values)))
