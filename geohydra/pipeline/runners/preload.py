"""What the fork server imports, so that no step has to. Importing this module is its work, and only in a fork server:
elsewhere GEOHYDRA_PRELOAD is not set, and nothing happens."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import threading
from contextlib import suppress
from pathlib import Path


def preload(names: list[str], *, parent: int, ready: str) -> None:
    """Import all that can be imported; what cannot is told by the step that needs it. Ends when `parent` is gone.

    `ready` names a pipe whose reader waits until this is over.
    """
    os.setsid()
    handle = os.open(ready, os.O_WRONLY)
    Path(ready).unlink()
    Path(ready).parent.rmdir()
    _silence()
    over = threading.Event()
    watch = threading.Thread(target=_end_with, args=(parent, over), daemon=True)
    watch.start()
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)
    over.set()
    watch.join()
    atexit.register(os._exit, 0)  # the server has nothing to tidy up, and taking torch apart takes a second
    gc.collect()
    gc.freeze()
    os.close(handle)


def _silence() -> None:
    """The terminal belongs to the runner, and a pipe that it writes into must not stay open for this process."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nowhere, handle)
    os.close(nowhere)


def _end_with(parent: int, over: threading.Event) -> None:
    while not over.wait(0.1):
        if os.getppid() != parent:
            os._exit(0)


if "GEOHYDRA_PRELOAD" in os.environ:
    preload(
        os.environ.pop("GEOHYDRA_PRELOAD").split(","),
        parent=int(os.environ.pop("GEOHYDRA_PRELOAD_PARENT")),
        ready=os.environ.pop("GEOHYDRA_PRELOAD_READY"),
    )
