"""The door to MLflow: import it quickly, prepare an sqlite file safely, say in words why it does not answer."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mlflow import MlflowClient

_HEAVY = ("pandas", "scipy", "pyarrow", "sklearn", "matplotlib")
"""MLflow imports these if they are there, at a cost of two seconds, for nothing that a shipper does."""

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Bounded patience: what does not arrive is tried again later, from the journal."""


def prepare_import() -> None:
    """Import MLflow as its small edition does, without the data packages. For a process that does nothing else."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    gc.disable()
    with _without(_HEAVY):
        import mlflow.store.tracking.sqlalchemy_store
        import mlflow.tracking  # noqa: F401
    gc.enable()
    gc.freeze()
    logging.getLogger("alembic").setLevel(logging.ERROR)


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Importing one of these fails meanwhile, as if it were not installed; those that are loaded stay."""
    hidden = [name for name in names if name not in sys.modules]
    blocked = cast("dict[str, ModuleType | None]", sys.modules)
    blocked.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def connect(uri: str) -> MlflowClient:
    """A client that has reached its store. An sqlite file is made and brought into shape first, by one process at a time."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    path = sqlite_path(uri)
    if path is None:
        return _reached(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = _reached(uri)
        _write_ahead(path)
    return client


def sqlite_path(uri: str) -> Path | None:
    """The file of an sqlite URI; None for other stores."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def _reached(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _write_ahead(path: Path) -> None:
    """Readers and a writer side by side: four times as many writes a second. The file remembers it."""
    _pragma(path, "journal_mode=WAL")


def settle(uri: str) -> None:
    """Bring all rows into the one file of an sqlite store, so that a copy of it is complete."""
    path = sqlite_path(uri)
    if path is not None:
        _pragma(path, "wal_checkpoint(TRUNCATE)")


def _pragma(path: Path, words: str) -> None:
    connection = sqlite3.connect(path, timeout=20)
    try:
        connection.execute(f"PRAGMA {words}")
    except sqlite3.OperationalError as error:
        logging.getLogger(__name__).warning("%s: %s was not taken: %s", path, words, error)
    finally:
        connection.close()


def is_refusal(error: Exception) -> bool:
    """Whether MLflow took the call and said no for good: the same call would fail again, others may not."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    status = int(cast(Any, error).get_http_status_code())
    return 400 <= status < 500 and status not in {401, 403, 408, 429}


def reason(error: Exception) -> str:
    """Why a store does not answer, in a few words."""
    text = str(error)
    if any(sign in text for sign in _NO_LOGIN):
        return _login()
    for sign, words in _REASONS:
        if sign in text:
            return words
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__


def _login() -> str:
    """What is wrong with the login that the environment gives."""
    if os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return "it does not take this login: correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment"
    if os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return "the token has expired, or is not one of this server: put a new one into MLFLOW_TRACKING_TOKEN"
    return "it asks for a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the environment"


_NO_LOGIN = ("error code 401", "401 Client Error", "Please set these environment variables")

_REASONS = (
    ("Connection refused", "nothing listens there"),
    ("Name or service not known", "there is no such host"),
    ("Failed to resolve", "there is no such host"),
    ("timed out", "it does not answer in time"),
    ("Invalid Host header", "it refuses this host name: start the server with --allowed-hosts"),
    ("error code 403", "this login may not do that: ask for the right to edit the experiment"),
    ("403 Client Error", "this login may not do that: ask for the right to edit the experiment"),
    ("Permission denied", "this login may not do that: ask for the right to edit the experiment"),
    ("too many 50", "the server fails: its log says why"),
    ("500 Server Error", "the server fails, perhaps because its store of files does not answer: its log says why"),
    ("out-of-date database schema", "the database was made by an older MLflow: copy it, then run `mlflow db upgrade URI`"),
    ("database is locked", "another process holds the database for long"),
    ("No space left", "the disk is full"),
    ("unable to open database file", "the file cannot be opened: is the folder there, and may you write to it?"),
)
