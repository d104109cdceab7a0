"""Pairs of images of one place, before and after, as sets for change detection come."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from geohydra.errors import ConfigError, DataError, GeohydraError
from geohydra.source import Share, everything
from geohydra.sources.files import Files
from geohydra.sources.inspection import Inspection
from geohydra.sources.rules import compiled
from geohydra.types import LockEntry, Scene

Names = Annotated[list[str], Field(min_length=1)]

_BEFORE, _AFTER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2001, 1, 1, tzinfo=UTC)


class Pairs:
    """Scenes of two acquisitions.

    `before`, `after`: patterns of images; one of each goes together by equal names, or by what the wildcards stand for.
    `labels` are matched to `before` in the same way. `times` are those of both; without them the order alone counts, and the
    property `geohydra:dated` is false. `split`: a regular expression for addresses of images before, with the group `split`. All other
    keys are those of `geohydra.sources.files.Files`.
    """

    def __init__(
        self,
        *,
        before: str | Names,
        after: str | Names,
        labels: str | Names | None = None,
        scene: str | None = None,
        times: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None,
        split: str | None = None,
        bands: Names | dict[str, int | str] | None = None,
        class_property: str | None = None,
        class_mapping: dict[bool | int | str, str | None] | None = None,
        classes: Names | None = None,
        label_values: dict[int, str | None] | None = None,
        nodata: float | Literal["nan"] | None = None,
        crs: str | None = None,
        allow_no_crs: bool = False,
    ) -> None:
        self._before = Files(
            images=before,
            labels=labels,
            scene=scene,
            bands=bands,
            class_property=class_property,
            class_mapping=class_mapping,
            classes=classes,
            label_values=label_values,
            nodata=nodata,
            crs=crs,
            allow_no_crs=allow_no_crs,
        )
        self._after = Files(images=after, scene=scene, bands=bands, nodata=nodata, crs=crs, allow_no_crs=allow_no_crs)
        self._patterns = tuple([before] if isinstance(before, str) else before), tuple([after] if isinstance(after, str) else after)
        self._rule = re.compile(scene) if scene else None
        self._times = _moments(times)
        self._split = compiled(split, group="split", example="/(?P<split>train|val|test)/")

    @property
    def bands(self) -> tuple[str, ...]:
        """As the config names them; none where only the files tell."""
        return self._before.bands

    @property
    def classes(self) -> tuple[str, ...] | None:
        """As the config names them; None where only the labels tell."""
        return self._before.classes

    def lock(self) -> Sequence[LockEntry]:
        """One listing a pattern; images after the change have the role `after`."""
        after = [replace(entry, role="after") if entry.role == "image" else entry for entry in self._after.lock()]
        return tuple({entry.uri: entry for entry in [*after, *self._before.lock()]}.values())

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """Every header and all labels, but no pixel."""
        found, other = self._before.inspect(_first(lock)), self._after.inspect(_second(lock))
        errors: list[GeohydraError] = [*found.errors, *other.errors]
        try:
            partners = self._partners(lock) if not errors else {}
        except GeohydraError as error:
            errors, partners = [*errors, error], {}
        if not errors and found.bands != other.bands:
            errors.append(_other_bands(lock, found.bands, other.bands))
        rows = [_with_after(row, partners.get(row["scene"], "").rsplit("/", 1)[-1]) for row in found.rows]
        bad = [_with_after(row, "") for row in other.rows if row.get("verdict") != "good"]
        return replace(found, rows=[*rows, *bad], errors=errors, warnings=[*found.warnings, *other.warnings])

    def scenes(
        self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None], share: Share = everything
    ) -> Iterator[Scene]:
        """On the grid of the image before. Raises DataError for an image that finds no other."""
        partners = self._partners(lock)
        beside = folder / "after"
        beside.mkdir(parents=True, exist_ok=True)
        after = {scene.assets[0].uri: scene for scene in self._after.scenes(_second(lock), beside, progress)}
        for scene in self._before.scenes(_first(lock), folder, progress, share):
            other = after.get(partners[scene.id])
            if other is None:
                raise DataError(partners[scene.id], f"cannot go with {scene.id}: it holds nothing but nodata", "leave both out")
            if other.bands != scene.bands:
                raise _other_bands(lock, scene.bands, other.bands)
            yield self._pair(scene, other)

    def _pair(self, scene: Scene, other: Scene) -> Scene:
        first, second = self._times or (scene.time or _BEFORE, other.time or _AFTER)
        if first >= second:
            raise DataError(scene.id, f"its image before is of {first:%Y-%m-%d}, the one after of {second:%Y-%m-%d}", "exchange them")
        dated = self._times is not None or (scene.time is not None and other.time is not None)
        assets = [replace(asset, time=time) for one, time in ((scene, first), (other, second)) for asset in one.assets]
        told = {**scene.properties, "geohydra:dated": dated}
        match = self._split.search(scene.assets[0].uri) if self._split else None
        if match:
            told["geohydra:split"] = match["split"]
        return replace(scene, assets=tuple(assets), time=first, properties=told)

    def _partners(self, lock: Sequence[LockEntry]) -> dict[str, str]:
        """The image after of each scene. Raises DataError where one has none."""
        from geohydra.sources.pairing import group, pair

        uris = [entry.uri for entry in _first(lock) if entry.role == "image"]
        others = [entry.uri for entry in _second(lock) if entry.role == "image"]
        files = group(uris, self._patterns[0], self._rule)
        if self._rule:
            by_id = {one.id: one.files[0].uri for one in group(others, self._patterns[1], self._rule)}
            found = {one.id: by_id[one.id] for one in files if one.id in by_id}
        else:
            found = pair(files, others, self._patterns[1], None)
        alone = [one for one in files if one.id not in found]
        if alone or len(set(found.values())) < len(files):
            uri = alone[0].files[0].uri if alone else files[1].files[0].uri
            raise DataError(uri, "finds no image of its own after the change", "give equal names, or wildcards that stand for equal parts")
        return found


def _with_after(row: Mapping[str, str], name: str) -> dict[str, str]:
    """The verdict stays the last column."""
    return {"scene": row["scene"], "after": name, **{key: text for key, text in row.items() if key != "scene"}}


def _first(lock: Sequence[LockEntry]) -> list[LockEntry]:
    return [entry for entry in lock if entry.role != "after"]


def _second(lock: Sequence[LockEntry]) -> list[LockEntry]:
    return [replace(entry, role="image") for entry in lock if entry.role == "after"]


def _other_bands(lock: Sequence[LockEntry], before: Sequence[str], after: Sequence[str]) -> DataError:
    where = next(entry.uri for entry in lock if entry.role == "after")
    problem = f"has the bands {', '.join(after)}, and images before have {', '.join(before)}"
    return DataError(where, problem, "choose those that both have with source.bands")


def _moments(times: Sequence[str] | None) -> tuple[datetime, datetime] | None:
    if times is None:
        return None
    try:
        first, second = (datetime.fromisoformat(text) for text in times)
    except ValueError as cause:
        raise ConfigError("times", f"{' or '.join(times)} is no date", "such as [2000-03-17, 2003-02-06]") from cause
    first, second = (moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (first, second))
    if first >= second:
        raise ConfigError("times", "the time before is not before the one after", "exchange them")
    return first, second
