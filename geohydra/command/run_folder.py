"""The folder of one run: what was asked, the plan, the files it stands on, links to its results."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.identity import digest
from geohydra.plan import Plan, tree

_MARK = "sweep.id"
"""Holds the identity of a sweep, by which a second run of it is told from a new one; also its lock."""


def make_run_folder(outputs: str, name: str) -> Path:
    """`<outputs>/runs/<time>-<name>/`, new, and `<outputs>/runs/latest` pointing to it."""
    runs = storage.local_path(outputs) / "runs"
    stem = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}"
    with storage.writing(str(runs)):
        runs.mkdir(parents=True, exist_ok=True)
        folder = _first_free(runs, stem)
        _point(runs / "latest", folder.name)
    return folder


def search_folder(outputs: str, name: str, identity: str) -> Path:
    """The run folder in which this search began, however it ended; else a new one."""
    return _same(outputs, identity) or _marked(make_run_folder(outputs, name), identity)


@contextmanager
def sweep_folder(outputs: str, plan: Plan) -> Iterator[Path]:
    """The run folder of a sweep that was killed or stopped before it ended, if no other process goes on with it; else a new one."""
    identity = digest([[job.name, list(job.overrides), [plan.step(step).fingerprint for step in job.steps.values()]] for job in plan.jobs])
    folder = _same(outputs, identity)
    if folder is None or _has_ended(folder) or (lock := _claimed(folder)) is None:
        folder = _marked(make_run_folder(outputs, plan.name), identity)
        lock = _claimed(folder)
    try:
        yield folder
    finally:
        if lock is not None:
            os.close(lock)


def write_request(folder: Path, plan: Plan, *, done: Sequence[str]) -> None:
    """`config.yaml` (of each job, in a sweep), `lock.json` and `plan.txt`."""
    with storage.writing(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.txt").write_text(tree(plan, done=done) + "\n")
        (folder / "lock.json").write_text(json.dumps(_locks(plan), indent=1))
        for job in plan.jobs:
            path = folder / "config.yaml" if len(plan.jobs) == 1 else folder / "jobs" / job.name / "config.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(as_yaml({key: value for key, value in job.config.items() if key != "lock"}))


def link_results(folder: Path, results: Mapping[str, Mapping[str, str]]) -> None:
    """`results/<stage>` (`results/<job>/<stage>` in a sweep) pointing to the outputs in the store, where that is local."""
    for job, stages in results.items():
        link_stages(folder / "results" if len(results) == 1 else folder / "results" / job, stages)


def link_stages(place: Path, stages: Mapping[str, str]) -> None:
    """A link for each stage of one job."""
    for stage, uri in stages.items():
        if storage.is_local(uri):
            place.mkdir(parents=True, exist_ok=True)
            _point(place / stage, os.path.relpath(storage.local_path(uri), place))


def as_yaml(config: Mapping[str, Any]) -> str:
    """A config as the user would write it."""
    import yaml

    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=120))


def _same(outputs: str, identity: str) -> Path | None:
    """The newest run folder with this identity, which `runs/latest` points to then."""
    runs = storage.local_path(outputs) / "runs"
    for place in sorted(runs.glob(f"*/{_MARK}"), reverse=True):
        if not place.parent.is_symlink() and place.read_text() == identity:
            _point(runs / "latest", place.parent.name)
            return place.parent
    return None


def _marked(folder: Path, identity: str) -> Path:
    storage.write_bytes(str(folder / _MARK), identity.encode())
    return folder


def _has_ended(folder: Path) -> bool:
    """Whether all of its jobs came to an end: none was stopped."""
    place = folder / "outcome.json"
    return place.exists() and "cancelled" not in json.loads(place.read_text())["jobs"].values()


def _claimed(folder: Path) -> int | None:
    """A lock that goes with the process; None where another one has it."""
    lock = os.open(folder / _MARK, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _locks(plan: Plan) -> Any:
    """One list where all jobs stand on the same files, else one for each job."""
    locks = {job.name: job.config["lock"] for job in plan.jobs}
    first = next(iter(locks.values()))
    return first if all(lock == first for lock in locks.values()) else locks


def _first_free(runs: Path, stem: str) -> Path:
    """Two runs may start in the same second."""
    for number in range(1, 1000):
        folder = runs / (stem if number == 1 else f"{stem}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise FileExistsError(runs / stem)


def _point(link: Path, target: str) -> None:
    """A symbolic link, replaced in one move; where the file system knows none, there is none."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    with suppress(OSError):
        temporary.symlink_to(target)
        temporary.replace(link)
