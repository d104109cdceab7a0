"""Several acquisitions made one, or made regular: every rule looks only at what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geohydra.build import near
from geohydra.errors import ConfigError
from geohydra.raster.expressions import Expression
from geohydra.types import Image
from geohydra.types import Series as Series

Bools = NDArray[np.bool_]
Pixels = NDArray[Any]

Steps = Literal["nearest", "linear", "mean"]
"""How a series comes onto regular steps, pixel by pixel: the nearest valid acquisition, a straight line between the valid ones
before and after, or the mean of the valid ones within half a step."""


def composite(series: Series, how: str, *, bands: Sequence[str] = ()) -> Image:
    """One image of a series, in the same dtype (integers are rounded): a pixel is valid where any acquisition is, else 0.

    `how`: "median", "mean", "min", "max" of each band by itself; "first" or "last", whole pixels of the first or last valid
    acquisition; "best:EXPRESSION", whole pixels where the expression of `bands` is highest, such as
    `best:(nir - red) / (nir + red)` for the greenest, `best:-blue` for the least hazy.
    """
    check_composite(how, bands, where="composite")
    if not series.times:
        return _nothing(series.pixels)
    pixels, valid = series.pixels, _measured(series)
    if how in _BY_BAND:
        return _cleared(_BY_BAND[how](pixels, valid), _any(valid), pixels.dtype)
    if how in _ORDERS:
        order = _ORDERS[how]
        return _first(pixels[order], valid[order])
    score = Expression(how.removeprefix(_BEST))({band: pixels[:, place] for place, band in enumerate(bands)})
    return _best(pixels, valid, np.broadcast_to(score, valid.shape))


def check_composite(how: str, bands: Sequence[str], *, where: str) -> None:
    """Raise ConfigError where no composite has this name, or where its expression asks for other bands."""
    if how in _BY_BAND or how in _ORDERS:
        return
    if not how.startswith(_BEST):
        known = (*_BY_BAND, *_ORDERS, f"{_BEST}EXPRESSION")
        raise ConfigError(
            where, f"{how!r} names no composite", near(how, known) if how != "best" else "say by what: best:(nir-red)/(nir+red)"
        )
    missing = [name for name in Expression(how.removeprefix(_BEST), where=where).names if bands and name not in bands]
    if missing:
        raise ConfigError(where, f"asks for the band {missing[0]!r}", near(missing[0], bands))


def scored_bands(how: str) -> tuple[str, ...]:
    """The bands that a composite looks at to choose pixels, beside those that it gives."""
    return Expression(how.removeprefix(_BEST)).names if how.startswith(_BEST) else ()


def monthly(series: Series, how: str, *, bands: Sequence[str] = ()) -> Series:
    """A composite for each month, from that of the first acquisition to that of the last; months without any are not valid."""
    months = [_month(time) for time in series.times]
    wanted = [months[0]]
    while wanted[-1] < months[-1]:
        wanted.append(_month(wanted[-1] + timedelta(days=32)))
    groups = [[place for place, month in enumerate(months) if month == one] for one in wanted]
    return _stacked([composite(series.some(group), how, bands=bands) for group in groups], wanted)


def regular(
    series: Series,
    *,
    days: float,
    how: Steps = "linear",
    start: datetime | None = None,
    stop: datetime | None = None,
    within: float | None = None,
) -> Series:
    """A series with a step every so many days, from `start` to `stop` (the first and last acquisition), in the same dtype.

    A pixel is valid where its rule finds what it needs, no more than `within` days away (for "nearest" one step, if it is
    not given; for "linear" any); nothing is guessed before the first or after the last valid acquisition.
    """
    first, last = start or series.times[0], stop or series.times[-1]
    steps = [first + timedelta(days=days * number) for number in range(int((last - first) / timedelta(days=days) + 1e-9) + 1)]
    valid = _measured(series)
    reach = timedelta(days=days if within is None and how == "nearest" else within if within is not None else 1e6)
    rules: Mapping[str, Callable[[datetime], Image]] = {
        "nearest": lambda step: _nearest(series, valid, step, reach),
        "linear": lambda step: _between(series, valid, step, reach),
        "mean": lambda step: _around(series, valid, step, timedelta(days=days) / 2),
    }
    return _stacked([rules[how](step) for step in steps], steps)


_BEST = "best:"


def _measured(series: Series) -> Bools:
    """NaN is no measurement, whoever calls it valid."""
    if series.pixels.dtype.kind != "f":
        return series.valid
    return np.asarray(series.valid & np.isfinite(series.pixels).all(axis=1))


def _any(valid: Bools) -> Bools:
    return np.asarray(valid.any(axis=0))


def _median(pixels: Pixels, valid: Bools) -> Pixels:
    """By sorting, band after band, with what is not valid behind the rest: numpy's nanmedian takes ten times as long."""
    counts = valid.sum(axis=0)[None]
    top = np.inf if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    answer = np.empty(pixels.shape[1:], np.float64)
    for place in range(pixels.shape[1]):
        ordered = np.sort(np.where(valid, pixels[:, place], pixels.dtype.type(top)), axis=0)
        low = np.take_along_axis(ordered, np.maximum(counts - 1, 0) // 2, axis=0)[0].astype(np.float64)
        high = np.take_along_axis(ordered, np.minimum(counts // 2, len(ordered) - 1), axis=0)[0]
        with np.errstate(invalid="ignore"):
            answer[place] = (low + high) / 2
    return answer


def _mean(pixels: Pixels, valid: Bools) -> Pixels:
    counts = np.maximum(valid.sum(axis=0), 1)
    total = np.zeros(pixels.shape[1:], np.float64)
    for one, good in zip(pixels, valid, strict=True):
        total += np.where(good, one, 0)
    return np.asarray(total / counts)


def _min(pixels: Pixels, valid: Bools) -> Pixels:
    top = np.inf if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    return np.asarray(np.where(valid[:, None], pixels, pixels.dtype.type(top)).min(axis=0))


def _max(pixels: Pixels, valid: Bools) -> Pixels:
    low = -np.inf if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).min
    return np.asarray(np.where(valid[:, None], pixels, pixels.dtype.type(low)).max(axis=0))


_BY_BAND: Mapping[str, Callable[[Pixels, Bools], Pixels]] = MappingProxyType({"median": _median, "mean": _mean, "min": _min, "max": _max})
_ORDERS: Mapping[str, slice] = MappingProxyType({"first": slice(None), "last": slice(None, None, -1)})


def _first(pixels: Pixels, valid: Bools) -> Image:
    """Whole pixels of the first acquisition that is valid there, in the order given."""
    return _picked(pixels, valid, valid.argmax(axis=0))


def _best(pixels: Pixels, valid: Bools, score: NDArray[Any]) -> Image:
    """Whole pixels of the highest score; of equal ones the first. A valid pixel without a score comes after those with one."""
    known = np.where(np.isfinite(score), score, np.finfo(np.float64).min).astype(np.float64)
    return _picked(pixels, valid, np.where(valid, known, -np.inf).argmax(axis=0))


def _picked(pixels: Pixels, valid: Bools, place: NDArray[np.intp]) -> Image:
    if not len(pixels):
        return _nothing(pixels)
    values = np.take_along_axis(pixels, place[None, None], axis=0)[0]
    return _cleared(values, np.take_along_axis(valid, place[None], axis=0)[0], pixels.dtype)


def _cleared(values: Pixels, valid: Bools, dtype: np.dtype[Any]) -> Image:
    """In the dtype of the files, 0 where not valid."""
    kept = np.where(valid, values, 0)
    return Image((np.rint(kept) if dtype.kind in "iu" and kept.dtype.kind == "f" else kept).astype(dtype), np.asarray(valid))


def _nothing(pixels: Pixels) -> Image:
    return Image(np.zeros(pixels.shape[1:], pixels.dtype), np.zeros(pixels.shape[2:], np.bool_))


def _stacked(images: Sequence[Image], times: Sequence[datetime]) -> Series:
    return Series(np.stack([one.pixels for one in images]), np.stack([one.valid for one in images]), tuple(times))


def _month(time: datetime) -> datetime:
    moment = time.astimezone(UTC) if time.tzinfo else time
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _nearest(series: Series, valid: Bools, step: datetime, reach: timedelta) -> Image:
    """Of two at the same distance the earlier."""
    order = sorted(
        (place for place, time in enumerate(series.times) if abs(time - step) <= reach), key=lambda p: abs(series.times[p] - step)
    )
    return _first(series.pixels[order], valid[order]) if order else _nothing(series.pixels)


def _around(series: Series, valid: Bools, step: datetime, half: timedelta) -> Image:
    near_it = [place for place, time in enumerate(series.times) if step - half <= time < step + half]
    if not near_it:
        return _nothing(series.pixels)
    return _cleared(_mean(series.pixels[near_it], valid[near_it]), _any(valid[near_it]), series.pixels.dtype)


def _between(series: Series, valid: Bools, step: datetime, reach: timedelta) -> Image:
    """On the line between the last valid acquisition not after the step and the first not before it."""
    before = [place for place, time in enumerate(series.times) if time <= step and step - time <= reach][::-1]
    after = [place for place, time in enumerate(series.times) if step <= time and time - step <= reach]
    if not before or not after:
        return _nothing(series.pixels)
    left, left_days = _pixels_and_days(series, valid, before, step)
    right, right_days = _pixels_and_days(series, valid, after, step)
    whole = left_days + right_days
    share = np.divide(left_days, whole, out=np.zeros_like(whole), where=whole > 0)
    values = left.pixels + (right.pixels.astype(np.float64) - left.pixels) * share
    return _cleared(values, left.valid & right.valid, series.pixels.dtype)


def _pixels_and_days(series: Series, valid: Bools, order: list[int], step: datetime) -> tuple[Image, NDArray[np.float64]]:
    """The first valid acquisition of each pixel in this order, and how many days it lies from the step."""
    days = np.array([abs((series.times[place] - step) / timedelta(days=1)) for place in order])
    return _first(series.pixels[order], valid[order]), days[valid[order].argmax(axis=0)]
