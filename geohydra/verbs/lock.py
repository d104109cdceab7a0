"""Pin the files that a source finds now; with --check tell how the world has moved on since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from geohydra.command.arguments import add_composing, asked, parse, parser
from geohydra.command.console import counted, near_path
from geohydra.command.waiting import waiting

if TYPE_CHECKING:
    from geohydra.config.compose import Composed
    from geohydra.config.locking import Moved
    from geohydra.types import LockEntry

MOVED_ON = 3
_SHOWN = 10
_FILE = "geohydra.lock"
_EXAMPLES = """  geohydra lock source=stac source.catalog=https://api.example.org/v1 source.collections=sentinel-2-l2a source.time=2024-06
  geohydra lock source=files source.images='s3://bucket/*.tif' -f july.lock
  geohydra source=stac source.catalog=... lock=geohydra.lock      a run that stands on it: nothing is searched again
  geohydra lock --check                                           has anything come, gone or changed since?"""


def main(words: Sequence[str]) -> int:
    """The exit code of --check is 0 where nothing has changed, else 3."""
    flags = parser("lock", "List or search the source once, and write down what was found.", examples=_EXAMPLES)
    flags.add_argument("-f", "--file", metavar="FILE", help=f"the lock (default: {_FILE})")
    flags.add_argument("--check", action="store_true", help="write nothing: hold what its source finds now against the lock")
    add_composing(flags)
    given = parse(flags, words)
    if given.check:
        return _check(given.file or _named(given.overrides) or _FILE)
    wanted = asked(given)
    return 0 if wanted is None else _pin(wanted.compose(), given.file or _FILE)


def _named(overrides: Sequence[str]) -> str | None:
    """The lock that a run with these words would stand on."""
    return next((word.removeprefix("lock=") for word in overrides if word.startswith("lock=")), None)


def _pin(jobs: Sequence[Composed], file: str) -> int:
    from geohydra.config.locking import Lock, write
    from geohydra.errors import ConfigError
    from geohydra.identity import digest

    sources = {digest(job.config.get("source")): job.config.get("source") for job in jobs}
    if len(sources) != 1:
        raise ConfigError("source", f"these jobs have {len(sources)} sources, a lock is of one", "lock them one by one, with -f FILE")
    (source,) = sources.values()
    if source is None:
        raise ConfigError("source", "there is no source to lock", "choose one with source=files")
    entries = _listed(source)
    write(Lock(source, tuple(entries)), file)
    print(f"{near_path(file)}: {_told(entries)}")
    return 0


def _listed(source: Mapping[str, Any]) -> list[LockEntry]:
    """What the source finds, with size and time of change of every file."""
    from geohydra import storage
    from geohydra.config.locking import list_source

    with waiting("searching") as progress:
        entries = list_source(source, progress)
    with waiting("asking for sizes") as progress:
        return storage.stat_all(entries, progress)


def _check(file: str) -> int:
    from geohydra.config.locking import moved, read

    lock = read(file)
    change = moved(lock.entries, _listed(lock.source))
    if not change:
        print(f"{near_path(file)}: the world is as it was: {counted(len(lock.entries), 'file')}")
        return 0
    print(f"{near_path(file)}: the world has moved on: {change}; `geohydra lock` pins it anew")
    for line in _lines(change):
        print(f"  {line}")
    return MOVED_ON


def _lines(change: Moved) -> list[str]:
    lines = []
    for how, uris in (("added", change.added), ("removed", change.removed), ("changed", change.changed)):
        lines += [f"{how:<8} {uri}" for uri in uris[:_SHOWN]]
        if len(uris) > _SHOWN:
            lines.append(f"{how:<8} ... and {len(uris) - _SHOWN} more")
    return lines


def _told(entries: Sequence[LockEntry]) -> str:
    """How many files of how many items, how large, and from when to when."""
    parts = [counted(len(entries), "file")]
    items = {(entry.item.get("collection"), entry.item.get("id")) for entry in entries if entry.item}
    if items:
        parts[0] += f" of {counted(len(items), 'item')}"
    sizes = [entry.size for entry in entries if entry.size is not None]
    if sizes:
        parts.append(f"{_bytes(sum(sizes))}{'' if len(sizes) == len(entries) else ' or more'}")
    times = sorted(entry.time for entry in entries if entry.time)
    if times:
        parts.append(times[0][:10] if times[0][:10] == times[-1][:10] else f"{times[0][:10]} to {times[-1][:10]}")
    return ", ".join(parts)


def _bytes(size: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
        size /= 1000
    return f"{size:.3g} TB"
