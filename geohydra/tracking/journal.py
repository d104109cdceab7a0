"""The journal of one run: all that tracking shall know of it stands on local disk first, and is shipped from there.

<folder>/events.jsonl     a line an event, appended as it happens
<folder>/files/           copies of artefacts
<folder>/reports/STEP/    the reports of steps
<folder>/cursor.json      how far it was shipped (written by the shipper only)
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import threading
import time as clock
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.errors import StoreError
from geohydra.report import read_curves, read_metrics
from geohydra.tracking.protocols import Destination, Status

EVENTS = "events.jsonl"
_NOWHERE = Destination()


class Journal:
    """Writes one run's events, each as one whole line. Safe to call from several threads of one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._file = os.open(folder / EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        _claim(self._file, folder)
        self._seen: set[tuple[str, int]] = set()
        self._last: dict[str, int] = {}

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        experiment: str,
        run_name: str,
        tags: Mapping[str, str],
        parent: str | Path | None = None,
        destination: Destination = _NOWHERE,
    ) -> Journal:
        """A new journal, or the one that stands in the folder, which then goes on. `parent` is the folder of another journal."""
        with storage.writing(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            _drop_torn_line(folder / EVENTS)
            journal = cls(folder)
        if known := read_events(folder):
            for event in known:
                if event["event"] == "metrics":
                    journal._remember(event["values"], event["step"])
            return journal
        above = os.path.relpath(parent, folder) if parent else None
        about = {
            "id": f"{folder.absolute()} {uuid.uuid4().hex[:8]}".replace("'", ""),
            "experiment": experiment,
            "name": run_name,
            "tags": dict(tags),
            "parent": above,
        }
        journal._write({"event": "begin", **about, **asdict(destination), "time": _now()})
        return journal

    def params(self, values: Mapping[str, str]) -> None:
        """Flat parameters; one that was told before cannot change."""
        self._write({"event": "params", "values": {key: str(value) for key, value in values.items()}})

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags; a later value replaces an earlier one."""
        self._write({"event": "tags", "values": {key: str(value) for key, value in values.items()}})

    def metrics(self, values: Mapping[str, float], *, step: int | None = None, time: float | None = None) -> None:
        """Scalars, now or at `time` (seconds since 1970); what is not a finite number is left out.

        Without a step it is a last word: where a curve of that name was told, it stands at the curve's end, since MLflow
        shows of each metric the value with the largest step.
        """
        when = _now() if time is None else int(time * 1000)
        places: dict[int, dict[str, float]] = {}
        for key, value in values.items():
            if math.isfinite(value):
                places.setdefault(self._last.get(key, 0) if step is None else step, {})[key] = float(value)
        for at, known in places.items():
            if step is not None:
                self._remember(known, at)
            self._write({"event": "metrics", "values": known, "step": at, "time": when})

    def artifact(self, path: Path, to: str = "") -> None:
        """A file or folder, copied now; `to` is the folder among the run's artefacts."""
        kept = self._place(path.name)
        with storage.writing(str(kept)):
            shutil.copytree(path, kept) if path.is_dir() else shutil.copy2(path, kept)
        self._write({"event": "artifact", "path": kept.relative_to(self.folder).as_posix(), "to": to})

    def text(self, name: str, text: str) -> None:
        """A text artefact; `name` may hold folders, as in `logs/train.log`."""
        to, _, last = name.rpartition("/")
        kept = self._place(last)
        storage.write_bytes(str(kept), text.encode())
        self._write({"event": "artifact", "path": kept.relative_to(self.folder).as_posix(), "to": to})

    def report(self, step: str, output_uri: str) -> None:
        """Replay the report of a step's output: metrics, curves that were not told live, tables, figures, page."""
        found = _report(output_uri)
        if found is None:
            return
        kept = self.folder / "reports" / step
        with storage.writing(str(kept)):
            shutil.copytree(found, kept, copy_function=link_or_copy, dirs_exist_ok=True)
        for line in read_curves(kept):
            at = int(line["step"])
            self.metrics({key: value for key, value in line["metrics"].items() if (key, at) not in self._seen}, step=at)
        self.metrics(read_metrics(kept))
        self._write({"event": "report", "step": step, "path": kept.relative_to(self.folder).as_posix()})

    def model(self, uri: str, name: str, alias: str | None = None) -> None:
        """A folder with an MLflow model: it becomes the run's artefact `bundle` and, under `name`, a model version."""
        self._write({"event": "model", "uri": storage.absolute(uri), "name": name, "alias": alias})

    def promote(self, job: Path, uri: str, name: str, alias: str) -> None:
        """An alias for the version of a model that a job of this sweep brought; told once all of the job has arrived."""
        below = os.path.relpath(job, self.folder)
        self._write({"event": "promote", "job": below, "uri": storage.absolute(uri), "name": name, "alias": alias})

    def view(
        self, *, sort: str, columns: Sequence[str], ascending: bool = False, table: str = "", page: str = "", picture: str = ""
    ) -> None:
        """How the jobs of this sweep shall be shown: columns (metrics have a `/`, others are parameters), sorted by a metric; in the
        sweep's note a `table` in Markdown, a link to a `page` and a `picture` among its artefacts."""
        shown = {"table": table, "page": page, "picture": picture}
        self._write({"event": "view", "sort": sort, "columns": list(columns), "ascending": ascending, **shown})

    def end(self, status: Status, error: str = "") -> None:
        """The last word; on disk when this returns."""
        self._write({"event": "end", "status": status, "error": error, "time": _now()})
        os.fsync(self._file)
        os.close(self._file)

    def _write(self, event: Mapping[str, Any]) -> None:
        line = json.dumps(event, separators=(",", ":"), default=str) + "\n"
        with self._lock, storage.writing(str(self.folder)):
            os.write(self._file, line.encode())

    def _place(self, name: str) -> Path:
        """A path for a file of this name that no other artefact has."""
        folder = self.folder / "files" / uuid.uuid4().hex[:12]
        with storage.writing(str(folder)):
            folder.mkdir(parents=True)
        return folder / name

    def _remember(self, names: Iterable[str], step: int) -> None:
        for name in names:
            self._seen.add((name, step))
            self._last[name] = max(step, self._last.get(name, 0))


def abandoned(folder: Path) -> bool:
    """Whether nobody has the journal open for writing: its writer ended, or was killed."""
    with (folder / EVENTS).open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def read_events(folder: Path, *, start: int = 0) -> list[dict[str, Any]]:
    """The events of a journal from a byte on; a last line that is not whole yet is left for the next time.

    Each has `next`: the byte after it.
    """
    path = folder / EVENTS
    if not path.exists():
        return []
    with path.open("rb") as stream:
        stream.seek(start)
        lines = stream.read().splitlines(keepends=True)
    events = []
    for line in lines:
        if not line.endswith(b"\n"):
            break
        start += len(line)
        events.append({**_parsed(line), "next": start})
    return events


def _parsed(line: bytes) -> dict[str, Any]:
    """A full disk may have cut a line in the middle of the file."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return {"event": "unreadable"}


def link_or_copy(source: str, target: str) -> str:
    """A second name for a file that never changes; a copy where the disk allows no link."""
    try:
        Path(target).unlink(missing_ok=True)
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _report(output_uri: str) -> Path | None:
    uri = storage.join(output_uri, "report")
    if not storage.is_local(uri) and not storage.exists(uri):
        return None
    folder = storage.fetch(uri)
    return folder if folder.is_dir() else None


def _claim(file: int, folder: Path) -> None:
    """One writer only: the lock goes when the file is closed, and when its process dies."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        os.close(file)
        raise StoreError(
            str(folder), "another process writes this run's journal", "wait until it ends, or give the run another name"
        ) from cause


def _drop_torn_line(path: Path) -> None:
    """A killed writer may leave half a line: cut it off."""
    if not path.exists():
        return
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _now() -> int:
    return int(clock.time() * 1000)
