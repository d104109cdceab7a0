"""A well-known set of open data, laid out as it is published: another source with all but the folder filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from geohydra import storage
from geohydra.errors import ConfigError, DataError
from geohydra.source import Share, Source, everything, scenes_of
from geohydra.sources.inspection import Inspection, inspect
from geohydra.types import LockEntry, Scene


class Recipe:
    """The source `of`, whose patterns stand below the folder (or address) `root`. Nothing is downloaded."""

    def __init__(self, *, root: Annotated[str, Field(min_length=1)], of: Any) -> None:
        if not isinstance(of, Source):
            raise ConfigError("of", f"{of!r} is no source", "a recipe names one by _target_")
        self._root = root
        self._of: Source = of

    @property
    def bands(self) -> tuple[str, ...]:
        """Those of the source within."""
        return self._of.bands

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Those of the source within."""
        return self._of.classes

    def lock(self) -> Sequence[LockEntry]:
        """One listing a pattern. Raises DataError where the folder is not there, or is laid out otherwise."""
        if storage.is_local(self._root) and not storage.exists(self._root):
            raise DataError(self._root, "there is no such folder", "download the set, and name its folder with source.root=FOLDER")
        return self._of.lock()

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What the source within tells."""
        return inspect(self._of, lock)

    def scenes(
        self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None], share: Share = everything
    ) -> Iterator[Scene]:
        """Those of the source within."""
        yield from scenes_of(self._of, lock, folder, progress, share)
