"""Bytes by URI: local folders and object stores alike, through fsspec."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from geohydra import cloud, signing, web
from geohydra.errors import DataError, StoreError
from geohydra.types import LockEntry

_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")


def is_local(uri: str) -> bool:
    """Whether the URI names a place on this machine's disks."""
    return uri.startswith("file://") or not _SCHEME.match(uri)


def local_path(uri: str) -> Path:
    """The path of a local URI, made absolute; `~` is the user's home."""
    return Path(uri.removeprefix("file://")).expanduser().absolute()


def absolute(uri: str) -> str:
    """Local places as absolute paths, others as they are without a last slash."""
    return str(local_path(uri)) if is_local(uri) else uri.rstrip("/")


def join(uri: str, *parts: str) -> str:
    """A place below a URI. A part that is itself absolute replaces what stands before it."""
    for part in parts:
        if _SCHEME.match(part) or part.startswith("/"):
            uri = part
        else:
            uri = f"{uri.rstrip('/')}/{part.removeprefix('./')}"
    return uri


def filesystem(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it.

    Raises StoreError where the package for the scheme is missing or the address cannot be understood.
    """
    try:
        system, path = fsspec.core.url_to_fs(signing.signed(uri))
    except (ImportError, ValueError) as cause:
        raise StoreError(uri, f"no way to read this address ({cause})", "known are local paths, s3://, gs://, http(s)://") from cause
    return system, path


def exists(uri: str) -> bool:
    """Whether a file or a folder stands there."""
    if is_local(uri):
        return local_path(uri).exists()
    if web.is_web(uri):
        return _found(uri)
    with cloud.asking(uri):
        system, path = filesystem(uri)
        return bool(system.exists(path))


def _found(uri: str) -> bool:
    try:
        web.ask(uri)
    except FileNotFoundError:
        return False
    return True


def read_bytes(uri: str) -> bytes:
    """The whole content of a small file.

    Raises FileNotFoundError where there is none, DataError where a web server does not give it, StoreError where an object store does not.
    """
    if is_local(uri):
        return local_path(uri).read_bytes()
    if web.is_web(uri):
        return web.read(uri)
    with cloud.asking(uri):
        system, path = filesystem(uri)
        return bytes(system.cat_file(path))


def write_bytes(uri: str, content: bytes) -> None:
    """Write a small file, whole or not at all."""
    if not is_local(uri):
        with cloud.asking(uri):
            system, path = filesystem(uri)
            system.pipe_file(path, content)
        return
    target = local_path(uri)
    with writing(str(target.parent)):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Tell a full or forbidden disk in a sentence: OSError becomes StoreError."""
    try:
        yield
    except OSError as cause:
        reasons = {
            errno.ENOSPC: ("the disk is full", "free some space or choose another place with store=URI; a second run goes on from here"),
            errno.EDQUOT: ("the disk quota is used up", "choose another place with store=URI; a second run goes on from here"),
            errno.EACCES: ("not allowed to write here", "choose a place that you may write to with outputs=FOLDER or store=URI"),
            errno.EPERM: ("not allowed to write here", "choose a place that you may write to with outputs=FOLDER or store=URI"),
            errno.EROFS: ("the file system is read-only", "choose another place with outputs=FOLDER or store=URI"),
            errno.ENOTDIR: ("a file stands where a folder is needed", "choose another place with outputs=FOLDER or store=URI"),
        }
        if cause.errno not in reasons:
            raise
        raise StoreError(where, *reasons[cause.errno]) from cause


def list_files(pattern: str, *, role: str = "image") -> list[LockEntry]:
    """Files that match a URI pattern (`*`, `**`, `?`, `[abc]`, `{a,b}`), sorted by URI, none opened.

    `http(s)` has no listing: such a URI names one file, whose existence is asked for. Raises DataError where
    nothing matches, or where one of several places without wildcards is not there.
    """
    entries: dict[str, LockEntry] = {}
    for one in alternatives(pattern):
        found = {entry.uri: entry for entry in _list(one, role)}
        if not found and one != pattern and not _has_wildcard(one):
            raise DataError(one, "there is no such file", "check the folder, the ending and upper or lower case")
        entries |= found
    if not entries:
        raise DataError(pattern, "no file matches", "check the folder, the ending and upper or lower case")
    return [entries[uri] for uri in sorted(entries)]


def refuse_changed(lock: Sequence[LockEntry]) -> None:
    """Raise DataError where a file is not what it was when it was listed: its size, ETag or time is another, or it is gone."""
    with ThreadPoolExecutor(_ASKING) as pool:
        changes = [change for change in pool.map(_change, lock) if change]
    if changes:
        others = len(changes) - 1
        more = f" (and {others} more file{'s' if others > 1 else ''})" if others else ""
        uri, fact = changes[0]
        raise DataError(
            uri,
            f"{fact} since it was listed{more}",
            "start again: the files are listed anew; a lock of your own is made again with `geohydra lock`",
        )


_ASKING = 16
"""Files asked for at once."""

_ANEW = "start again: the files are listed anew; a lock of your own is made anew with `geohydra lock`"


def stat(uri: str, *, role: str = "image") -> LockEntry:
    """One file as a listing would show it. Raises FileNotFoundError where there is none, else DataError."""
    if web.is_web(uri):
        return _entry(uri, web.ask(uri), role)
    system, path = filesystem(uri)
    try:
        with cloud.asking(uri, DataError):
            return _entry(uri, system.info(path), role)
    except FileNotFoundError:
        raise
    except OSError as cause:
        fact = signing.scrubbed(str(cause), uri)
        raise DataError(signing.bare(uri), f"cannot be asked for ({fact})", "check the address, the network and the credentials") from cause


def stat_all(lock: Sequence[LockEntry], progress: Callable[[int, int, str], None]) -> list[LockEntry]:
    """The entries with size, ETag and time of change, asked for at once where a listing did not tell them."""
    with ThreadPoolExecutor(_ASKING) as pool:
        asked = []
        for entry, known in zip(lock, pool.map(_known, lock), strict=True):
            asked.append(known)
            progress(len(asked), len(lock), entry.uri.rsplit("/", 1)[-1])
    return asked


def _known(entry: LockEntry) -> LockEntry:
    if not _unseen(entry):
        return entry
    try:
        now = stat(entry.uri)
    except FileNotFoundError as cause:
        raise DataError(
            signing.bare(entry.uri), "there is no such file", "what names it is out of date, or its address is wrong"
        ) from cause
    return replace(entry, size=now.size, etag=now.etag, modified=now.modified)


def _unseen(entry: LockEntry) -> bool:
    """Whether nothing is known by which a change could be told."""
    return entry.size is None and entry.etag is None and entry.modified is None


def _change(entry: LockEntry) -> tuple[str, str] | None:
    if _unseen(entry):
        return None
    if is_local(entry.uri) and not local_path(entry.uri).exists():
        return entry.uri, "is gone"
    try:
        now = stat(entry.uri, role=entry.role)
    except FileNotFoundError:
        return entry.uri, "is gone"
    pairs = ((entry.size, now.size), (entry.etag, now.etag), (entry.modified, now.modified))
    changed = any(then is not None and since is not None and then != since for then, since in pairs)
    return (entry.uri, "has changed") if changed else None


def _has_wildcard(path: str) -> bool:
    return any(sign in path for sign in "*?[")


def _list(pattern: str, role: str) -> Iterator[LockEntry]:
    system, path = filesystem(absolute(pattern))
    scheme = "" if isinstance(system, LocalFileSystem) else pattern.split("://")[0] + "://"
    try:
        if scheme.startswith("http"):
            yield _entry(absolute(pattern), web.ask(absolute(pattern)), role)
            return
        with cloud.asking(pattern, DataError):
            found = system.glob(path, detail=True) if _has_wildcard(path) else _one(system, path)
    except FileNotFoundError:
        return
    except PermissionError as cause:
        raise DataError(pattern, "access is denied", "give credentials in the environment, as the cloud's own tools take them") from cause
    except OSError as cause:
        raise DataError(pattern, f"cannot be listed ({cause})", "check the address and the network") from cause
    for name, info in found.items():
        if info["type"] == "file":
            yield _entry(scheme + str(name).removeprefix(scheme), info, role)


def _one(system: Any, path: str) -> dict[str, Any]:
    return {path: system.info(path)}


def _entry(uri: str, info: dict[str, Any], role: str) -> LockEntry:
    etag = info.get("ETag") or info.get("etag")
    changed = info.get("LastModified") or info.get("mtime") or info.get("updated")
    modified = changed.isoformat() if isinstance(changed, datetime) else None if changed is None else str(changed)
    return LockEntry(uri, info.get("size"), str(etag).strip('"') if etag else None, modified, role)


def alternatives(pattern: str) -> Iterator[str]:
    """What braces stand for: `a{b,c}` gives `ab` and `ac`."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        yield pattern
        return
    for choice in match[1].split(","):
        yield from alternatives(pattern[: match.start()] + choice + pattern[match.end() :])


def upload(folder: Path, uri: str) -> None:
    """Copy a folder's files to a URI, `manifest.json` last: without it the rest does not exist."""
    system, root = filesystem(uri)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with cloud.asking(uri):
        for path in sorted(files, key=lambda path: path == folder / "manifest.json"):
            system.put_file(str(path), f"{root}/{path.relative_to(folder).as_posix()}")


def fetch(uri: str) -> Path:
    """A local folder or file with the content of a URI; remote content is kept in a cache by its address."""
    if is_local(uri):
        return local_path(uri)
    cache = Path(os.environ.get("GEOHYDRA_CACHE", Path.home() / ".cache" / "geohydra"))
    target = cache / "fetched" / hashlib.sha256(uri.encode()).hexdigest()[:24] / signing.bare(uri).rstrip("/").rsplit("/", 1)[-1]
    if target.exists():
        return target
    with writing(str(cache)):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent))
        _download(uri, scratch / "content")
        os.replace(scratch / "content", target)
        shutil.rmtree(scratch)
    return target


def _download(uri: str, target: Path) -> None:
    if not web.is_web(uri):
        with cloud.asking(uri):
            system, path = filesystem(uri)
            system.get(path, str(target), recursive=system.isdir(path))
        return
    try:
        web.save(uri, target)
    except FileNotFoundError as cause:
        raise DataError(signing.bare(uri), *web.refusal(404)) from cause


def link(path: str | Path, place: str | Path) -> None:
    """The same file at another place of this machine: a hard link where the disk allows it, else a copy."""
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
