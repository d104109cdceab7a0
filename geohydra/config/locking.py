"""Locks: which files a run stands on. Listed anew by the source, or read from a file that `geohydra lock` wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from geohydra import storage
from geohydra.build import build
from geohydra.config.compose import Composed
from geohydra.config.pinning import with_pinned_bundle, with_pinned_files
from geohydra.errors import ConfigError, DataError
from geohydra.identity import digest
from geohydra.source import Source
from geohydra.types import LockEntry

DEFAULT = "geohydra.lock"
_VERSION = 1

Progress = Callable[[int, int, str], None]
Entry = Mapping[str, Any]
Listed = dict[str, list[Entry]]
"""What was listed so far, by the digest of the source."""


@dataclass(frozen=True, slots=True)
class Lock:
    """The files of a source, and the config of the source that they were listed for."""

    source: Mapping[str, Any]
    entries: tuple[LockEntry, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """How the world differs from a lock: addresses of files that came, went, or are others now."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        told = {"added": self.added, "removed": self.removed, "changed": self.changed}
        return ", ".join(f"{len(uris)} {how}" for how, uris in told.items() if uris) or "nothing has changed"


def locked(jobs: Sequence[Composed], known: Listed | None = None) -> list[Composed]:
    """The jobs with the files that each stands on, and with the model that it uses; equal sources are listed once, and those that
    are `known` not again."""
    listed: Listed = {} if known is None else known
    result = []
    for job in jobs:
        mark = digest([job.config.get("source"), job.config.get("lock")])
        if mark not in listed:
            listed[mark] = _files(job.config.get("source"), job.config.get("lock"))
        result.append(replace(job, config=with_pinned_files(with_pinned_bundle({**job.config, "lock": listed[mark]}))))
    return result


def entries_of(config: Mapping[str, Any], progress: Progress | None = None) -> list[LockEntry]:
    """The files that one job stands on: those of its lock, else what its source finds now."""
    if isinstance(config.get("lock"), str):
        return [LockEntry(**entry) for entry in _from_file(str(config["lock"]), config.get("source"))]
    return list_source(config["source"], progress)


def list_source(source: Mapping[str, Any], progress: Progress | None = None) -> list[LockEntry]:
    """What a source finds now."""
    built: Source = build(source, where="source")
    watched = getattr(built, "lock_watched", None)
    return list(built.lock() if watched is None or progress is None else watched(progress))


def write(lock: Lock, uri: str) -> None:
    """Write a lock: an entry a line, sorted by address, so that two of them can be compared by eye. The same world gives the same bytes."""
    lines = ",\n".join(f"  {_line(entry.as_dict())}" for entry in sorted(lock.entries, key=lambda entry: (entry.role, entry.uri)))
    head = f'{{\n "geohydra_lock": {_VERSION},\n "source": {_line(dict(lock.source))},\n "files": ['
    storage.write_bytes(uri, f"{head}\n{lines}\n ]\n}}\n".encode())


def read(uri: str) -> Lock:
    """A lock from its file. Raises DataError for what is none."""
    content = _content(uri)
    return Lock(content["source"], tuple(LockEntry(**entry) for entry in content["files"]))


def moved(before: Sequence[LockEntry], now: Sequence[LockEntry]) -> Moved:
    """What came, went or changed. Sizes, ETags and times are compared where both sides know them."""
    old, new = {entry.uri: entry for entry in before}, {entry.uri: entry for entry in now}
    changed = [uri for uri, entry in old.items() if uri in new and _differs(entry, new[uri])]
    return Moved(tuple(sorted(new.keys() - old.keys())), tuple(sorted(old.keys() - new.keys())), tuple(sorted(changed)))


def _files(source: Mapping[str, Any] | None, given: Any) -> list[Entry]:
    if isinstance(given, str):
        return _from_file(given, source)
    return [] if source is None else [entry.as_dict() for entry in list_source(source)]


def _from_file(uri: str, source: Mapping[str, Any] | None) -> list[Entry]:
    """The entries of a lock that was made for this source: nothing is listed or searched."""
    content = _content(uri)
    if source is not None:
        _refuse_other(uri, content["source"], source)
    return list(content["files"])


def _content(uri: str) -> dict[str, Any]:
    try:
        content = json.loads(storage.read_bytes(uri))
    except FileNotFoundError as cause:
        raise DataError(uri, "there is no such lock", "make it with `geohydra lock`") from cause
    except ValueError as cause:
        raise DataError(uri, f"is no lock ({cause})", "make it again with `geohydra lock`") from cause
    if not isinstance(content, dict) or content.get("geohydra_lock") != _VERSION:
        raise DataError(uri, "is no lock that this version of geohydra wrote", "make it again with `geohydra lock`")
    return content


def _refuse_other(uri: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """A lock serves the source that it was made for; what does not say which files there are may differ."""
    keys = getattr(type(build(now, where="source")), "listed_by", tuple({**then, **now}))
    other = [key for key in ("_target_", *keys) if then.get(key) != now.get(key)]
    if other:
        told = ", ".join(f"source.{key}" for key in other)
        raise ConfigError("lock", f"{uri} was made with another {told}", "make it again with `geohydra lock`, or give it another name")


def _differs(one: LockEntry, other: LockEntry) -> bool:
    pairs = ((one.size, other.size), (one.etag, other.etag), (one.modified, other.modified), (one.time, other.time), (one.item, other.item))
    return any(then is not None and since is not None and then != since for then, since in pairs)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
