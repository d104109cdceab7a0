"""Tracking with MLflow: what conf/tracking/mlflow.yaml names. Imports no mlflow: that happens in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from geohydra import storage
from geohydra.credentials import refuse_credentials
from geohydra.tracking.address import check_uri, is_served
from geohydra.tracking.journal import Journal
from geohydra.tracking.params import git_commit, job_params, run_tags, summary, swept_numbers
from geohydra.tracking.protocols import Destination, Kind, Record, Shipping
from geohydra.tracking.shipper import start_shipper


class MlflowTracking:
    """MLflow at any tracking URI; without one, an sqlite file and artefacts in `folder`.

    `uri`: `http(s)://...`, `sqlite:///...`, `postgresql://...`; never with a password in it.
    `artifacts`: root of the artefacts where no server decides on it.
    """

    def __init__(
        self,
        *,
        uri: str | None = None,
        experiment: Annotated[str, Field(min_length=1)] = "geohydra",
        folder: str = "outputs",
        artifacts: str | None = None,
    ) -> None:
        if uri:
            check_uri(uri, where="uri")
        here = Path(storage.absolute(folder))
        self.uri = uri or f"sqlite:///{here / 'mlflow.db'}"
        self.experiment = experiment
        self.artifacts = "" if is_served(self.uri) else artifacts or (here / "mlartifacts").as_uri()

    @property
    def address(self) -> str:
        """Where the runs can be looked at, for a person to read."""
        return self.uri if self.uri.startswith("http") else f"{self.uri.removeprefix('sqlite:///')} (look with: geohydra ui)"

    def open(
        self,
        folder: Path,
        *,
        name: str,
        kind: Kind,
        config: Mapping[str, Any],
        overrides: Sequence[str] = (),
        number: int | None = None,
        parent: Path | None = None,
    ) -> Record:
        """The record of one run. A run that is not part of a sweep attaches to MLFLOW_RUN_ID if the environment has it.

        Raises ConfigError where the config or an override holds what looks like a credential: many may read what is tracked.
        """
        refuse_credentials(config)
        refuse_credentials(list(overrides), "overrides")
        attach = "" if parent else os.environ.get("MLFLOW_RUN_ID", "")
        journal = Journal.create(
            folder,
            experiment=self.experiment,
            run_name=name,
            tags={
                **run_tags(kind, overrides, number=number, commit=git_commit(Path.cwd())),
                "mlflow.note.content": summary(config, overrides),
            },
            parent=parent,
            destination=Destination(self.uri, self.artifacts, attach),
        )
        journal.params(job_params(config))
        if kind != "sweep":
            journal.metrics(swept_numbers(overrides))
        journal.text("config.yaml", _yaml(config))
        return journal

    def start_shipper(self, folders: Sequence[Path] = (), *, log: Path | None = None) -> Shipping:
        """A process that ships these journals, and those that are added."""
        return start_shipper(folders, log=log)


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    """Dicts, lists, numbers and text only, as YAML's safe writer wants them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
