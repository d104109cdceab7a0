"""Which folders of this machine containers need: those in which the files lie that a config names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from glob import iglob
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.errors import ConfigError
from geohydra.plan import Plan

MOST = 64
"""Folders that are mounted one by one; of more, the folders above them are."""

_LONGEST = 4096

_NAMES = ("", "bin", "boot", "dev", "etc", "lib", "lib64", "opt", "opt/geohydra", "proc", "run", "sbin", "sys", "tmp", "usr", "var")
_TAKEN = frozenset(Path("/", name) for name in _NAMES)
"""Folders that a container has of its own."""


def volumes_of(plan: Plan, store: str, cache: Path, others: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """What containers see of this machine: the store and the cache to write into, the rest to read. Files that a stored step names
    too: what it left may tell of them, as scenes tell of their images."""
    written = [cache, *([storage.local_path(store)] if storage.is_local(store) else [])]
    read = needed_folders([step.config for step in plan.steps], others)
    for path in (*read, *written):
        if ":" in str(path):
            raise ConfigError(
                "runner",
                f"containers cannot be given {path}, whose name has a colon",
                "rename the folder, or link to it under another name",
            )
    volumes = {str(path): {"bind": str(path), "mode": "ro"} for path in read}
    return volumes | {str(path): {"bind": str(path), "mode": "rw"} for path in written}


def needed_folders(configs: Iterable[Mapping[str, Any]], others: Iterable[str] = ()) -> list[Path]:
    """Existing folders with what the configs name, the outer ones only; single files where their folder is one that a container
    has of its own. Raises ConfigError where there is no end of these."""
    found: set[Path] = set()
    for text in {text for config in configs for text in _texts(config)}:
        found.update(_places(text))
    for folder in others:
        path = storage.local_path(folder)
        if not path.exists():
            raise ConfigError("runner.folders", f"{path} does not exist")
        found.add(path)
    return _few(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _places(text: str) -> Iterator[Path]:
    """The folder of an existing file, or of the part of a pattern before its wildcards; as it is called, and as it is."""
    if not storage.is_local(text) or not 0 < len(text) < _LONGEST:
        return
    for one in storage.alternatives(text):
        try:
            path = storage.local_path(one)
            if wild := re.search(r"[*?\[]", str(path)):
                if next(iglob(str(path), recursive=True, include_hidden=True), None) is None:
                    continue  # a rule for names, which looks like a pattern
                path = Path(str(path)[: wild.start()] + "x").parent
            if path.exists():
                yield from (_mountable(place) for place in {path, path.resolve()} if place != Path("/"))
        except (OSError, RuntimeError, ValueError):
            return


def _mountable(path: Path) -> Path:
    """With its neighbours, for many a file has some that belong to it."""
    folder = path if path.is_dir() else path.parent
    return path if folder in _TAKEN else folder


def _few(found: set[Path]) -> list[Path]:
    while True:
        found = {path for path in found if path not in _TAKEN}
        outer = sorted(path for path in found if found.isdisjoint(path.parents))
        if len(outer) <= MOST:
            return outer
        found = {path.parent if path.parent not in _TAKEN else path for path in outer}
        if found == set(outer):
            problem = f"{len(outer)} files lie in {outer[0].parent}, which a container has of its own"
            raise ConfigError("runner.folders", problem, "keep them in a folder below it")
