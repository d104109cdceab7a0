"""The fork server: one process that has imported what steps need; each step is a fork of it."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

LONGEST_WARMING = 120.0
"""Seconds after which steps are started even though nothing was heard of the imports."""


class ForkServer:
    """Starts processes within milliseconds once it is warm. There is one in a process: see `fork_server`."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._ready: int | None = None
        self._started = 0.0

    def warm(self, names: Sequence[str]) -> None:
        """Begin to import, and return at once. Only the first call counts."""
        if self._started:
            return
        self._started = time.monotonic()
        pipe = Path(tempfile.mkdtemp(prefix="geohydra-")) / "ready"
        os.mkfifo(pipe)
        self._ready = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self._context.set_forkserver_preload([f"{__package__}.preload"])
        with _environment(_for_server(names, pipe)), _no_main():
            forkserver.ensure_running()

    def waiting(self) -> int | None:
        """A handle that becomes readable when the server is warm; None once it is."""
        if self._ready is not None and (wait([self._ready], 0) or time.monotonic() - self._started > LONGEST_WARMING):
            os.close(self._ready)
            self._ready = None
        return self._ready

    def start(self, call: Callable[[Any, Connection], None], order: Any) -> tuple[BaseProcess, Connection]:
        """A new process that calls `call(order, pipe)`, and this end of the pipe.

        A server that was killed is seen to be dead, and started anew, only a moment later.
        """
        for pause in (0.1, 0.5):
            try:
                return self._start(call, order)
            except (EOFError, ConnectionError):
                time.sleep(pause)
        return self._start(call, order)

    def _start(self, call: Callable[[Any, Connection], None], order: Any) -> tuple[BaseProcess, Connection]:
        mine, yours = self._context.Pipe()
        process = self._context.Process(target=call, args=(order, yours), name="geohydra-step")
        try:
            with _no_main():
                process.start()
        except BaseException:
            mine.close()
            raise
        finally:
            yours.close()
        return process, mine


@cache
def fork_server() -> ForkServer:
    """The fork server of this process: multiprocessing has exactly one."""
    return ForkServer()


def _for_server(names: Sequence[str], pipe: Path) -> dict[str, str]:
    """What the server's own environment needs; steps get the environment of the runner instead.

    A library that asks for CUDA while it is imported must not start it: forks could not use it any more. Steps leave without
    taking apart what they made; of the semaphores of their loaders, which are then cleaned up, nobody needs to hear.
    """
    unheard = "ignore::UserWarning:multiprocessing.resource_tracker"
    return {
        "GEOHYDRA_PRELOAD": ",".join([f"{__package__}.worker", *names]),
        "GEOHYDRA_PRELOAD_PARENT": str(os.getpid()),
        "GEOHYDRA_PRELOAD_READY": str(pipe),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        "PYTHONWARNINGS": ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), unheard])),
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextmanager
def _no_main() -> Iterator[None]:
    """Multiprocessing makes its children import the caller's script again, which costs time and may run it twice:
    for a moment there is none."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
