"""The Source protocol: where imagery and labels come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from geohydra.types import LockEntry, Scene


@runtime_checkable
class Source(Protocol):
    """Built from `conf/source/x.yaml`; its constructor's signature is the schema of that file."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands that every scene of this source has, in the order in which a network sees them."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes that its labels can bring, where the config tells them; else None."""

    def lock(self) -> Sequence[LockEntry]:
        """The files that a run stands on, by one cheap listing; none is opened. Empty for a made-up world."""

    def scenes(self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None]) -> Iterator[Scene]:
        """Open every header, refuse what cannot be used (DataError), write what has to be written into `folder`.

        Called by ingest. Labels come out normalised, see `LabelAsset`. URIs below `folder` are absolute paths.
        """
