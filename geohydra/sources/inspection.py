"""A look at every header of a source before anything costs: a row a scene, and all that is wrong at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from geohydra.errors import GeohydraError
from geohydra.source import Source
from geohydra.types import LockEntry, Scene


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a source says of its data. Rows have the same keys, for a table; `classes` are those seen in labels.

    `scenes`, and the polygons that lie on each by its id (in the CRS of its grid, with a column `class`), are for a map.
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    errors: list[GeohydraError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    classes: frozenset[str] = frozenset()
    bands: tuple[str, ...] = ()
    scenes: tuple[Scene, ...] = ()
    features: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Inspected(Protocol):
    """A source that can look at its data without reading pixels."""

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """Open every header, in parallel."""


@runtime_checkable
class Watched(Protocol):
    """A source that tells how far it is while it looks."""

    def inspect_watched(self, lock: Sequence[LockEntry], progress: Callable[[int, int, str], None]) -> Inspection:
        """As `inspect`, with what is done, the total and a name."""


def inspect(source: Source, lock: Sequence[LockEntry], progress: Callable[[int, int, str], None] | None = None) -> Inspection:
    """What a source can tell before anything costs; a source that cannot look gives a row for each file that it stands on."""
    if isinstance(source, Watched) and progress is not None:
        return source.inspect_watched(lock, progress)
    if isinstance(source, Inspected):
        return source.inspect(lock)
    rows = [{"scene": entry.uri, "verdict": "listed"} for entry in lock if entry.role == "image"]
    return Inspection(rows=rows, classes=frozenset(source.classes or ()), bands=tuple(source.bands))
