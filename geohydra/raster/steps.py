"""Series made regular: what stands for each month, or for each so many days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from geohydra.errors import ConfigError
from geohydra.raster.composites import check_composite, composite, regular
from geohydra.types import Series, Steps

Between = Literal["nearest", "linear"]

_BETWEEN = ("nearest", "linear")
"""What looks at acquisitions beside a step, and not at those within it."""


def check_steps(steps: Steps, bands: Sequence[str], *, where: str) -> None:
    """Raise ConfigError where nothing can be made of steps in this way."""
    if steps.how not in _BETWEEN:
        check_composite(steps.how, bands, where=where)
    elif steps.days is None:
        raise ConfigError(where, f"{steps.how} is for steps of so many days, months are not equally long", "such as source.steps=30")


def step_times(times: Sequence[datetime], steps: Steps) -> tuple[datetime, ...]:
    """When each step begins, from the first acquisition (or where the steps start) to the last one."""
    first, last = steps.start or times[0], times[-1]
    if steps.days is None:
        count = (last.year - first.year) * 12 + last.month - first.month + 1
        return tuple(_month(first, place) for place in range(max(1, count)))
    length = timedelta(days=steps.days)
    return tuple(first + length * place for place in range(max(0, (last - first) // length) + 1))


def stepped(series: Series, steps: Steps, *, bands: Sequence[str]) -> Series:
    """A series with one acquisition for each step, at its beginning, in the same dtype; a step without any measurement is not valid.

    A composite is made of the acquisitions within a step. "nearest" and "linear" look at those before and after its beginning.
    """
    import numpy as np

    times = step_times(series.times, steps)
    if steps.how in _BETWEEN and steps.days is not None:
        how: Between = "nearest" if steps.how == "nearest" else "linear"
        return regular(series, days=steps.days, how=how, start=times[0], stop=times[-1])
    ends = [*times[1:], datetime.max.replace(tzinfo=UTC)]
    groups = [[place for place, time in enumerate(series.times) if start <= time < stop] for start, stop in zip(times, ends, strict=True)]
    made = [composite(series.some(group), steps.how, bands=bands) for group in groups]
    return Series(np.stack([one.pixels for one in made]), np.stack([one.valid for one in made]), times)


def _month(time: datetime, later: int) -> datetime:
    moment = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    years, month = divmod(moment.month - 1 + later, 12)
    return datetime(moment.year + years, month + 1, 1, tzinfo=UTC)
