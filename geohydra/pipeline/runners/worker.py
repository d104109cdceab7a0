"""What happens inside the process of one step: its own log, its own threads, and an end with its runner."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from geohydra.errors import GeohydraError
from geohydra.pipeline.runners import Failure
from geohydra.report import Emit
from geohydra.work import Request, perform

PROGRESS_EVERY = 0.1
"""Seconds between two events of progress: a step may tell of every window, nobody can watch that."""

LASTING = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""System errors that a second attempt meets again."""


@dataclass(frozen=True, slots=True)
class Order:
    """One step to perform in a process of its own. `environment` is all that it sees of the environment."""

    id: str
    request: Request
    log: Path
    folder: str
    environment: Mapping[str, str]
    attempt: int


def work_off(order: Order, pipe: Connection) -> None:
    """Perform a step, tell of it through the pipe, and leave: called in a fresh fork, never returns."""
    os.setsid()
    threading.Thread(target=_end_with_runner, args=(pipe,), daemon=True).start()
    answer = _perform(order, _emitter(pipe))
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    pipe.send(answer)
    os._exit(0)


def environment_of(cpu: int, gpus: tuple[str, ...], device: str) -> dict[str, str]:
    """How many threads libraries may start, and which GPUs they see."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "GDAL_NUM_THREADS")
    threads = {name: str(cpu) for name in names}
    if gpus or device == "cpu":
        threads["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return threads


def _end_with_runner(pipe: Connection) -> None:
    """The runner holds the other end, and says nothing: when that end closes, the runner is gone."""
    try:
        pipe.recv_bytes()
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


def _log_into(log: Path, order: Order) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab", buffering=0) as stream:
        if order.attempt > 1:
            stream.write(f"--- attempt {order.attempt} ---\n".encode())
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    for stream_out in (sys.stdout, sys.stderr):
        stream_out.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)


def _settle(order: Order) -> None:
    os.environ.clear()
    os.environ.update(order.environment)
    os.chdir(order.folder)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(order.request.resources.cpu)


def _perform(order: Order, emit: Emit) -> dict[str, Any]:
    try:
        _log_into(order.log, order)
        _settle(order)
        return {"uri": perform(order.request, emit=emit)}
    except GeohydraError as error:
        _log(f"{error}\n")
        return {"failure": Failure.of(error), "again": False}
    except BaseException as error:
        _log(traceback.format_exc())
        return {"failure": _unforeseen(error, order), "again": _may_pass(error)}


def _log(text: str) -> None:
    """On a full disk the log stays as it is, and the runner still gets its answer."""
    with suppress(OSError):
        sys.stderr.write(text)


def _unforeseen(error: BaseException, order: Order) -> Failure:
    words = [type(error).__name__, *str(error).strip().splitlines()[:1]]
    return Failure(f"step {order.id}", ": ".join(words), f"its log tells more: {order.log}")


def _may_pass(error: BaseException) -> bool:
    """Whether a second attempt may do better: memory or a disk or a network that failed for a moment."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and not isinstance(error, LASTING))


def _emitter(pipe: Connection) -> Emit:
    """Sends events; those of a process that the step forked are dropped, for they would tear others apart."""
    lock, owner, last = threading.Lock(), os.getpid(), 0.0

    def emit(event: Mapping[str, Any]) -> None:
        nonlocal last
        now = time.monotonic()
        passing = "progress" in event and event["progress"] < event["total"]
        if os.getpid() != owner or (passing and now - last < PROGRESS_EVERY):
            return
        with lock:
            last = now if "progress" in event else last
            pipe.send({"event": dict(event)})

    return emit
