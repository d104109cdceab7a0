"""How one step is performed: find its output or make it, whole or not at all.

A step module holds `VERSION: int` and `run(config, work)`. It never knows whether a cluster is around it.
Every output lives at `<store>/<step>/<fingerprint>/` and exists once its `manifest.json` stands there.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from geohydra import storage
from geohydra.build import trusted
from geohydra.errors import ConfigError, GeohydraError, StepError, StoreError
from geohydra.identity import fingerprint
from geohydra.report import Emit, Report, silent

Item = TypeVar("Item")

Config = Mapping[str, Any]
"""A step's own slice of the resolved config: plain dicts, lists, numbers and text."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a step may use here: threads and loader processes, the device, precision. Never part of an identity."""

    cpu: int = 2
    memory_gb: float = 8.0
    device: str = "auto"
    workers: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One step to perform: all that it depends on, and where outputs live.

    `shard` is the k-th (from 0) of n equal parts of its work; `parts` are the outputs of all of them, to be put together.
    """

    step: str
    config: Config
    needs: Mapping[str, str]
    store: str
    resources: Resources = field(default_factory=Resources)
    shard: tuple[int, int] | None = None
    parts: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Identity of the output."""
        needs = {name: uri.rstrip("/").rsplit("/", 1)[-1] for name, uri in self.needs.items()}
        return fingerprint(self.step, version=step_version(self.step), config=self.config, needs=needs, shard=self.shard)

    @property
    def uri(self) -> str:
        """Where the output lives, or will."""
        return output_uri(self.store, self.step, self.fingerprint)

    @property
    def found(self) -> str | None:
        """Where the output stands already; of a shard also where the whole does, for then nobody needs the shard."""
        places = [self.uri] if self.shard is None else [self.uri, replace(self, shard=None).uri]
        return next((uri for uri in places if read_manifest(uri) is not None), None)


class Work:
    """What a step is given.

    `inputs` are the URIs of the published outputs of the steps it needs, by name. `out` is a local folder whose
    content becomes the output. `state` is a local folder that survives a kill: what a step finds there it goes on from.
    """

    def __init__(
        self,
        inputs: Mapping[str, str],
        folder: Path,
        resources: Resources,
        *,
        emit: Emit = silent,
        shard: tuple[int, int] | None = None,
        parts: Sequence[str] = (),
    ) -> None:
        self.inputs = dict(inputs)
        self._shard = shard or (0, 1)
        self._made = tuple(parts)
        self.out = folder / "out"
        self.state = folder / "state"
        self.resources = resources
        self._emit = emit
        self._part, self._parts = 0, 1
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        self.state.mkdir(exist_ok=True)
        self.report = Report(self.out / "report", emit=emit)

    def input(self, name: str) -> Path:
        """The output of a needed step, as a local folder; fetched once where the store is remote."""
        if name not in self.inputs:
            raise ConfigError(f"pipeline.steps.{name}", "this step's output is needed here", f"add {name} to `needs`")
        return storage.fetch(self.inputs[name])

    @property
    def is_whole(self) -> bool:
        """Whether all of the work is done here: False in a shard, which leaves what `merge` puts together."""
        return self._shard == (0, 1)

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Those of the items that this shard works on: every n-th, from the k-th on. All of them where the work is not divided."""
        place, count = self._shard
        return items[place::count]

    def made(self) -> list[Path]:
        """The outputs of all shards, in their order, as local folders: what `merge` puts together."""
        return [storage.fetch(uri) for uri in self._made]

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Tell how far the work is; cheap enough to call for every window."""
        self._emit({"progress": self._part * total + done, "total": self._parts * total, "text": text})

    @contextmanager
    def part(self, place: int, count: int) -> Iterator[None]:
        """Inside it, progress tells of the part at `place` (from 0) of `count` equal parts of the work."""
        self._part, self._parts = place, count
        try:
            yield
        finally:
            self._part, self._parts = 0, 1

    def say(self, text: str) -> None:
        """One line for the log and for whoever watches."""
        print(text, flush=True)
        self._emit({"text": text})


def step_module(step: str) -> ModuleType:
    """The module of a step: geohydra's own by its bare name, a trusted package's by its dotted path.

    Raises ConfigError: not trusted (a config must not run any code), not there, or no step.
    """
    where, path = f"pipeline.steps.{step}", step if "." in step else f"geohydra.steps.{step}"
    package = path.split(".")[0]
    if package not in trusted():
        hint = f"if you trust it, set GEOHYDRA_PLUGINS={package} in the environment"
        raise ConfigError(where, f"{path!r} is not in a trusted package", hint)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as cause:
        if cause.name is None or not f"{path}.".startswith(f"{cause.name}."):
            raise
        raise ConfigError(where, f"there is no step module {path}") from cause
    if not hasattr(module, "VERSION") or not callable(getattr(module, "run", None)):
        raise ConfigError(where, f"{path} is no step", "a step module has VERSION and run(config, work)")
    return module


def divisible(step: str) -> bool:
    """Whether a step's work can be done in shards: its module has `merge(config, work)`, which puts together what they made."""
    return callable(getattr(step_module(step), "merge", None))


def undivided(step: str, config: Config) -> str | None:
    """Why a step's work cannot be divided with a config, by the `undivided(config)` of its module; None where it can."""
    told = getattr(step_module(step), "undivided", None)
    return told(config) if callable(told) else None


def step_version(step: str) -> int:
    """Raised by hand whenever a step's output for the same config changes."""
    return int(step_module(step).VERSION)


def output_uri(store: str, step: str, identity: str) -> str:
    """Where a step's output lives."""
    return storage.join(storage.absolute(store), step, identity)


def failure_uri(request: Request) -> str:
    """Where a container that failed leaves a note; it counts for as long as there is no output."""
    return storage.join(storage.absolute(request.store), "failures", request.step, f"{request.fingerprint}.json")


def given_up_uri(store: str, identity: str = "") -> str:
    """Where a note tells a container that nobody waits for its output any more; the folder of all of them without an identity."""
    return storage.join(storage.absolute(store), "given-up", *([identity] if identity else []))


def give_up(request: Request, why: str) -> None:
    """Ask whoever performs it, wherever that is, to end."""
    storage.write_bytes(given_up_uri(request.store, request.fingerprint), why.encode())


def forget_given_up(store: str, requests: Iterable[Request]) -> None:
    """They are wanted again."""
    folder = given_up_uri(store)
    if not storage.exists(folder):
        return
    system, path = storage.filesystem(folder)
    known = {str(name).rpartition("/")[2] for name in system.ls(path, detail=False)}
    for request in requests:
        if request.fingerprint in known:
            give_up(request, "")


def refuse_given_up(request: Request) -> None:
    """Raise StepError where nobody waits for the output any more."""
    try:
        why = storage.read_bytes(given_up_uri(request.store, request.fingerprint)).decode()
    except FileNotFoundError:
        return
    if why:
        raise StepError(request.step, f"given up: {why}")


def read_manifest(uri: str) -> dict[str, Any] | None:
    """The manifest of a published output; None where the output does not exist."""
    try:
        return dict(json.loads(storage.read_bytes(storage.join(uri, "manifest.json"))))
    except (FileNotFoundError, NotADirectoryError):
        return None


def perform(request: Request, *, emit: Emit = silent) -> str:
    """Make a step's output unless it exists; return its URI."""
    uri = request.uri
    if (found := request.found) is not None:
        return found
    with _told_of_disk(request.store), _scratch(request, emit) as folder:
        if read_manifest(uri) is None:
            _make(request, folder, emit)
        shutil.rmtree(folder, ignore_errors=True)
    return uri


def discard(request: Request) -> None:
    """Forget the unfinished work on an output that nobody goes on with."""
    shutil.rmtree(scratch_root(request.store) / f"{request.step}-{request.fingerprint}", ignore_errors=True)


def _make(request: Request, folder: Path, emit: Emit) -> None:
    started = time.monotonic()
    work = Work(request.needs, folder, request.resources, emit=emit, shard=request.shard, parts=request.parts)
    module = step_module(request.step)
    try:
        (module.merge if request.parts else module.run)(request.config, work)
        work.report.close(f"{request.step} {request.fingerprint}")
        _write_manifest(request, work.out, time.monotonic() - started)
        _publish(work.out, request.uri)
    except BaseException as error:
        full = isinstance(error, Exception) and not isinstance(error, GeohydraError) and _is_full(folder)
        shutil.rmtree(work.out, ignore_errors=True)
        if full:
            raise StoreError(request.store, "the disk is full", _FULL_HINT) from error
        raise


_FULL_HINT = "free some space or choose another place with store=URI; a second run goes on from here"
_NEARLY_FULL = 1 << 20


def _is_full(folder: Path) -> bool:
    """Libraries tell of a full disk each in its own way, or just fail: ask the disk."""
    return shutil.disk_usage(folder).free < _NEARLY_FULL


def scratch_root(store: str) -> Path:
    """Where unfinished work lies: on the store's own disk, so that publishing is a rename, or in a cache."""
    if storage.is_local(store):
        return storage.local_path(store) / ".scratch"
    cache = Path(os.environ.get("GEOHYDRA_CACHE", Path.home() / ".cache" / "geohydra"))
    return cache / "scratch"


@contextmanager
def _scratch(request: Request, emit: Emit) -> Iterator[Path]:
    """A folder of this output's own; a second process that wants the same output waits here, and says so."""
    root = scratch_root(request.store)
    root.mkdir(parents=True, exist_ok=True)
    name = f"{request.step}-{request.fingerprint}"
    with (root / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            emit({"text": "waiting for another run that makes the same output", "waiting": True})
            fcntl.flock(lock, fcntl.LOCK_EX)
        folder = root / name
        folder.mkdir(exist_ok=True)
        yield folder


@contextmanager
def _told_of_disk(store: str) -> Iterator[None]:
    """Tell a full or forbidden disk in a sentence; an error about a file elsewhere stays as it is."""
    root = scratch_root(store)
    try:
        with storage.writing(store):
            yield
    except StoreError as error:
        cause = error.__cause__
        if error.where == store and isinstance(cause, OSError) and not _below(cause.filename, root.parent):
            raise cause from None
        raise


def _below(filename: Any, folder: Path) -> bool:
    """Whether an error speaks of a file in this folder, or does not say of which."""
    return not isinstance(filename, str) or folder in [Path(filename).absolute(), *Path(filename).absolute().parents]


def _write_manifest(request: Request, out: Path, seconds: float) -> None:
    files = [
        {"path": path.relative_to(out).as_posix(), "size": path.stat().st_size, "sha256": storage.file_digest(path)}
        for path in sorted(out.rglob("*"))
        if path.is_file()
    ]
    manifest = {
        "step": request.step,
        "version": step_version(request.step),
        "fingerprint": request.fingerprint,
        "config": request.config,
        "needs": dict(request.needs),
        **({"shard": list(request.shard)} if request.shard else {}),
        "files": files,
        "seconds": round(seconds, 3),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _versions() -> dict[str, str]:
    known = {"python": platform.python_version()}
    for package in ("geohydra", "torch", "rasterio", "numpy"):
        try:
            known[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return known


def _publish(out: Path, uri: str) -> None:
    if not storage.is_local(uri):
        storage.upload(out, uri)
        return
    target = storage.local_path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    if (target / "manifest.json").exists():
        return
    if target.exists():
        shutil.rmtree(target)
    os.rename(out, target)
