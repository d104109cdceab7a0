"""The Source protocol: where imagery and labels come from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeGuard, TypeVar, runtime_checkable

from geohydra.errors import ConfigError
from geohydra.types import LockEntry, Scene

Item = TypeVar("Item")
Progress = Callable[[int, int, str], None]


class Share(Protocol):
    """Chooses some of the items that a source makes its scenes of, one after the other."""

    def __call__(self, items: Sequence[Item]) -> Iterable[Item]: ...


def everything(items: Sequence[Item]) -> Iterable[Item]:
    """All items: the share of one who is alone."""
    return items


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


class Sharing(Source, Protocol):
    """A source whose scenes several can make. Whoever asks looks at all files, so that all see the same mistakes and notes, and makes
    the scenes of its share. Without `share`, `pipeline.shards.ingest` is refused."""

    def scenes(self, lock: Sequence[LockEntry], folder: Path, progress: Progress, share: Share = everything) -> Iterator[Scene]:
        """The same; of the items that scenes are made of only those that `share` chooses, each when its turn comes. It is called once."""


def is_sharing(source: Source) -> TypeGuard[Sharing]:
    """Whether several can make the scenes of a source."""
    return "share" in inspect.signature(source.scenes).parameters


def scenes_of(source: Source, lock: Sequence[LockEntry], folder: Path, progress: Progress, share: Share) -> Iterator[Scene]:
    """The scenes of a share. Raises ConfigError where a share is asked of a source that knows none."""
    if is_sharing(source):
        return source.scenes(lock, folder, progress, share=share)
    if share is not everything:
        problem = f"the source {type(source).__name__} makes all scenes at once: its `scenes` takes no `share`"
        raise ConfigError("pipeline.shards.ingest", problem, "leave it at 1")
    return source.scenes(lock, folder, progress)
