"""What a look at scenes tells beyond each single header: how labels cover them, and which of them are the same image twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import shapely

from geohydra import storage, web
from geohydra.errors import GeohydraError
from geohydra.types import LockEntry, Scene

_ENDS = 64 * 1024
"""Bytes at the beginning and at the end of a file by which two files of one size are taken for the same."""

_NAMED = 3
_UNITED = 5_000


def covered(scene: Scene, features: Any) -> str:
    """The share of a footprint that polygons cover, as a text. Of overlapping ones the ground counts once, unless they are very many."""
    if features is None or not len(features):
        return ""
    clipped = shapely.clip_by_rect(features.geometry.to_numpy(), *scene.grid.bounds)
    left, bottom, right, top = scene.grid.bounds
    area = shapely.area(shapely.union_all(clipped)) if len(clipped) <= _UNITED else shapely.area(clipped).sum()
    share = min(1.0, float(area) / ((right - left) * (top - bottom)))
    return f"{share:.1%}" if share >= 0.001 else "< 0.1%"


def duplicates(scenes: Sequence[Scene], lock: Sequence[LockEntry]) -> dict[str, str]:
    """Scenes that lie where another one lies and hold the same bytes: the id of the first one by the id of the others.

    Files are compared by size and ETag, else by size and both their ends; only those of one footprint are looked into.
    """
    known = {entry.uri: entry for entry in lock}
    found: dict[str, str] = {}
    for same in _by_footprint(scenes):
        first: dict[tuple[Any, ...], str] = {}
        for scene in same:
            mark = tuple(_mark(asset.uri, known.get(asset.uri)) for asset in scene.assets)
            if any(part is None for part in mark):
                continue
            leader = first.setdefault((mark, scene.bands), scene.id)
            if leader != scene.id:
                found[scene.id] = leader
    return found


def told(found: Mapping[str, str]) -> list[str]:
    """A sentence for a few duplicates, and one for the rest."""
    pairs = list(found.items())
    lines = [f"{name} and {first} are the same image twice: the same place, the same bytes" for name, first in pairs[:_NAMED]]
    return [*lines, f"... and {len(pairs) - _NAMED} more scenes that are there twice"] if len(pairs) > _NAMED else lines


def _by_footprint(scenes: Sequence[Scene]) -> list[list[Scene]]:
    """Scenes of one CRS with the same bounds to a hundredth of a pixel, where there are several."""
    groups: dict[tuple[Any, ...], list[Scene]] = {}
    for scene in scenes:
        height, width = scene.grid.resolution
        left, bottom, right, top = scene.grid.bounds
        place = (round(left / width, 2), round(bottom / height, 2), round(right / width, 2), round(top / height, 2))
        groups.setdefault((scene.grid.crs, scene.grid.shape, place), []).append(scene)
    return [group for group in groups.values() if len(group) > 1]


def _mark(uri: str, entry: LockEntry | None) -> tuple[Any, ...] | None:
    """What two files with the same content have in common; None where it cannot be told."""
    if entry is not None and entry.etag and entry.size is not None:
        return (entry.size, entry.etag)
    try:
        return _ends(uri)
    except (OSError, GeohydraError):
        return None


def _ends(uri: str) -> tuple[int, str] | None:
    if storage.is_local(uri):
        path = storage.local_path(uri)
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(_ENDS)
            file.seek(max(0, size - _ENDS))
            return size, hashlib.sha256(begin + file.read()).hexdigest()
    if not web.is_web(uri):
        return None
    known = web.ask(uri).get("size")
    return None if known is None else (int(known), hashlib.sha256(web.head(uri, _ENDS)).hexdigest())
