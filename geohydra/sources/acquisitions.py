"""Acquisitions of one place: joined, split from bands, and chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from geohydra import storage
from geohydra.errors import DataError, GeohydraError
from geohydra.sources.chipset_tables import read_csv, read_json
from geohydra.sources.pairing import natural, safe
from geohydra.types import Asset, Scene

_OVERVIEW = 256
"""Pixels on a side of the image on which clear pixels are counted."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which acquisitions of a scene are taken; see `geohydra.sources.times.Series`."""

    first: datetime | None
    last: datetime | None
    months: frozenset[int]
    every: int | None
    clearest: int | None
    pair: tuple[tuple[datetime, datetime], ...]

    def of(self, scene: Scene) -> Scene:
        """The scene with these acquisitions alone. Raises DataError where none is left."""
        times = _known_times(scene)
        kept = [time for time in times if self._fits(time)]
        if not kept:
            hint = "change source.start, stop or months"
            problem = f"none of its {len(times)} acquisitions ({times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}) is asked for"
            raise DataError(scene.id, problem, hint)
        for start, stop in self.pair:
            if not any(start <= time <= stop for time in kept):
                problem = f"has no acquisition from {start:%Y-%m-%d} to {stop:%Y-%m-%d}"
                raise DataError(scene.id, problem, f"its acquisitions are of {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}")
        return _only(scene, self._chosen(scene, kept))

    def _fits(self, time: datetime) -> bool:
        return (self.first is None or time >= self.first) and (self.last is None or time <= self.last) and time.month in self.months

    def _chosen(self, scene: Scene, times: list[datetime]) -> list[datetime]:
        if not (self.pair or self.every or (self.clearest and self.clearest < len(times))):
            return times
        clear = clearness(scene, times)
        if self.pair:
            return [_clearest([time for time in times if start <= time <= stop], clear, 1)[0] for start, stop in self.pair]
        if self.every:
            steps: dict[int, list[datetime]] = {}
            for time in times:
                steps.setdefault((time - times[0]) // timedelta(days=self.every), []).append(time)
            times = [_clearest(step, clear, 1)[0] for step in steps.values()]
        return sorted(_clearest(times, clear, self.clearest)) if self.clearest else times


def clearness(scene: Scene, times: Sequence[datetime]) -> dict[datetime, float]:
    """The share of clear pixels of each acquisition, from 0 to 1: as its catalogue tells, else by looking at a small overview."""
    from geohydra.raster.read import SceneReader
    from geohydra.raster.series import moving_times

    told = scene.properties.get("geohydra:cloud_cover", {})
    found: dict[datetime, float] = {}
    bands = [band for band in scene.bands if moving_times(scene, [band])]
    for time in times:
        if time.isoformat() in told:
            found[time] = 1 - told[time.isoformat()] / 100
            continue
        with SceneReader(scene.at(time), bands=[band for band in bands if band in scene.at(time).bands][:1]) as reader:
            found[time] = float(reader.read_overview(_OVERVIEW).valid.mean())
    return found


def by_place(scenes: Sequence[Scene], rule: re.Pattern[str] | None) -> list[Scene]:
    """Scenes of one place as one scene, on the grid of the first in time. Raises DataError for a scene without a time among others."""
    if rule is None:
        return list(scenes)
    found: dict[str, list[Scene]] = {}
    for scene in scenes:
        match = rule.search(scene.id)
        if match is None:
            raise DataError(scene.id, f"does not fit source.place ({rule.pattern})", "change the rule: it is held against ids of scenes")
        found.setdefault(safe(match["place"]), []).append(scene)
    return [_joined(name, theirs) for name, theirs in sorted(found.items(), key=lambda pair: natural(pair[0]))]


def by_year(scene: Scene, month: int) -> list[Scene]:
    """A scene for each year that begins with a month; one acquisition belongs to the year that began last."""
    years: dict[int, list[datetime]] = {}
    for time in _known_times(scene):
        years.setdefault(time.year - (time.month < month), []).append(time)
    told = {"place": scene.id}
    return [
        replace(_only(scene, times), id=f"{scene.id}-{year}", properties={**scene.properties, **told, "year": year})
        for year, times in sorted(years.items())
    ]


def split_dates(scene: Scene, dates: Sequence[datetime], band: str) -> Scene:
    """A scene whose one file holds a band for each date, as a series of one band. Dates of one moment are a second apart, in order."""
    if len(scene.assets) != 1 or len(scene.bands) != len(dates):
        where = scene.assets[0].uri
        raise DataError(where, f"has {len(scene.bands)} bands, and there are {len(dates)} dates", "a file needs one band for each date")
    asset = scene.assets[0]
    assets = tuple(
        Asset(asset.uri, (band,), (index,), asset.dtype, asset.nodata, time=time, resampling=asset.resampling)
        for index, time in zip(asset.indexes, dates, strict=True)
    )
    return replace(scene, assets=assets, time=min(dates))


def read_dates(told: str | Sequence[str]) -> list[datetime]:
    """Dates in order: a list, or a file: JSON (a list, or an object with the list `dates`) or CSV (the column date)."""
    where = told if isinstance(told, str) else "source.dates"
    texts: Sequence[Any] = _dates_in(storage.absolute(told)) if isinstance(told, str) else told
    dates = [_moment(str(text), where) for text in texts]
    if len(set(dates)) != len(dates):
        twice = next(date for place, date in enumerate(dates) if date in dates[:place])
        raise DataError(where, f"names {twice.isoformat()} twice", "a series has one acquisition at a time: tell them apart by seconds")
    return dates


def series_rows(
    rows: Sequence[Mapping[str, str]],
    rule: re.Pattern[str] | None,
    dates: str | Sequence[str] | None,
    bands: Sequence[str],
    held: Mapping[str, int],
) -> tuple[list[dict[str, str]], list[GeohydraError]]:
    """A row a series, from those of the scenes within; `held` tells how many acquisitions each of these has, by its id."""
    good = [row for row in rows if row.get("verdict") == "good"]
    others = [dict(row) for row in rows if row.get("verdict") != "good"]
    try:
        moments = read_dates(dates) if dates is not None else []
    except GeohydraError as error:
        return [dict(row) for row in rows], [error]
    places: dict[str, list[Mapping[str, str]]] = {}
    for row in good:
        match = rule.search(row["scene"]) if rule else None
        places.setdefault(safe(match["place"]) if match else row["scene"], []).append(row)
    found: list[dict[str, str]] = []
    errors: list[GeohydraError] = []
    for name, theirs in places.items():
        wrong = _wrong(name, theirs, moments)
        errors += [wrong] if wrong else []
        count = len(moments) * len(theirs) if moments else sum(held.get(row["scene"], 1) for row in theirs)
        told = {"scene": name, "date": _span(theirs, moments), "bands": ", ".join(bands), "acquisitions": str(count)}
        rest = {key: value for key, value in theirs[0].items() if key != "verdict"}
        found.append({**rest, **told, "verdict": wrong.problem if wrong else "good"})
    return [*found, *others], errors


def _wrong(name: str, rows: Sequence[Mapping[str, str]], moments: Sequence[datetime]) -> DataError | None:
    """Why scenes cannot be one series, as far as headers tell."""
    bands = len(rows[0]["bands"].split(", "))
    if moments and bands != len(moments):
        return DataError(name, f"has {bands} bands, and there are {len(moments)} dates", "a file needs one band for each date")
    undated = [row["scene"] for row in rows if row.get("date") == ""]
    if undated and len(rows) > 1 and not moments:
        return _undated(undated[0], len(rows) - 1, name)
    return None


def _undated(scene: str, others: int, place: str) -> DataError:
    hint = "tell it with the group `time` in the rule for scenes"
    return DataError(scene, f"has no time, and cannot be joined with {others} others of {place}", hint)


def _span(rows: Sequence[Mapping[str, str]], moments: Sequence[datetime]) -> str:
    """From when to when: of the dates that are given, else of those of the scenes that are joined."""
    days = sorted(f"{moment:%Y-%m-%d}" for moment in moments)
    if not days:
        told = [row["date"].split(" (")[0] for row in rows if row.get("date")]
        days = sorted(day for text in told for day in text.split(" to "))
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""


def _joined(name: str, scenes: Sequence[Scene]) -> Scene:
    undated = [scene for scene in scenes if scene.time is None and not scene.times]
    if undated and len(scenes) > 1:
        raise _undated(undated[0].id, len(scenes) - 1, name)
    ordered = sorted(scenes, key=lambda scene: scene.time or (scene.times[0] if scene.times else datetime.max.replace(tzinfo=UTC)))
    assets = tuple(replace(asset, time=asset.time or scene.time) for scene in ordered for asset in scene.assets)
    masks = tuple(replace(mask, time=mask.time or scene.time) for scene in ordered for mask in scene.masks)
    labels = next((scene.labels for scene in ordered if scene.labels is not None), None)
    covers = {
        scene.time.isoformat(): scene.properties["eo:cloud_cover"]
        for scene in ordered
        if scene.time and "eo:cloud_cover" in scene.properties
    }
    properties = dict(ordered[0].properties) | ({"geohydra:cloud_cover": covers} if covers else {})
    first = ordered[0]
    if labels is not None and any(scene.grid.crs != first.grid.crs and scene.labels is labels for scene in ordered):
        raise DataError(first.id, f"lies in another CRS than the labels of {name}", "give all acquisitions of a place one CRS")
    return replace(first, id=name, assets=assets, masks=masks, labels=labels, properties=properties)


def _known_times(scene: Scene) -> tuple[datetime, ...]:
    times = scene.times or ((scene.time,) if scene.time else ())
    if not times:
        hint = "tell it with the group `time` in the rule for scenes, or give the dates of bands with source.dates"
        raise DataError(scene.id, "has no time", hint)
    return times


def _only(scene: Scene, times: Sequence[datetime]) -> Scene:
    kept = set(times)
    assets = tuple(asset for asset in scene.assets if asset.time is None or asset.time in kept)
    masks = tuple(mask for mask in scene.masks if mask.time is None or mask.time in kept)
    return replace(scene, assets=assets, masks=masks, time=min(kept))


def _clearest(times: Sequence[datetime], clear: Mapping[datetime, float], count: int) -> list[datetime]:
    """Of equally clear ones the earlier."""
    return sorted(times, key=lambda time: (-clear[time], time))[:count]


def _dates_in(uri: str) -> list[Any]:
    if uri.lower().endswith(".csv"):
        header, rows = read_csv(uri)
        name = next((one for one in ("date", "time", "datetime") if one in header), None)
        if name is None:
            raise DataError(uri, "has no column date", f"there are {', '.join(header)}")
        return [row[name] for row in rows]
    found = read_json(uri, object)
    dates = found.get("dates") if isinstance(found, dict) else found
    if not isinstance(dates, list):
        raise DataError(uri, "holds no list of dates", "a list, or an object with the list `dates`")
    return dates


def _moment(text: str, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as cause:
        raise DataError(where, f"{text!r} is no date", "such as 2024-05-31 or 2024-05-31T10:30:00Z") from cause
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
