"""The shipper seen from the run: start it, hand it journals, hear what it has to say, wait for it a bounded time."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geohydra
from geohydra.tracking.address import check_uri
from geohydra.tracking.delivery import is_whole
from geohydra.tracking.journal import EVENTS
from geohydra.tracking.protocols import Shipped

SYNC_SECONDS = 600.0
"""How long `sync` may take before it gives up; what is left stays for the next time."""


class Shipper:
    """A running shipper process. It ends by itself, also when the process that started it dies."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._buffer = b""
        self._notices: list[str] = []
        self._folders: list[Path] = []
        self._done: Shipped | None = None

    def add(self, folder: Path, *, uri: str = "") -> None:
        """One more journal; `uri` sends it elsewhere than it says itself."""
        self._folders.append(folder)
        self._tell({"add": str(folder.absolute()), "uri": uri})

    def notices(self) -> list[str]:
        """Sentences for the user since the last call. Never waits."""
        self._listen(0)
        heard, self._notices = self._notices, []
        return heard

    def wait(self, timeout: float) -> Shipped:
        """Wait until all journals that ended are shipped, at most so many seconds; the process is gone afterwards."""
        deadline = time.monotonic() + timeout
        self._tell({"finish": True})
        while self._done is None and self._listen(deadline - time.monotonic()):
            continue
        late = self._done is None and self._process.poll() is None
        self.stop()
        if self._done is not None:
            return self._done
        problem = (
            f"MLflow was not done within {timeout:.0f} s" if late else "the process that ships to MLflow ended early; its log says why"
        )
        return Shipped(0, len(self._folders), problem)

    def stop(self) -> None:
        """End the process at once; what is not shipped stays on disk."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def _tell(self, command: Mapping[str, Any]) -> None:
        try:
            os.write(self._input, json.dumps(command).encode() + b"\n")
        except (BrokenPipeError, ValueError):
            self._notices.append("the process that ships to MLflow is gone; `geohydra sync` ships what is left")

    @property
    def _input(self) -> int:
        if self._process.stdin is None or self._process.stdin.closed:
            raise ValueError("the pipe is closed")
        return self._process.stdin.fileno()

    def _listen(self, timeout: float) -> bool:
        """Take in what was said; False at the end of what there is to hear, or of the time."""
        pipe = self._process.stdout
        if pipe is None or pipe.closed or not select.select([pipe], [], [], max(timeout, 0))[0]:
            return False
        chunk = os.read(pipe.fileno(), 65536)
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))
        return bool(chunk)

    def _hear(self, message: Mapping[str, Any]) -> None:
        if "notice" in message:
            self._notices.append(str(message["notice"]))
        if "done" in message:
            self._done = Shipped(**message["done"])


def start_shipper(folders: Sequence[Path] = (), *, log: Path | None = None) -> Shipper:
    """Start the process; it warms up for some seconds, so start it early. `log` takes what goes wrong, in detail."""
    command = [sys.executable, "-P", "-m", "geohydra.tracking.ship"]
    root = str(Path(geohydra.__file__).resolve().parents[1])
    paths = [root, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    environment.pop("MLFLOW_RUN_ID", None)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    with (log or Path(os.devnull)).open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )
    shipper = Shipper(process)
    for folder in folders:
        shipper.add(folder)
    return shipper


def find_journals(outputs: Path) -> list[Path]:
    """Folders of all journals below a folder, parents first. What lies in `runs` is enough, where there is one."""
    found = []
    for place, below, files in os.walk(outputs / "runs" if (outputs / "runs").is_dir() else outputs):
        if EVENTS in files:
            found.append(Path(place))
            below[:] = [name for name in below if name not in {"files", "reports"}]
    return sorted(found, key=lambda place: (len(place.parts), place))


def sync(outputs: Path, *, uri: str = "", timeout: float = SYNC_SECONDS) -> Shipped:
    """Ship all journals below a folder that are not whole in MLflow yet, each to where it was meant to go, or to `uri`."""
    if uri:
        check_uri(uri, where="uri")
    folders = [folder for folder in find_journals(outputs) if not is_whole(folder, uri=uri)]
    if not folders:
        return Shipped()
    shipper = start_shipper(log=outputs / "sync.log")
    for folder in folders:
        shipper.add(folder, uri=uri)
    return shipper.wait(timeout)
