"""What pixels are like, in one pass: counts that grow strip by strip and can be merged, and what follows from them.

Definitions: only valid pixels count. `std` is of the population (divided by n). Integers of at most 16 bits are counted value
by value, so everything about them is exact, and `percentile(q)` is the smallest value that at least q % of the pixels
do not exceed. Other types are counted in bins of 1/512 of an octave (the first 18 bits of a float32), between which
`percentile` interpolates: right to 0.2 %; their mean and std are merged in float64 (Chan, Golub and LeVeque).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra.types import IGNORE, Image, Series

_CHUNK = 1 << 16
"""Pixels counted at once: their indexes stay in the processor's cache."""

_PERCENTILES = (1, 2, 5, 25, 50, 75, 95, 98, 99)


class Band(Protocol):
    """What is known of one band. Without any valid pixel, all but `count` are not a number."""

    @property
    def count(self) -> int: ...

    @property
    def min(self) -> float: ...

    @property
    def max(self) -> float: ...

    @property
    def mean(self) -> float: ...

    @property
    def std(self) -> float: ...

    def percentile(self, q: float) -> float:
        """The value below which q % of the pixels lie; see the definitions above."""

    def histogram(self, bins: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Edges (one more than bins) and counts, over the range from the least to the greatest pixel."""


class IntegerBand:
    """Counts of every value of an integer type of at most 16 bits."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._raw = np.dtype(f"u{dtype.itemsize}")
        self._span = 1 << (8 * dtype.itemsize)
        self._limit = int(np.iinfo(dtype).max)
        self._counts = np.zeros(self._span, np.int64)
        self._pairs = np.zeros((1 << 16) if dtype.itemsize == 1 else 0, np.int64)

    def update(self, pixels: NDArray[Any], valid: _Valid) -> None:
        """Count the valid pixels of an array."""
        flat = np.ascontiguousarray(pixels).reshape(-1).view(self._raw)
        if valid.few:
            self._count(flat[valid.places], 1)
            return
        self._count(flat, 1)
        if valid.count < valid.size:
            self._count(flat[valid.holes], -1)

    def merge(self, other: IntegerBand) -> None:
        """Add what another band of the same type has counted."""
        self._counts += other._counts
        self._pairs += other._pairs

    @property
    def counts(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The values that occur, from the least to the greatest, and how many pixels have each."""
        raw = self._counts
        if self._pairs.size:
            table = self._pairs.reshape(256, 256)
            raw = raw + table.sum(axis=0) + table.sum(axis=1)
        used = np.flatnonzero(raw)
        values = np.where(used > self._limit, used - self._span, used)
        order = np.argsort(values)
        return values[order].astype(np.float64), raw[used][order]

    @property
    def count(self) -> int:
        return int(self.counts[1].sum())

    @property
    def min(self) -> float:
        values, _ = self.counts
        return float(values[0]) if values.size else math.nan

    @property
    def max(self) -> float:
        values, _ = self.counts
        return float(values[-1]) if values.size else math.nan

    @property
    def mean(self) -> float:
        values, counts = self.counts
        return float(values @ counts / counts.sum()) if values.size else math.nan

    @property
    def std(self) -> float:
        values, counts = self.counts
        if not values.size:
            return math.nan
        mean = values @ counts / counts.sum()
        return float(np.sqrt((values - mean) ** 2 @ counts / counts.sum()))

    def percentile(self, q: float) -> float:
        values, counts = self.counts
        if not values.size:
            return math.nan
        reached = np.cumsum(counts)
        return float(values[np.searchsorted(reached, max(1, math.ceil(int(reached[-1]) * q / 100)))])

    def histogram(self, bins: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        edges = _edges(self, bins)
        return edges, _rebinned(*self.counts, edges)

    def as_dict(self) -> dict[str, Any]:
        """The counts, from the first to the last value that occurs."""
        values, counts = self.counts
        if not values.size:
            return {"first": 0, "counts": []}
        dense = np.zeros(int(values[-1] - values[0]) + 1, np.int64)
        dense[(values - values[0]).astype(np.intp)] = counts
        return {"first": int(values[0]), "counts": dense.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `as_dict` gave."""
        raw = np.arange(state["first"], state["first"] + len(state["counts"])) % self._span
        self._counts[raw] = state["counts"]

    def _count(self, flat: NDArray[Any], sign: int) -> None:
        """Of bytes, two neighbours are counted at once: half as many steps."""
        if self._pairs.size and flat.size >= _CHUNK:
            even = flat.size // 2 * 2
            _tally(self._pairs, flat[:even].view(np.uint16), sign)
            flat = flat[even:]
        _tally(self._counts, flat, sign)


def _tally(counts: NDArray[np.int64], values: NDArray[Any], sign: int) -> None:
    """Like `bincount` of unsigned values, without its table of zeros for every chunk."""
    for start in range(0, values.size, _CHUNK):
        np.add.at(counts, values[start : start + _CHUNK].astype(np.intp), sign)


_SHIFT = 14
_BINS = 1 << (32 - _SHIFT)


class FloatBand:
    """Moments in float64, and counts in bins that are the leading bits of a float32: the same bins for every image."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = math.nan
        self.min = math.nan
        self.max = math.nan
        self._squares = 0.0
        self._bins = np.zeros(_BINS, np.int64)

    def update(self, pixels: NDArray[Any], valid: _Valid) -> None:
        """Count the valid pixels of an array."""
        flat = np.ascontiguousarray(pixels).reshape(-1)
        if valid.count < valid.size:
            flat = flat[valid.places]
        for start in range(0, flat.size, _CHUNK):
            self._count(flat[start : start + _CHUNK])

    def merge(self, other: FloatBand) -> None:
        """Add what another band has counted."""
        self._bins += other._bins
        self._add(other.count, other.mean, other._squares, other.min, other.max)

    @property
    def std(self) -> float:
        return math.sqrt(self._squares / self.count) if self.count else math.nan

    def percentile(self, q: float) -> float:
        if not self.count:
            return math.nan
        lower, upper, counts = self._sorted()
        reached = np.cumsum(counts)
        needed = self.count * q / 100
        place = min(int(np.searchsorted(reached, needed)), counts.size - 1)
        inside = (needed - (reached[place] - counts[place])) / counts[place]
        return float(np.clip(lower[place] + inside * (upper[place] - lower[place]), self.min, self.max))

    def histogram(self, bins: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        edges = _edges(self, bins)
        if not self.count:
            return edges, np.zeros(bins, np.int64)
        lower, upper, counts = self._sorted()
        return edges, _rebinned(np.clip((lower + upper) / 2, self.min, self.max), counts, edges)

    def as_dict(self) -> dict[str, Any]:
        """Moments, and the bins that are not empty."""
        used = np.flatnonzero(self._bins)
        return {"squares": self._squares, "bins": used.tolist(), "counts": self._bins[used].tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `as_dict` gave, together with count, mean, min and max."""
        self._bins[state["bins"]] = state["counts"]
        if state["count"]:
            self._add(state["count"], state["mean"], state["squares"], state["min"], state["max"])

    def _count(self, values: NDArray[Any]) -> None:
        wide = values.astype(np.float64)
        shift = self.mean if self.count else float(wide[0])
        low, high = float(wide.min()), float(wide.max())
        wide -= shift
        mean = float(wide.mean())
        squares = max(0.0, float(wide @ wide) - wide.size * mean * mean)
        self._add(wide.size, shift + mean, squares, low, high)
        _tally(self._bins, np.clip(values, *_FLOAT_RANGE).astype(np.float32).view(np.uint32) >> _SHIFT, 1)

    def _add(self, count: int, mean: float, squares: float, low: float, high: float) -> None:
        if not count:
            return
        if not self.count:
            self.count, self.mean, self._squares, self.min, self.max = count, mean, squares, low, high
            return
        total = self.count + count
        apart = mean - self.mean
        self._squares += squares + apart * apart * self.count * count / total
        self.mean += apart * count / total
        self.count, self.min, self.max = total, min(self.min, low), max(self.max, high)

    def _sorted(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Lower and upper ends and counts of the bins that are not empty, by value."""
        half = _BINS // 2
        order = np.concatenate([np.arange(_BINS - 1, half - 1, -1), np.arange(half)])
        used = order[self._bins[order] > 0].astype(np.uint32)
        near = (used << _SHIFT).view(np.float32).astype(np.float64)
        far = ((used << _SHIFT) + np.uint32((1 << _SHIFT) - 1)).view(np.float32).astype(np.float64)
        return np.minimum(near, far), np.maximum(near, far), self._bins[used]


_FLOAT_RANGE = (-3.4028234663852886e38, 3.4028234663852886e38)


def _edges(band: Band, bins: int) -> NDArray[np.float64]:
    if not band.count:
        return np.linspace(0, 1, bins + 1)
    return np.linspace(band.min, band.max if band.max > band.min else band.min + 1, bins + 1)


def _rebinned(values: NDArray[np.float64], counts: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    used = counts > 0
    places = np.clip(np.searchsorted(edges, values[used], side="right") - 1, 0, edges.size - 2)
    return np.bincount(places, weights=counts[used], minlength=edges.size - 1).astype(np.int64)


class _Valid:
    """Which pixels of an image count: the places of those that do, or of the holes, whichever is asked for."""

    def __init__(self, valid: NDArray[np.bool_]) -> None:
        self._flat = valid.reshape(-1)
        self.size = valid.size
        self.count = int(np.count_nonzero(valid))
        self.few = self.count * 2 < self.size

    @cached_property
    def places(self) -> NDArray[np.intp]:
        return np.flatnonzero(self._flat)

    @cached_property
    def holes(self) -> NDArray[np.intp]:
        return np.flatnonzero(~self._flat)


class Statistics:
    """Statistics of every band, and how much ground each class covers, of all images that were given so far."""

    def __init__(self, bands: Sequence[str], dtype: str, *, classes: Sequence[str] = ()) -> None:
        self.dtype = np.dtype(dtype)
        self.bands: dict[str, IntegerBand | FloatBand] = {name: _new_band(self.dtype) for name in bands}
        self.classes = tuple(classes)
        self.pixels = 0
        self.valid_pixels = 0
        self._ids = np.zeros(256, np.int64)
        self._areas = np.zeros(256, np.float64)

    @property
    def valid_share(self) -> float:
        """Valid pixels among all; 0 where there was none."""
        return self.valid_pixels / self.pixels if self.pixels else 0.0

    def update(self, image: Image, ids: NDArray[np.uint8] | None = None, *, pixel_area: float = 1.0) -> None:
        """Count an image, and where labels are given its class ids `(row, col)` too; `pixel_area` is in square metres."""
        if len(image.pixels) != len(self.bands):
            raise ValueError(f"{len(image.pixels)} bands for {', '.join(self.bands)}")
        valid = _Valid(image.valid)
        self.pixels += valid.size
        self.valid_pixels += valid.count
        pixels = image.pixels.astype(self.dtype, casting="safe", copy=False)
        for band, values in zip(self.bands.values(), pixels, strict=True):
            band.update(values, valid)
        if ids is not None:
            self._count_classes(ids, valid, pixel_area)

    def update_series(self, series: Series, ids: NDArray[np.uint8] | None = None, *, pixel_area: float = 1.0) -> None:
        """Count all dates of a series; and of ground that is valid on any of them its class ids."""
        for place in range(len(series.times)):
            self.update(series.at(place))
        if ids is not None:
            self._count_classes(ids, _Valid(series.measured), pixel_area)

    def merge(self, other: Statistics) -> None:
        """Add what was counted elsewhere, of the same bands, type and classes."""
        if (list(self.bands), self.dtype, self.classes) != (list(other.bands), other.dtype, other.classes):
            raise ValueError("only statistics of the same bands, pixel type and classes can be merged")
        for band, added in zip(self.bands.values(), other.bands.values(), strict=True):
            band.merge(added)  # type: ignore[arg-type]
        self.pixels += other.pixels
        self.valid_pixels += other.valid_pixels
        self._ids += other._ids
        self._areas += other._areas

    def class_areas(self) -> Iterator[tuple[str, int, float]]:
        """Name, pixels and square metres of every class; last what is not labelled, as ""."""
        for key, name in [*enumerate(self.classes), (IGNORE, "")]:
            yield name, int(self._ids[key]), float(self._areas[key])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what a reader wants to know, and all that `from_dict` and `merge` need."""
        return {
            "dtype": self.dtype.name,
            "pixels": self.pixels,
            "valid_pixels": self.valid_pixels,
            "valid_share": self.valid_share,
            "bands": {name: _summary(band) | {"state": band.as_dict()} for name, band in self.bands.items()},
            "classes": [{"name": name, "pixels": pixels, "area_m2": area} for name, pixels, area in self.class_areas()],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Statistics:
        """The same statistics again."""
        rows = content["classes"]
        new = cls(list(content["bands"]), content["dtype"], classes=[row["name"] for row in rows[:-1]])
        new.pixels, new.valid_pixels = content["pixels"], content["valid_pixels"]
        for name, band in new.bands.items():
            band.restore(content["bands"][name] | content["bands"][name]["state"])
        for key, row in zip([*range(len(rows) - 1), IGNORE], rows, strict=True):
            new._ids[key], new._areas[key] = row["pixels"], row["area_m2"]
        return new

    def _count_classes(self, ids: NDArray[np.uint8], valid: _Valid, pixel_area: float) -> None:
        found = IntegerBand(np.dtype(np.uint8))
        found.update(ids, valid)
        values, counts = found.counts
        self._ids[values.astype(np.intp)] += counts
        self._areas[values.astype(np.intp)] += counts * pixel_area


def _new_band(dtype: np.dtype[Any]) -> IntegerBand | FloatBand:
    return IntegerBand(dtype) if dtype.kind in "iu" and dtype.itemsize <= 2 else FloatBand()


def _summary(band: Band) -> dict[str, Any]:
    if not band.count:
        return {"count": 0, "min": None, "max": None, "mean": None, "std": None, "percentiles": {}}
    moments = {"count": band.count, "min": band.min, "max": band.max, "mean": band.mean, "std": band.std}
    return moments | {"percentiles": {str(q): band.percentile(q) for q in _PERCENTILES}}
