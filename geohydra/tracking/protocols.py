"""What every kind of tracking does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

Status = Literal["FINISHED", "FAILED", "KILLED"]
Kind = Literal["run", "sweep", "job"]
"""`run`: a single job; `sweep`: the parent of many; `job`: one of them."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a journal shall go: a tracking URI, a root for artefacts if no server decides on it, a run to attach to if any."""

    uri: str = ""
    artifacts: str = ""
    attach: str = ""


@dataclass(frozen=True, slots=True)
class Shipped:
    """How shipping ended: journals that arrived whole, journals that wait for `sync`, and why."""

    whole: int = 0
    waiting: int = 0
    problem: str = ""
    address: str = ""


class Record(Protocol):
    """What is told of one run; see `Journal`."""

    def params(self, values: Mapping[str, str]) -> None:
        """Flat parameters."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags to filter by."""

    def metrics(self, values: Mapping[str, float], *, step: int | None = None, time: float | None = None) -> None:
        """Scalars, of one epoch if `step` is given."""

    def artifact(self, path: Path, to: str = "") -> None:
        """A file or folder."""

    def text(self, name: str, text: str) -> None:
        """A text file."""

    def report(self, step: str, output_uri: str) -> None:
        """The report of a step's output."""

    def model(self, uri: str, name: str, alias: str | None = None) -> None:
        """A folder with an MLflow model, to be registered."""

    def promote(self, job: Path, uri: str, name: str, alias: str) -> None:
        """Point an alias to the version of a registered model that a job, by the folder of its record, has brought."""

    def view(
        self, *, sort: str, columns: Sequence[str], ascending: bool = False, table: str = "", page: str = "", picture: str = ""
    ) -> None:
        """How the jobs of a sweep shall be shown as a table: columns, and the metric that sorts them, the largest first or last.

        In the note of the sweep: a `table` in Markdown, and of its artefacts a `page` to link to and a `picture` to show.
        """

    def end(self, status: Status, error: str = "") -> None:
        """The last word."""


class Shipping(Protocol):
    """A process of its own that ships journals while the run goes on."""

    def add(self, folder: Path) -> None:
        """One more journal."""

    def notices(self) -> list[str]:
        """Sentences for the user since the last call: for example that the server does not answer. Never waits."""

    def wait(self, timeout: float) -> Shipped:
        """Wait until all journals that ended are shipped, at most so many seconds; the process is gone afterwards."""

    def stop(self) -> None:
        """End the process at once; what is not shipped stays on disk."""


@runtime_checkable
class Tracking(Protocol):
    """Built from `conf/tracking/x.yaml`."""

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
        """The record of one run, in a folder of its own, with tags, parameters, config and note already told.

        `parent` is the folder that was given for the sweep; `number` the place of a job in it, from 0.
        """

    def start_shipper(self, folders: Sequence[Path] = (), *, log: Path | None = None) -> Shipping:
        """Start shipping these folders; call it early, it takes seconds to warm up."""

    @property
    def address(self) -> str:
        """Where the runs can be looked at, for a person to read."""
