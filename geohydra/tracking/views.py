"""Ready-made tables in MLflow's pages: which runs, which columns, sorted by what. A link opens one.

MLflow keeps a shared view as a tag of the experiment; the keys below are those of its pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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
