"""What is asked of a catalogue: where, when, and which properties. Said once, and asked of servers and of single items alike."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

from geohydra import storage
from geohydra.build import near
from geohydra.errors import ConfigError, DataError

Point = Sequence[float]
Asked = Sequence[float] | Sequence[Point] | str
"""`[west, south, east, north]`, the corners of a polygon as `[lon, lat]`, or a file."""

CLOUD = "eo:cloud_cover"
_NO_AREA = 1e-12
"""Square degrees: about a hundredth of a square metre."""

_OPEN = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_LENGTHS = {4: "%Y", 7: "%Y-%m", 10: "%Y-%m-%d"}

_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, other: bool(value == other),
    "neq": lambda value, other: bool(value != other),
    "lt": lambda value, other: bool(value < other),
    "lte": lambda value, other: bool(value <= other),
    "gt": lambda value, other: bool(value > other),
    "gte": lambda value, other: bool(value >= other),
    "in": lambda value, other: value in other,
    "startsWith": lambda value, other: str(value).startswith(other),
    "endsWith": lambda value, other: str(value).endswith(other),
    "contains": lambda value, other: other in str(value),
}


@dataclass(frozen=True)
class Criteria:
    """All that an item has to fit. `query` is `{property: {operator: value}}`; `filter` is CQL2, which only servers understand."""

    collections: tuple[str, ...] = ()
    area: Mapping[str, Any] | None = None
    interval: tuple[datetime, datetime] | None = None
    max_cloud: float | None = None
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    filter: str | Mapping[str, Any] | None = None
    limit: int | None = None

    def misfit(self, item: Mapping[str, Any]) -> str | None:
        """The first key of the config that an item does not fit; None where it fits."""
        told = item.get("properties") or {}
        if self.collections and item.get("collection") not in self.collections:
            return "collections"
        if self.interval is not None and not _meet(times_of(told), self.interval):
            return "time"
        if self.max_cloud is not None and not _under(told.get(CLOUD), self.max_cloud):
            return "max_cloud"
        if any(not _compares(told.get(name), asked) for name, asked in self.query.items()):
            return "query"
        return "area" if self.area is not None and not self._touches(item) else None

    def _touches(self, item: Mapping[str, Any]) -> bool:
        from shapely.geometry import shape

        geometry = item.get("geometry")
        if geometry is None:
            return False
        return bool(self._prepared.intersects(shape(geometry)))

    @cached_property
    def _prepared(self) -> Any:
        from shapely import prepare
        from shapely.geometry import shape

        area = shape(self.area)
        prepare(area)
        return area


def times_of(told: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """When an item was taken, from the first to the last moment; None where its properties do not tell. Without a zone it is UTC."""
    single, first, last = told.get("datetime"), told.get("start_datetime"), told.get("end_datetime")
    if single is None and first is None:
        return None
    start = moment(str(first or single))
    return start, moment(str(last)) if last else start


def moment(text: str) -> datetime:
    """A time as STAC writes it. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def parse_interval(text: str) -> tuple[datetime, datetime]:
    """`2024`, `2024-05`, `2024-05-01`, a moment, or two of these with `/` between; `..` is open. Both ends belong to it."""
    first, sign, last = text.partition("/")
    try:
        start = _OPEN[0] if first.strip() in ("", "..") else _span(first.strip())[0]
        end = _span(first.strip())[1] if not sign else _OPEN[1] if last.strip() in ("", "..") else _span(last.strip())[1]
    except ValueError as cause:
        raise ConfigError("time", f"{text!r} is no time", "such as 2024, 2024-05, 2024-05-01/2024-08-31 or 2024-05-01/..") from cause
    if end < start:
        raise ConfigError("time", f"{text!r} ends before it begins", "write the earlier one first")
    return start, end


def as_text(interval: tuple[datetime, datetime]) -> str:
    """An interval as STAC APIs take it."""
    ends = [".." if end == open_end else _stamp(end) for end, open_end in zip(interval, _OPEN, strict=True)]
    return "/".join(ends)


def parse_query(query: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every property with its operators; a bare value means that it is equal."""
    found = {}
    for name, asked in query.items():
        pairs = dict(asked) if isinstance(asked, Mapping) else {"eq": asked}
        for operator in pairs:
            if operator not in _COMPARED:
                raise ConfigError(f"query.{name}", f"{operator!r} is no operator", near(str(operator), _COMPARED))
        found[name] = pairs
    return found


def check_area(area: Asked) -> None:
    """Raise ConfigError for numbers in the config that are no area."""
    if not isinstance(area, str):
        _inline(area)


def read_area(area: Asked) -> dict[str, Any]:
    """The area as a GeoJSON geometry in longitude and latitude. Raises ConfigError, or DataError for a file that holds none."""
    from shapely.geometry import mapping, shape

    if not isinstance(area, str):
        return _inline(area)
    geometry = shape(_file(area))
    if not geometry.area > 0:
        raise DataError(area, "covers no area", "source.area needs polygons")
    west, south, east, north = geometry.bounds
    _refuse_places([(west, south), (east, north)], area)
    return dict(mapping(geometry))


def _file(uri: str) -> dict[str, Any]:
    """The union of all polygons of a file."""
    import geopandas
    from shapely.geometry import mapping

    path = storage.fetch(uri)
    if not path.exists():
        raise DataError(uri, "there is no such file", "source.area names a file, or holds [west, south, east, north]")
    try:
        frame = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
    except Exception as cause:
        raise DataError(uri, f"holds no areas ({str(cause).splitlines()[0]})", "source.area needs polygons, as GeoJSON") from cause
    if frame.empty:
        raise DataError(uri, "holds no features", "source.area needs polygons")
    placed = frame.geometry if frame.crs is None else frame.geometry.to_crs("EPSG:4326")
    return dict(mapping(placed.make_valid().union_all()))


def _inline(area: Sequence[Any]) -> dict[str, Any]:
    if len(area) == 4 and not any(isinstance(part, Sequence) for part in area):
        west, south, east, north = (float(part) for part in area)
        _refuse_places([(west, south), (east, north)], "area")
        if north <= south or west == east:
            raise ConfigError("area", f"[{west:g}, {south:g}, {east:g}, {north:g}] covers no area", "it is [west, south, east, north]")
        if west > east:
            parts = [_ring(west, south, 180.0, north), _ring(-180.0, south, east, north)]
            return {"type": "MultiPolygon", "coordinates": [[ring] for ring in parts]}
        return {"type": "Polygon", "coordinates": [_ring(west, south, east, north)]}
    points = [tuple(float(value) for value in point) for point in area if isinstance(point, Sequence) and len(point) == 2]
    if len(points) != len(area) or len(points) < 3:
        raise ConfigError("area", "is no area", "it is [west, south, east, north], three or more corners [lon, lat], or a file")
    _refuse_places(points, "area")
    ring = points if points[0] == points[-1] else [*points, points[0]]
    (x, y), sides = ring[0], pairwise(ring)
    if abs(sum((a[0] - x) * (b[1] - y) - (b[0] - x) * (a[1] - y) for a, b in sides)) < _NO_AREA:
        raise ConfigError("area", "the polygon covers no area", "give three or more corners that do not lie on one line")
    return {"type": "Polygon", "coordinates": [[list(point) for point in ring]]}


def _ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _refuse_places(points: Sequence[Sequence[float]], where: str) -> None:
    for lon, lat in points:
        if not (-180 <= lon <= 180 and -90 <= lat <= 90):
            swapped = -180 <= lat <= 180 and -90 <= lon <= 90
            hint = "longitude comes first" if swapped else "degrees east and north, not metres"
            raise ConfigError(where, f"({lon:g}, {lat:g}) is no longitude and latitude", hint)


def _span(text: str) -> tuple[datetime, datetime]:
    """The first and the last moment of a year, a month, a day, or the moment itself."""
    if len(text) not in _LENGTHS:
        return moment(text), moment(text)
    start = datetime.strptime(text, _LENGTHS[len(text)]).replace(tzinfo=UTC)
    days = {4: 366 if calendar.isleap(start.year) else 365, 7: calendar.monthrange(start.year, start.month)[1], 10: 1}
    return start, start + timedelta(days=days[len(text)]) - timedelta(seconds=1)


def _stamp(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _meet(found: tuple[datetime, datetime] | None, asked: tuple[datetime, datetime]) -> bool:
    return found is not None and found[0] <= asked[1] and asked[0] <= found[1]


def _under(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and value <= most


def _compares(value: Any, asked: Mapping[str, Any]) -> bool:
    try:
        return value is not None and all(_COMPARED[operator](value, other) for operator, other in asked.items())
    except TypeError:
        return False
