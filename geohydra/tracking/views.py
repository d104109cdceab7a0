"""Ready-made tables in MLflow's pages: which runs, which columns, sorted by what. A link opens one.

MLflow keeps a shared view as a tag of the experiment; the keys below are those of its pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TRAINING = "workflowType=machine_learning"
"""MLflow's pages begin with language models; this asks for training runs."""

_EVERYTHING = "geohydra"
_MOST_SCORES = 8


def set_sweep_view(client: MlflowClient, run: Run, *, sort: str, columns: Sequence[str], ascending: bool = False) -> str:
    """The jobs of a sweep, sorted by a metric; `columns` with a `/` are metrics. Returns the link, from `#` on."""
    key = f"{_EVERYTHING}-{run.info.run_id[:12]}"
    words = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    state = {
        "orderByKey": _metric(sort),
        "orderByAsc": ascending,
        "searchFilter": words,
        "selectedColumns": [_column(name) for name in columns],
    }
    return _set(client, run.info.experiment_id, key, state)


def set_experiment_view(client: MlflowClient, run: Run, overridden: Sequence[str]) -> str:
    """All runs of the experiment, the newest first, with the scores that this run has and what was overridden in it."""
    scores = [name for name in run.data.metrics if name.startswith(("val/", "test/")) and name.count("/") == 1]
    columns = [_metric(name) for name in sorted(scores)[:_MOST_SCORES]] + [_param(name) for name in overridden]
    return _set(client, run.info.experiment_id, _EVERYTHING, {"selectedColumns": ["tags.`geohydra.overrides`", *columns]})


def sweep_note(run: Run, link: str, event: Mapping[str, object]) -> str:
    """What the page of a sweep says first, in Markdown: links to its jobs and their comparison, the best of them, a picture.

    Addresses are relative, so that they hold under whatever name the server is called.
    """
    place = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts"
    parts = [f"[The jobs, sorted by {event['sort']}]({link})"]
    if page := event.get("page"):
        parts[0] += f" · [compared on one page]({place}/{page}?{TRAINING})"
    if table := event.get("table"):
        parts.append(str(table))
    if picture := event.get("picture"):
        parts.append(f"![](get-artifact?path={quote(str(picture), safe='')}&run_uuid={run.info.run_id})")
    return "\n\n".join(parts)


def run_link(experiment: str, run_id: str) -> str:
    """The page of one run, from `#` on."""
    return f"#/experiments/{experiment}/runs/{run_id}?{TRAINING}"


def _set(client: MlflowClient, experiment: str, key: str, state: Mapping[str, object]) -> str:
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{key}", json.dumps(state))
    return f"#/experiments/{experiment}/runs?viewStateShareKey={key}&{TRAINING}"


def _column(name: str) -> str:
    return _metric(name) if "/" in name else _param(name)


def _metric(name: str) -> str:
    return f"metrics.`{name}`"


def _param(name: str) -> str:
    return f"params.`{name}`"
