"""Where a plan runs: what every runner takes, says while it runs, and gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from geohydra.errors import GeohydraError
from geohydra.plan import Plan

StepStatus = Literal["running", "retried", "done", "stored", "failed", "skipped", "withheld", "pruned", "cancelled"]
"""`skipped`: something that it needs failed; `withheld`: its condition does not hold; `pruned`: given up, as it had no hope."""

JobStatus = Literal["done", "stored", "failed", "pruned", "cancelled"]

CANCELLED = 130
"""The exit code of a run that was stopped from outside, as shells have it for Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed: a user's mistake as the step told it, else the last line of its traceback and its log."""

    where: str
    problem: str
    hint: str = ""
    exit_code: int = 5

    @classmethod
    def of(cls, error: GeohydraError) -> Failure:
        """An error as data; several at once become one text."""
        problem = error.problem if error.where or error.hint else str(error)
        return cls(error.where, problem, error.hint, error.exit_code)

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{text}; {self.hint}" if self.hint else text


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How a step stands, or ended. `seconds` count all attempts; `log` is None where no process was started."""

    id: str
    status: StepStatus
    uri: str
    seconds: float = 0.0
    attempts: int = 0
    error: Failure | None = None
    log: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, step by step and job by job."""

    steps: Mapping[str, StepOutcome]
    jobs: Mapping[str, JobStatus]

    @property
    def failures(self) -> list[StepOutcome]:
        """Steps that failed by themselves, not those that were skipped for it."""
        return [step for step in self.steps.values() if step.status == "failed"]

    @property
    def exit_code(self) -> int:
        """0 when all is there; 130 when it was stopped; else the code of the errors, 5 where they differ."""
        if any(step.status == "cancelled" for step in self.steps.values()):
            return CANCELLED
        codes = {step.error.exit_code for step in self.failures if step.error}
        return codes.pop() if len(codes) == 1 else 5 if codes else 0


class Listener(Protocol):
    """Watches a run. Called from one thread, and never for long: the run waits meanwhile."""

    def on_step(self, identity: str, outcome: StepOutcome) -> None:
        """A step started, is tried again, or ended."""

    def on_event(self, identity: str, event: Mapping[str, Any]) -> None:
        """A running step tells something; see `geohydra.report.Emit`."""

    def on_notice(self, text: str) -> None:
        """A sentence about the run as a whole."""


@runtime_checkable
class GivingUp(Protocol):
    """A listener that may stop a step which has no hope."""

    def gives_up(self, identity: str) -> str:
        """Why a running step shall be stopped; "" while it shall go on. Asked whenever it told metrics."""


class Judge(Protocol):
    """Decides about jobs by the scores of their epochs."""

    def hear(self, job: str, step: int, metrics: Mapping[str, float]) -> None:
        """The scores of an epoch."""

    def gives_up(self, job: str) -> str:
        """Why a job has no hope; "" where it has."""


@runtime_checkable
class Runner(Protocol):
    """Built from `conf/runner/x.yaml`."""

    def warm(self) -> None:
        """Start what takes time to start, in the background; called once it is known that something has to run."""

    def run(self, plan: Plan, *, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> Outcome:
        """Perform every step of the plan that the store does not hold; logs go below `folder`."""


@runtime_checkable
class Remote(Protocol):
    """A runner whose runs go on without this process."""

    def take(self, parameters: Mapping[str, Sequence[str]], recipes: Mapping[str, str] | None = None) -> None:
        """Keys of the config that can be changed when the run is started again there, each with those that follow it; the configs
        of a sweep's jobs, one of which will be the best, as files."""

    def tells(self, config: Mapping[str, Any]) -> bool:
        """Whether the run itself tells tracking how it went."""


def job_statuses(plan: Plan, steps: Mapping[str, StepOutcome]) -> dict[str, JobStatus]:
    """How each job ended, from how its steps did."""
    return {job.name: job_status({steps[identity].status for identity in job.steps.values()}) for job in plan.jobs}


def job_status(found: set[StepStatus]) -> JobStatus:
    """How a job ended whose steps ended like this."""
    if "pruned" in found and "failed" not in found:
        return "pruned"
    if found & {"failed", "skipped"}:
        return "failed"
    found = found - {"withheld"}
    if found <= {"stored"}:
        return "stored"
    return "done" if found <= {"done", "stored"} else "cancelled"
