"""Scenes of several acquisitions, made from any source: series joined by place, dates chosen, clouds masked, pairs before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from geohydra import storage
from geohydra.build import near
from geohydra.errors import ConfigError
from geohydra.raster.clouds import CloudMask
from geohydra.source import Share, Source, everything, scenes_of
from geohydra.sources.inspection import Inspection, inspect
from geohydra.sources.rules import compiled
from geohydra.types import LockEntry, Scene, Steps

if TYPE_CHECKING:
    from geohydra.sources.acquisitions import Selection

Months = Annotated[list[Annotated[int, Field(ge=1, le=12)]], Field(min_length=1)]
Progress = Callable[[int, int, str], None]


class Series:
    """The scenes of another source, `of`, as series.

    `place`: a regular expression for the ids of its scenes with the group `place`: those of one place are joined, by their
    times. `dates`: the bands of each of its files are dates of one band, which `band` names: the dates in order, as a list or
    as a JSON or CSV file. `clouds` says what is no measurement, see `geohydra.raster.clouds.CloudMask`.

    Which acquisitions are taken: from `start` to `stop` (that day included), of some `months`, in each `every` days the clearest,
    of all the `clearest` so many. `pair` takes two instead: the clearest of each of two periods, {before: START/STOP, after:
    START/STOP}. How clear one is tells its cloud cover, where the source knows it, else the share of valid pixels.

    `years_from`: a scene for each year of a place, which begins with this month: `PLACE-2023` is of the year that begins in 2023. So one
    year can be for learning and another for testing (`chip/split=by_time`); scenes have the properties `place` and `year`.

    `composite` makes one image of what is left, where a task asks for one: median, mean, min, max, first, last, or
    `best:EXPRESSION`.

    `steps` makes the series regular where a task asks for all dates: one acquisition for each "month", or for each so many days from
    `start` on (else from the first acquisition). `steps_by` says what it is: a composite of those within the step, as above, or
    for days "nearest" or "linear", between the valid ones before and after. A step in which nothing was measured is not valid.
    """

    def __init__(
        self,
        *,
        of: Any,
        place: str | None = None,
        dates: str | list[str] | None = None,
        band: str = "value",
        clouds: Any = None,
        start: str | None = None,
        stop: str | None = None,
        months: Months | None = None,
        every: Annotated[int, Field(ge=1)] | None = None,
        clearest: Annotated[int, Field(ge=1)] | None = None,
        pair: dict[str, str] | None = None,
        years_from: Annotated[int, Field(ge=1, le=12)] | None = None,
        composite: str | None = None,
        steps: Literal["month"] | Annotated[int, Field(ge=1)] | None = None,
        steps_by: Annotated[str, Field(min_length=1)] = "median",
    ) -> None:
        if not isinstance(of, Source):
            raise ConfigError("of", f"{of!r} is no source", "choose one with source@source.of=files")
        if clouds is not None and not isinstance(clouds, CloudMask):
            raise ConfigError("clouds", f"{clouds!r} is no mask of clouds", "choose one with source/clouds=sentinel2")
        self._of: Source = of
        self._clouds: CloudMask | None = clouds
        self._rule = compiled(place, group="place", example=r"(?P<place>T\d\d\w+)")
        self._dates, self._band = dates, band
        self._first, self._last = _day(start, "start"), _day(stop, "stop", end=True)
        self._months = frozenset(months or range(1, 13))
        self._every, self._clearest = every, clearest
        self._pair = _periods(pair)
        self._composite = composite
        self._years_from = years_from
        self._steps = None if steps is None else Steps(None if steps == "month" else int(steps), steps_by, self._first)
        self._check()

    @property
    def bands(self) -> tuple[str, ...]:
        """Those of the source within, less the one that tells clouds."""
        names = (self._band,) if self._dates is not None else tuple(self._of.bands)
        return tuple(name for name in names if self._clouds is None or name != self._clouds.band)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Those of the source within."""
        return self._of.classes

    def lock(self) -> Sequence[LockEntry]:
        """The files of the source within, of the dates and of the clouds."""
        entries = list(self._of.lock())
        beside = [self._dates if isinstance(self._dates, str) else None, self._clouds.file if self._clouds else None]
        for uri in beside:
            entries += storage.list_files(uri, role="sidecar") if uri else []
        return tuple({entry.uri: entry for entry in entries}.values())

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What the source within tells, by place."""
        from geohydra.sources.acquisitions import series_rows

        found = inspect(self._of, lock)
        bands = self.bands or tuple(name for name in found.bands if self._clouds is None or name != self._clouds.band)
        if self._clouds is not None and self._clouds.band and self._dates is None and found.bands and self._clouds.band not in found.bands:
            hint = near(self._clouds.band, found.bands)
            found.errors.append(ConfigError("source.clouds.band", f"no image has a band {self._clouds.band!r}", hint))
        held = {scene.id: len(scene.times) or 1 for scene in found.scenes}
        rows, errors = series_rows(found.rows, self._rule, self._dates, bands, held)
        return replace(found, rows=rows, errors=[*found.errors, *errors], bands=bands)

    def scenes(self, lock: Sequence[LockEntry], folder: Path, progress: Progress, share: Share = everything) -> Iterator[Scene]:
        """Scenes of one acquisition or more each. Raises DataError where nothing is left of a place."""
        from geohydra.sources.acquisitions import by_place, by_year, read_dates, split_dates

        dates = None if self._dates is None else read_dates(self._dates)
        made = scenes_of(self._of, lock, folder, progress, share if self._rule is None else everything)
        found = made if dates is None else (split_dates(scene, dates, self._band) for scene in made)
        for scene in found if self._rule is None else share(by_place(list(found), self._rule)):
            masked = scene if self._clouds is None else self._clouds.masked(scene)
            chosen = self._selection().of(masked)
            whole = chosen if self._clouds is None else self._clouds.written(chosen, folder)
            parts = [whole] if self._years_from is None else by_year(whole, self._years_from)
            yield from (replace(part, composite=self._composite, steps=self._steps_of(part)) for part in parts)

    def _steps_of(self, scene: Scene) -> Steps | None:
        """Those of a year begin with it."""
        if self._steps is None or self._years_from is None:
            return self._steps
        return replace(self._steps, start=datetime(scene.properties["year"], self._years_from, 1, tzinfo=UTC))

    def _selection(self) -> Selection:
        from geohydra.sources.acquisitions import Selection

        return Selection(self._first, self._last, self._months, self._every, self._clearest, self._pair)

    def _check(self) -> None:
        """What no single argument can tell."""
        if self._first and self._last and self._first > self._last:
            raise ConfigError("start", "is after source.stop", "exchange them")
        if self._pair and (self._every or self._clearest):
            raise ConfigError("pair", "takes the clearest of each period by itself", "leave every and clearest out")
        if self._pair and self._years_from:
            raise ConfigError("years_from", "divides by years what a pair takes from two periods", "leave years_from or pair out")
        if self._pair and self._composite:
            raise ConfigError("composite", "would make one image of the two of a pair", "leave composite or pair out")
        if self._pair and self._steps:
            raise ConfigError("steps", "would make something else of the two of a pair", "leave steps or pair out")
        if self._steps is not None:
            from geohydra.raster.steps import check_steps

            check_steps(self._steps, self.bands, where="steps_by")
        if self._composite is not None:
            from geohydra.raster.composites import check_composite

            check_composite(self._composite, self.bands, where="composite")


def _day(text: str | None, where: str, *, end: bool = False) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as cause:
        raise ConfigError(where, f"{text!r} is no date", "such as 2024-05-31") from cause
    if end and len(text) <= len("2024-05-31"):
        moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _periods(pair: dict[str, str] | None) -> tuple[tuple[datetime, datetime], ...]:
    """Before and after."""
    if pair is None:
        return ()
    hint = "such as {before: 2019-04-01/2019-09-30, after: 2023-04-01/2023-09-30}"
    if set(pair) != {"before", "after"}:
        raise ConfigError("pair", "needs the periods before and after, and no others", hint)
    periods = []
    for name in ("before", "after"):
        start, slash, stop = pair[name].partition("/")
        first, last = _day(start, f"pair.{name}"), _day(stop, f"pair.{name}", end=True) if slash else None
        if first is None or last is None or first > last:
            raise ConfigError(f"pair.{name}", f"{pair[name]!r} is no period", hint)
        periods.append((first, last))
    if periods[0][1] >= periods[1][0]:
        raise ConfigError("pair.after", "does not begin after the period before has ended", hint)
    return tuple(periods)
