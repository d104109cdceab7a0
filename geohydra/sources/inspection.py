"""A look at every header of a source before anything costs: a row a scene, and all that is wrong at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from geohydra.errors import GeohydraError
from geohydra.source import Source
from geohydra.types import LockEntry


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a source says of its data. Rows have the same keys, for a table; `classes` are those seen in labels."""

    rows: list[dict[str, str]] = field(default_factory=list)
    errors: list[GeohydraError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    classes: frozenset[str] = frozenset()
    bands: tuple[str, ...] = ()


@runtime_checkable
class Inspected(Protocol):
    """A source that can look at its data without reading pixels."""

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """Open every header, in parallel."""


def inspect(source: Source, lock: Sequence[LockEntry]) -> Inspection:
    """What a source can tell before anything costs; a source that cannot look gives a row for each file that it stands on."""
    if isinstance(source, Inspected):
        return source.inspect(lock)
    rows = [{"scene": entry.uri, "verdict": "listed"} for entry in lock if entry.role == "image"]
    return Inspection(rows=rows, classes=frozenset(source.classes or ()), bands=tuple(source.bands))
