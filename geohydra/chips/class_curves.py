"""What each class looks like through the year: means of every band on every date, summed up strip by strip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.types import Series

_SAMPLE = 1 << 16
"""Pixels of a strip that are looked at, at most, evenly spread."""

_COLUMNS = ("date", "class", "band", "mean", "std", "pixels")
_SHOWN_BANDS = 6
_STEP = 15
"""Days that are drawn as one point."""


class ClassCurves:
    """Counts, sums and sums of squares by day, class and band."""

    def __init__(self, bands: Sequence[str], classes: Sequence[str]) -> None:
        self.bands, self.classes = tuple(bands), tuple(classes)
        self._days: dict[int, NDArray[np.float64]] = {}

    def add(self, series: Series, mask: NDArray[np.uint8]) -> None:
        """Add the valid pixels of a series by their class ids `(row, col)`; ids from the number of classes on do not count."""
        step = max(1, int(np.ceil(np.sqrt(mask.size / _SAMPLE))))
        ids = mask[::step, ::step]
        for place, day in enumerate(series.days.tolist()):
            known = series.valid[place, ::step, ::step] & (ids < len(self.classes))
            if known.any():
                self._sums(day)[...] += self._counted(ids[known], series.pixels[place, :, ::step, ::step][:, known])

    def merge(self, other: ClassCurves) -> None:
        """Add what others have counted."""
        for day, sums in other._days.items():
            self._sums(day)[...] += sums

    def restore(self, table: Mapping[str, Sequence[Any]]) -> None:
        """Add what a table tells."""
        for day, name, band, mean, std, count in zip(*(table[key] for key in _COLUMNS), strict=True):
            at = self.classes.index(name), self.bands.index(band)
            sums = self._sums((day - date(1970, 1, 1)).days)
            sums[(slice(None), *at)] += [count, count * mean, count * (std**2 + mean**2)]

    def __bool__(self) -> bool:
        return bool(self._days)

    def table(self) -> dict[str, list[Any]]:
        """A row for each date, class and band that has pixels."""
        found: dict[str, list[Any]] = {key: [] for key in _COLUMNS}
        for day, name, band, count, mean, std in self._rows():
            row = (date(1970, 1, 1) + timedelta(days=day), name, band, mean, std, count)
            for column, value in zip(found.values(), row, strict=True):
                column.append(value)
        return found

    def picture(self, *, title: str) -> bytes:
        """A panel for each band: a line for each class in its colour over the year, years over each other."""
        from geohydra.pictures import curves, palette

        points: dict[int, dict[str, list[tuple[int, float]]]] = {}
        for day, name, band, count, mean, _ in self._rows():
            if band in self.bands[:_SHOWN_BANDS]:
                when = (date(1970, 1, 1) + timedelta(days=day)).timetuple().tm_yday // _STEP * _STEP + _STEP // 2
                points.setdefault(when, {}).setdefault(f"{name}/{band}", []).append((count, mean))
        lines = [{"step": when, "metrics": {key: _mean(values) for key, values in points[when].items()}} for when in sorted(points)]
        return curves(lines, title=title, xlabel="day of the year", colors=dict(zip(self.classes, palette(self.classes), strict=True)))

    def _rows(self) -> Iterator[tuple[int, str, str, int, float, float]]:
        for day in sorted(self._days):
            counts, sums, squares = self._days[day]
            for row, name in enumerate(self.classes):
                for col, band in enumerate(self.bands):
                    count = counts[row, col]
                    if count:
                        mean = sums[row, col] / count
                        yield day, name, band, int(count), float(mean), float(np.sqrt(max(squares[row, col] / count - mean**2, 0.0)))

    def _sums(self, day: int) -> NDArray[np.float64]:
        return self._days.setdefault(day, np.zeros((3, len(self.classes), len(self.bands))))

    def _counted(self, ids: NDArray[np.uint8], pixels: NDArray[Any]) -> NDArray[np.float64]:
        size = len(self.classes)
        found = np.zeros((3, size, len(self.bands)))
        found[0] = np.bincount(ids, minlength=size)[:, None]
        for place, values in enumerate(pixels.astype(np.float64)):
            found[1, :, place] = np.bincount(ids, values, size)
            found[2, :, place] = np.bincount(ids, values**2, size)
        return found


def _mean(values: Sequence[tuple[int, float]]) -> float:
    return sum(count * mean for count, mean in values) / sum(count for count, _ in values)
