"""Which items of a catalogue are one scene: each by itself, or those of one tile, one day, one place, or one property."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from geohydra.errors import DataError
from geohydra.sources.pairing import safe
from geohydra.sources.stac_criteria import times_of
from geohydra.sources.stac_search import Found

_TILES = (
    ("grid:code",),
    ("s2:mgrs_tile",),
    ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square"),
    ("landsat:wrs_path", "landsat:wrs_row"),
    ("modis:horizontal-tile", "modis:vertical-tile"),
)
"""Properties that tell the tile of a scheme of tiles."""

_SAME_PLACE = 0.5
"""Two items are of one place where each covers at least this share of the other."""


def places(items: Sequence[Found], group: Sequence[str]) -> list[dict[str, Any]]:
    """For each item the `scene` that it belongs to, and whether it is one of several acquisitions (`dated`).

    Raises DataError where an item does not tell what it is to be grouped by.
    """
    if not group:
        return [{"scene": name} for name in _own_names(items)]
    overlapping = _overlapping(items) if "place" in group else []
    dated = "day" not in group
    found = []
    for number, one in enumerate(items):
        parts = [overlapping[number] if key == "place" else _part(one, key) for key in group]
        if dated and times_of(one.item.get("properties") or {}) is None:
            raise DataError(one.address, "has no datetime, which a series needs", "leave it out with source.time, or do not group")
        told: dict[str, Any] = {"scene": safe("_".join(part for part in parts if part)) if any(parts) else "all"}
        found.append({**told, "dated": True} if dated else told)
    return found


def _own_names(items: Sequence[Found]) -> list[str]:
    """Ids; with the collection where several have the same."""
    counts = Counter(safe(str(one.item["id"])) for one in items)
    plain = [safe(str(one.item["id"])) for one in items]
    full = [safe(f"{one.item.get('collection')}_{one.item['id']}") for one in items]
    return [long if counts[short] > 1 else short for short, long in zip(plain, full, strict=True)]


def _part(one: Found, key: str) -> str:
    told: Mapping[str, Any] = one.item.get("properties") or {}
    if key == "all":
        return ""
    if key == "collection":
        return str(one.item.get("collection") or "")
    if key == "day":
        return _day(one).strftime("%Y-%m-%d")
    for names in _TILES if key == "tile" else ((key,),):
        if all(told.get(name) is not None for name in names):
            return "-".join(str(told[name]) for name in names)
    known = ", ".join(sorted(told)) or "nothing"
    what = "which tile it is" if key == "tile" else f"its {key!r}"
    problem = f"does not tell {what}, by which source.group groups"
    raise DataError(one.address, problem, f"it tells {known}; group: [place] goes by footprints")


def _day(one: Found) -> datetime:
    """By the sun: a swath over the Pacific does not fall into two days at midnight of Greenwich."""
    times = times_of(one.item.get("properties") or {})
    if times is None:
        raise DataError(one.address, "has no datetime, by which source.group groups", "leave it out with source.time")
    box = one.item.get("bbox") or [0.0, 0.0, 0.0, 0.0]
    west, east = float(box[0]), float(box[len(box) // 2])
    return times[0] + timedelta(hours=(west + east) / 2 / 15)


def _overlapping(items: Sequence[Found]) -> list[str]:
    """A name for each item, the same for items that lie on each other; it is the id of the first of them."""
    import numpy as np
    import shapely
    from shapely.geometry import shape

    for one in items:
        if not one.item.get("geometry"):
            raise DataError(one.address, "has no geometry, by which source.group=[place] groups", "group by a property")
    outlines = shapely.make_valid([shape(one.item["geometry"]) for one in items])
    areas = shapely.area(outlines)
    firsts, seconds = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    shared = shapely.area(shapely.intersection(outlines[firsts], outlines[seconds]))
    close = shared >= _SAME_PLACE * np.maximum(areas[firsts], areas[seconds])
    leader = list(range(len(items)))
    for first, second in zip(firsts[close], seconds[close], strict=True):
        lower, upper = sorted((_root(leader, int(first)), _root(leader, int(second))))
        leader[upper] = lower
    return [safe(str(items[_root(leader, number)].item["id"])) for number in range(len(items))]


def _root(leader: list[int], number: int) -> int:
    while leader[number] != number:
        leader[number] = leader[leader[number]]
        number = leader[number]
    return number
