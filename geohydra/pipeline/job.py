"""What tracking is told of a run: a record for each job, fed while steps run and from what the store already holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.build import build
from geohydra.errors import GeohydraError
from geohydra.pipeline.runners import JobStatus, Listener, Outcome, Runner, StepOutcome, job_status
from geohydra.plan import Plan, PlannedJob, as_dict
from geohydra.tracking import Record, Status, Tracking
from geohydra.tracking.comparison import Comparison, JobRow, tell

SHIPPING_SECONDS = 20.0
"""How long the end of a run waits for MLflow."""

_ENDS: Mapping[JobStatus, Status] = {"done": "FINISHED", "stored": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


def run_jobs(
    plan: Plan,
    *,
    runner: Runner,
    tracking: Tracking,
    store: str,
    hardware: Mapping[str, Any],
    folder: Path,
    listener: Listener,
) -> Outcome:
    """Run a plan, and tell tracking of every job in it.

    `folder` is the run's own: it gets `plan.json`, `outcome.json`, `logs/` and `journal/`. What could not be shipped by
    the end stays there, for `geohydra sync`.
    """
    storage.write_bytes(str(folder / "plan.json"), _json(as_dict(plan)).encode())
    ledger = Ledger(plan, tracking, folder, listener)
    try:
        outcome = runner.run(plan, store=store, hardware=hardware, folder=folder, listener=ledger)
    except BaseException as error:
        ledger.break_off(str(error) or type(error).__name__)
        raise
    storage.write_bytes(str(folder / "outcome.json"), _json(outcome_as_dict(outcome)).encode())
    ledger.close(outcome)
    return outcome


def outcome_as_dict(outcome: Outcome) -> dict[str, Any]:
    """How a run ended, as plain data."""
    return {"jobs": dict(outcome.jobs), "steps": [asdict(step) for step in outcome.steps.values()]}


class Ledger:
    """Listens to a run on behalf of tracking, and passes all on to another listener.

    Records are written in a thread of their own, one after the other: a slow disk never holds a step up. Trouble with
    tracking is told, and never ends a run.
    """

    def __init__(self, plan: Plan, tracking: Tracking, folder: Path, listener: Listener) -> None:
        self._plan = plan
        self._listener = listener
        self._folder = folder / "journal"
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="geohydra-ledger")
        self._troubles: list[str] = []
        self._heard: set[tuple[Any, ...]] = set()
        self._ended: dict[str, StepOutcome] = {}
        self._open: dict[str, PlannedJob] = {job.name: job for job in plan.jobs}
        self._shipping = tracking.start_shipper(log=folder / "logs" / "shipping.log")
        self._parent = _open_sweep(plan, tracking, self._folder) if len(plan.jobs) > 1 else None
        self._records = {job.name: _open_job(plan, place, tracking, self.folder_of(job)) for place, job in enumerate(plan.jobs)}
        for journal in [self._folder] * (self._parent is not None) + [self.folder_of(job) for job in plan.jobs]:
            self._shipping.add(journal)

    def folder_of(self, job: PlannedJob) -> Path:
        """Where the journal of a job stands: a single job has no other beside it."""
        return self._folder if len(self._plan.jobs) == 1 else self._folder / re.sub(r"[^\w.-]", "_", job.name)

    def on_step(self, identity: str, outcome: StepOutcome) -> None:
        """Replay what an ended step reported to every job that asked for it; end the jobs that wait for nothing more."""
        self._listener.on_step(identity, outcome)
        self._pass_notices()
        if outcome.status in ("running", "retried"):
            return
        self._ended[identity] = outcome
        for job in [job for job in self._open.values() if identity in job.steps.values()]:
            self._write(_tell_step, self._records[job.name], job, outcome)
            if all(step in self._ended for step in job.steps.values()):
                self._end(self._open.pop(job.name))

    def on_event(self, identity: str, event: Mapping[str, Any]) -> None:
        """Metrics of an epoch go to every job that asked for the step."""
        self._listener.on_event(identity, event)
        self._pass_notices()
        if "metrics" in event and self._is_new(identity, event):
            for job in self._open.values():
                if identity in job.steps.values():
                    self._write(_tell_metrics, self._records[job.name], dict(event))

    def _is_new(self, identity: str, event: Mapping[str, Any]) -> bool:
        """Whether no earlier attempt of the step told the same: one that goes on tells again where it comes from."""
        told = (identity, event.get("step"), tuple(event["metrics"]))
        known = told in self._heard
        self._heard.add(told)
        return not known

    def on_notice(self, text: str) -> None:
        """Not for tracking."""
        self._listener.on_notice(text)

    def close(self, outcome: Outcome) -> None:
        """The last words, and a bounded wait until they have arrived."""
        if self._parent is not None:
            self._write(_end_sweep, self._parent, self._plan, outcome, self._folder.parent / "comparison")
        self._finish()
        try:
            shipped = self._shipping.wait(SHIPPING_SECONDS)
        except KeyboardInterrupt:
            self._shipping.stop()
            self._listener.on_notice("not all of this run is in MLflow yet: `geohydra sync` ships the rest")
            return
        self._pass_notices()
        if shipped.waiting:
            why = f" ({shipped.problem})" if shipped.problem else ""
            self._listener.on_notice(f"not all of this run is in MLflow yet{why}: `geohydra sync` ships the rest")
        elif shipped.address:
            self._listener.on_notice(f"in MLflow: {shipped.address}")

    def break_off(self, error: str) -> None:
        """The run itself could not go on."""
        for record in [*(self._records[name] for name in self._open), *([self._parent] if self._parent else [])]:
            self._write(_end_record, record, "FAILED", error)
        self._finish()
        self._shipping.wait(SHIPPING_SECONDS)

    def _end(self, job: PlannedJob) -> None:
        steps = [self._ended[identity] for identity in job.steps.values()]
        errors = [str(step.error) for step in steps if step.status == "failed"]
        status = _ENDS[job_status({step.status for step in steps})]
        self._write(_end_record, self._records[job.name], status, errors[0] if errors else "")

    def _write(self, call: Callable[..., None], *values: Any) -> None:
        self._writer.submit(self._guarded, call, *values)

    def _guarded(self, call: Callable[..., None], *values: Any) -> None:
        try:
            call(*values)
        except Exception as error:
            self._troubles.append(f"tracking: {error}")

    def _finish(self) -> None:
        self._writer.shutdown(wait=True)
        self._pass_notices()

    def _pass_notices(self) -> None:
        for text in [*dict.fromkeys(self._troubles), *self._shipping.notices()]:
            self._listener.on_notice(text)
        self._troubles.clear()


def _open_sweep(plan: Plan, tracking: Tracking, folder: Path) -> Record:
    record = tracking.open(folder, name=plan.name, kind="sweep", config=_shared([job.config for job in plan.jobs]))
    record.text("plan.json", _json(as_dict(plan)))
    return record


def _open_job(plan: Plan, place: int, tracking: Tracking, folder: Path) -> Record:
    job, alone = plan.jobs[place], len(plan.jobs) == 1
    record = tracking.open(
        folder,
        name=job.name,
        kind="run" if alone else "job",
        config=job.config,
        overrides=job.overrides,
        number=None if alone else place,
        parent=None if alone else folder.parent,
    )
    part = Plan(plan.name, tuple(step for step in plan.steps if step.id in job.steps.values()), (job,))
    record.text("plan.json", _json(as_dict(part)))
    record.text("lock.json", _json(job.config.get("lock", [])))
    return record


def _tell_step(record: Record, job: PlannedJob, outcome: StepOutcome) -> None:
    """A step that is there brings its report, and a model to register if it made one; a failed one its log."""
    if outcome.status == "failed" and outcome.log is not None and outcome.log.exists():
        record.artifact(outcome.log, "logs")
    if outcome.status not in ("done", "stored"):
        return
    stage = next(name for name, identity in job.steps.items() if identity == outcome.id)
    record.report(stage, outcome.uri)
    settings = job.config.get("bundle") or {}
    model = storage.join(outcome.uri, "bundle")
    if settings.get("registered_name") and storage.exists(storage.join(model, "MLmodel")):
        record.model(model, str(settings["registered_name"]), settings.get("alias"))


def _tell_metrics(record: Record, event: Mapping[str, Any]) -> None:
    record.metrics(event["metrics"], step=event.get("step"))


def _end_record(record: Record, status: Status, error: str) -> None:
    record.end(status, error)


def _end_sweep(record: Record, plan: Plan, outcome: Outcome, folder: Path) -> None:
    """The comparison of all jobs, then the last word, which is said even if the comparison cannot be drawn."""
    found = set(outcome.jobs.values())
    status: Status = "KILLED" if "cancelled" in found else "FAILED" if "failed" in found else "FINISHED"
    failed = sum(job == "failed" for job in outcome.jobs.values())
    try:
        rows = [JobRow(job.name, outcome.jobs[job.name], job.overrides, _metrics(job, outcome)) for job in plan.jobs]
        tell(record, Comparison(rows, objective=_objective(plan.jobs[0].config)), folder)
    finally:
        record.end(status, f"{failed} of {len(plan.jobs)} jobs failed" if failed else "")


def _metrics(job: PlannedJob, outcome: Outcome) -> dict[str, float]:
    """The headline metrics of all its steps."""
    known: dict[str, float] = {}
    for step in (outcome.steps[identity] for identity in job.steps.values()):
        place = storage.join(step.uri, "report", "metrics.json")
        if step.status in ("done", "stored") and storage.exists(place):
            known |= json.loads(storage.read_bytes(place))
    return known


def _objective(config: Mapping[str, Any]) -> str | None:
    """The score that chooses a model, as the task names it."""
    try:
        return f"val/{build(config['task'], where='task').monitor}" if "task" in config else None
    except GeohydraError:
        return None


def _shared(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all configs have in common."""
    first, *others = configs
    common: dict[str, Any] = {}
    for key, value in first.items():
        found = [other.get(key) for other in others]
        nodes = [node for node in [value, *found] if isinstance(node, Mapping)]
        if len(nodes) == len(configs):
            common[key] = _shared(nodes)
        elif all(other == value for other in found):
            common[key] = value
    return common


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, default=str, ensure_ascii=False)
