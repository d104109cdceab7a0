"""The runner's end of one step's process."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from geohydra.pipeline.runners import Failure
from geohydra.pipeline.runners.server import ForkServer
from geohydra.pipeline.runners.worker import Order, work_off

_MEMORY = "often the system's answer to too little memory: use smaller batches or windows, or give the role more"


class StepProcess:
    """A running step: what it tells, how to stop it, how it ended."""

    def __init__(self, order: Order, server: ForkServer) -> None:
        self.order = order
        self.started = time.monotonic()
        self._process, self._pipe = server.start(work_off, order)
        self._open = True

    @property
    def handles(self) -> list[Connection | int]:
        """Readable when there is something to read, or when the process has ended."""
        return [self._pipe, self._process.sentinel] if self._open else [self._process.sentinel]

    @property
    def pid(self) -> int:
        """The process, which leads a group of its own."""
        return self._process.pid or 0

    def messages(self) -> list[dict[str, Any]]:
        """All that it has told since the last call."""
        found: list[dict[str, Any]] = []
        try:
            while self._open and self._pipe.poll(0):
                found.append(self._pipe.recv())
        except (EOFError, OSError):
            self._open = False
        return found

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.exitcode is not None

    def signal(self, number: signal.Signals) -> None:
        """To the process and all that it started."""
        with suppress(ProcessLookupError):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                os.kill(self.pid, number)

    def close(self) -> None:
        """Leave nothing behind: no process that it started, no open pipe."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if not self.ended():
            self.signal(signal.SIGKILL)
        self._process.join()
        self._process.close()
        self._pipe.close()

    def crash(self) -> Failure:
        """What is said of a process that ended without an answer."""
        code = self._process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            what, hint = f"its process was killed by {name}", f"{_MEMORY}; " if name == "SIGKILL" else ""
        else:
            what, hint = f"its process ended with exit code {code} and without an answer", ""
        return Failure(f"step {self.order.id}", what, f"{hint}its log tells more: {self.order.log}")
