"""The runs of a store as a table, and MLflow's own pages on the same store."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from geohydra.build import near
from geohydra.errors import ConfigError, StoreError
from geohydra.tracking.address import is_served
from geohydra.tracking.client import connect, reason, sqlite_path
from geohydra.tracking.mlflow import MlflowTracking
from geohydra.tracking.views import TRAINING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from rich.table import Table

_LOOKED_AT = 1000
_ABOUT = ("run", "status", "started", "minutes")


@dataclass(frozen=True, slots=True)
class RunsTable:
    """Rows of plain values, a run a row; None where a run lacks a value. `ids` are MLflow's run ids."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    ids: tuple[str, ...]

    def json(self) -> str:
        """A list of objects, with the run ids."""
        rows = [{"id": run, **dict(zip(self.columns, row, strict=True))} for run, row in zip(self.ids, self.rows, strict=True)]
        return json.dumps(rows, indent=1)

    def csv(self) -> str:
        """With a line of names first."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("id", *self.columns))
        writer.writerows((run, *row) for run, row in zip(self.ids, self.rows, strict=True))
        return stream.getvalue()

    def rich(self) -> Table:
        """For a terminal."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in self.columns:
            table.add_column(name, justify="left" if name in ("run", "status") else "right", no_wrap=name == "run")
        for row in self.rows:
            table.add_row(*(_shown(value) for value in row))
        return table


def runs_table(
    tracking: MlflowTracking,
    *,
    sort: str | None = None,
    ascending: bool = False,
    columns: Sequence[str] = (),
    limit: int = 20,
    experiment: str | None = None,
    parent: str | None = None,
    kinds: Sequence[str] = ("run", "job", ""),
) -> RunsTable:
    """Runs of an experiment (`*`: of all), or of the sweep with this name or run id.

    `sort` is a metric or a parameter, the largest first; runs without it come last. Without it, the newest run is first.
    `columns` are metrics, parameters or tags; without any, headline metrics and what was overridden. `kinds` leaves the
    parents of sweeps out; "" are runs that geohydra did not make.
    """
    client = _opened(tracking)
    try:
        found = _search(client, experiment or tracking.experiment, parent, sort)
    except ConfigError:
        raise
    except Exception as cause:
        raise StoreError(tracking.uri, f"MLflow cannot be asked: {reason(cause)}") from cause
    runs = [run for run in found if run.data.tags.get("geohydra.kind", "") in kinds]
    ranked = _ranked(runs, sort, ascending)[:limit]
    names = tuple(columns) or _telling(ranked, sort)
    return RunsTable(
        (*_ABOUT, *names),
        tuple((*_about(run), *(_value(run, name) for name in names)) for run in ranked),
        tuple(run.info.run_id for run in ranked),
    )


def ui_command(tracking: MlflowTracking, *, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """What to start, and with which environment, to see the runs in a browser."""
    options = {"--backend-store-uri": tracking.uri, "--artifacts-destination": tracking.artifacts, "--host": host, "--port": str(port)}
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return command + [part for pair in options.items() for part in pair], {**os.environ, **quiet}


def serve_ui(tracking: MlflowTracking, *, host: str = "127.0.0.1", port: int = 5000) -> None:
    """MLflow's pages on the store of this tracking. Does not return, unless a server shows them already."""
    if is_served(tracking.uri):
        print(f"A server shows the runs already: {tracking.uri}")
        return
    _opened(tracking)
    port = _free_port(host, port)
    address = f"http://{host}:{port}/#/experiments?{TRAINING}"
    print(f"MLflow shows {tracking.uri} at {address} in some 15 seconds; Ctrl-C ends it", flush=True)
    command, environment = ui_command(tracking, host=host, port=port)
    os.execve(command[0], command, environment)  # noqa: S606


def _opened(tracking: MlflowTracking) -> MlflowClient:
    """A client; a store that is not there is not made."""
    path = sqlite_path(tracking.uri)
    if path is not None and not path.exists():
        raise StoreError(str(path), "there are no runs here yet", "run something first, or name another place with outputs=FOLDER")
    try:
        return connect(tracking.uri)
    except Exception as cause:
        raise StoreError(tracking.uri, f"MLflow cannot be reached: {reason(cause)}", "is the server up?") from cause


def _free_port(host: str, port: int) -> int:
    try:
        with socket.create_server((host, port)) as found:
            return int(found.getsockname()[1])
    except OSError as cause:
        raise ConfigError(
            "port", f"{host}:{port} cannot be used ({cause.strerror})", "choose another port, or 0 for any free one"
        ) from cause


def _search(client: MlflowClient, experiment: str, parent: str | None, sort: str | None) -> list[Run]:
    places = _experiments(client, experiment)
    order = [f"metrics.`{_quoted(sort)}` DESC"] if sort and "/" in sort else ["attributes.start_time DESC"]
    words = f"tags.`mlflow.parentRunId` = '{_sweep(client, places, parent)}'" if parent else ""
    found: list[Run] = list(client.search_runs(places, words, order_by=order, max_results=_LOOKED_AT))
    return found


def _experiments(client: MlflowClient, name: str) -> list[str]:
    known = {experiment.name: experiment.experiment_id for experiment in client.search_experiments()}
    if name == "*":
        return list(known.values())
    if name not in known:
        raise ConfigError("tracking.experiment", f"there is no experiment {name!r}", near(name, known))
    return [known[name]]


def _sweep(client: MlflowClient, places: Sequence[str], parent: str) -> str:
    """The run id of the newest sweep with this name, or the id itself."""
    words = f"attributes.run_name = '{_quoted(parent)}' and tags.`geohydra.kind` = 'sweep'"
    named = client.search_runs(list(places), words, order_by=["attributes.start_time DESC"], max_results=1)
    return str(named[0].info.run_id) if named else _quoted(parent)


def _quoted(text: str) -> str:
    return text.replace("'", "").replace("`", "")


def _ranked(runs: Sequence[Run], sort: str | None, ascending: bool) -> list[Run]:
    """By numbers where they are numbers; runs that lack the value last, whichever way."""
    if not sort or not runs:
        return list(runs)
    having = [run for run in runs if _value(run, sort) is not None]
    if not having:
        known = {name for run in runs for name in (*run.data.metrics, *run.data.params)}
        raise ConfigError("sort", f"no run has {sort!r}", near(sort, known))
    ranked = sorted(having, key=lambda run: _order(_value(run, sort)), reverse=not ascending)
    return ranked + [run for run in runs if _value(run, sort) is None]


def _order(value: Any) -> tuple[bool, float, str]:
    return (True, float(value), "") if isinstance(value, int | float) else (False, 0.0, str(value))


def _value(run: Run, name: str) -> Any:
    """A metric, else a parameter, else a tag; numbers as numbers."""
    if name in run.data.metrics:
        return run.data.metrics[name]
    text = run.data.params.get(name, run.data.tags.get(name))
    try:
        return None if text is None else float(text) if "_" not in text else text
    except ValueError:
        return text


def _about(run: Run) -> tuple[str, str, str, float | None]:
    started, ended = run.info.start_time, run.info.end_time
    when = datetime.fromtimestamp(started / 1000).strftime("%Y-%m-%d %H:%M")
    return run.info.run_name, run.info.status.lower(), when, None if ended is None else round((ended - started) / 60000, 1)


def _telling(runs: Sequence[Run], sort: str | None) -> tuple[str, ...]:
    """What is worth a column: what it is sorted by, scores on validation and test data, what was overridden."""
    first = [sort] if sort else []
    kind = (sort or "").rpartition("/")[2]
    scores = _most({name for name in run.data.metrics if name.count("/") == 1 and name.startswith(("val/", "test/"))} for run in runs)
    overrides = _most({pair.partition("=")[0].lstrip("+") for pair in run.data.tags.get("geohydra.overrides", "").split()} for run in runs)
    scores.sort(key=lambda name: name.rpartition("/")[2] != kind)
    return tuple(dict.fromkeys([*first, *scores[:4], *_differing(runs, overrides)[:4]]))


def _most(groups: Iterable[set[str]]) -> list[str]:
    """Names by how many runs have them, then by name."""
    counts: dict[str, int] = {}
    for group in groups:
        for name in group:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def _differing(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    return [name for name in names if len({_value(run, name) for run in runs}) > 1]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
