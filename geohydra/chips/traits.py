"""Splits by what a scene says of itself: a property, a part of its id, the time at which it was taken."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, TypeGuard

from pydantic import Field

from geohydra.build import near
from geohydra.chips.content import Content
from geohydra.chips.footprint import clusters
from geohydra.chips.index import SPLITS
from geohydra.chips.splits import (
    Division,
    Fraction,
    Part,
    fractions,
    matched,
    named_or_shared,
    scene_parts,
    share_scenes,
    shared,
    whole_scenes,
)
from geohydra.errors import DataError
from geohydra.types import Scene, Shape

Year = Annotated[int, Field(ge=1800, le=2200)]

_HINT = "ask for smaller fractions, name values in lists, or leave a split out with 0"


class ByAttribute:
    """Scenes of one value go together: of a `property` of theirs, `id` being the scene's name; with a `pattern` of what this
    regular expression finds in it: its first group, or all that it matches.

    `val` and `test` are lists of values (and `*` patterns), or fractions that share whole values out, balanced over classes. Values that no
    list names are as in ByScene. Scenes that overlap go together where they are shared out.
    """

    def __init__(
        self,
        *,
        property: str = "id",
        pattern: str | None = None,
        val: Fraction | list[str] = 0.15,
        test: Fraction | list[str] = 0.15,
    ) -> None:
        self._property, self._pattern = property, _compiled(pattern)
        self._named, self._fractions = named_or_shared(val=val, test=test)

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if split in self._fractions or split in self._named)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:  # noqa: ARG002
        values = {scene.id: self._value(scene) for scene in scenes}
        named = matched(sorted(set(values.values())), self._named, what="value")
        free = [scene for scene in scenes if values[scene.id] not in named]
        parts = _gathered(scene_parts(free), values)
        splits = shared(parts, self._fractions, content, seed, hint=_HINT)
        found = {scene: split for part, split in zip(parts, splits, strict=True) for scene, _ in part}
        return whole_scenes(scenes, found | {scene: named[value] for scene, value in values.items() if value in named})

    def _value(self, scene: Scene) -> str:
        value = scene.id if self._property == "id" else scene.properties.get(self._property)
        if value is None:
            hint = near(self._property, ["id", *map(str, scene.properties)])
            raise DataError("chip.split.property", f"{scene.id} has no property {self._property!r}", hint)
        if self._pattern is None:
            return str(value)
        found = self._pattern.search(str(value))
        if found is None:
            problem = f"{self._pattern.pattern!r} finds nothing in {str(value)!r}"
            raise DataError("chip.split.pattern", problem, f"make it match the {self._property} of every scene")
        return next(iter(found.groups()), None) or found[0]


class ByTime:
    """Scenes by when they were taken: of some years (2021 or [2019, 2021]), or from a day on (2021-06-01, UTC), they are for testing
    or choosing.

    `val` may be a fraction: of the scenes that are left for learning. Years come before days, a later day before an earlier one. Scenes
    of one place at different times show the same ground: where that is meant, say so with `chip.overlap`.
    """

    def __init__(self, *, test: Year | list[Year] | date | None = None, val: Fraction | Year | list[Year] | date = 0.15) -> None:
        share = val if isinstance(val, float | int) and val < 1 else None
        told = {split: when for split, when in (("test", test), ("val", None if share is not None else val)) if when is not None}
        if not told:
            raise ValueError("a day or a list of years must tell what is for testing, or for choosing")
        self._days = sorted(((day, split) for split, day in told.items() if isinstance(day, date)), reverse=True)
        self._years = _each_once({split: when if isinstance(when, list) else [when] for split, when in told.items() if _is_years(when)})
        self._fractions = fractions(val=share or 0.0)
        self._told = tuple(told)

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if split in self._told or split in self._fractions)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:  # noqa: ARG002
        found = {scene.id: self._split(scene) for scene in scenes}
        free = [scene for scene in scenes if found[scene.id] == "train"]
        hint = "tell what is for choosing by a day or years (chip.split.val), or leave it out with 0"
        return whole_scenes(scenes, found | share_scenes(free, self._fractions, content, seed, hint=hint))

    def _split(self, scene: Scene) -> str:
        times = scene.times or ((scene.time,) if scene.time is not None else ())
        if not times:
            hint = "let the source find it (source.scene with (?P<time>...)), or split otherwise"
            raise DataError(scene.id, "tells no time to split by", hint)
        splits = sorted({self._split_at(moment) for moment in times})
        if len(splits) > 1:
            problem = f"its {len(times)} acquisitions, {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}, fall into {' and '.join(splits)}"
            raise DataError(scene.id, problem, "let each acquisition be a scene of its own, or choose days between the series")
        return splits[0]

    def _split_at(self, moment: datetime) -> str:
        utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if utc.year in self._years:
            return self._years[utc.year]
        return next((split for day, split in self._days if utc >= datetime.combine(day, time(), UTC)), "train")


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as cause:
        raise ValueError(f"the pattern {pattern!r} is no regular expression: {cause}") from cause


def _gathered(parts: Sequence[Part], values: Mapping[str, str]) -> list[Part]:
    """Parts that share a value become one; so do those that other parts hold together."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(values[scene], place), place) for place, part in enumerate(parts) for scene, _ in part]
    return [[one for place in group for one in parts[place]] for group in clusters(len(parts), pairs)]


def _is_years(when: Any) -> TypeGuard[int | list[int]]:
    return isinstance(when, int | list)


def _each_once(named: Mapping[str, Sequence[int]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for split, years in named.items():
        for year in years:
            if found.setdefault(year, split) != split:
                raise ValueError(f"{year} is named for {found[year]} and for {split}")
    return found
