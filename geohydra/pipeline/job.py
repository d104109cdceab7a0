"""What tracking is told of a run: a record for each job, fed while steps run and from what the store already holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.pipeline.failure import failure_report
from geohydra.pipeline.runners import JobStatus, Judge, Listener, Outcome, Runner, StepOutcome, job_status
from geohydra.pipeline.sweep import Recipe, SweepRecord, is_over, rows_of
from geohydra.plan import Plan, PlannedJob, as_dict
from geohydra.tracking import NullJournal, Record, Shipping, Status, Tracking
from geohydra.work import read_manifest

ARRIVED = "in MLflow: "
"""How a notice begins that tells where all of a run can be looked at."""

SHIPPING_SECONDS = 20.0
"""How long the end of a run waits for MLflow."""

_ENDS: Mapping[JobStatus, Status] = {
    "done": "FINISHED",
    "stored": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
    "pruned": "KILLED",
}


def run_jobs(
    plan: Plan,
    *,
    runner: Runner,
    tracking: Tracking,
    store: str,
    hardware: Mapping[str, Any],
    folder: Path,
    listener: Listener,
    sweep: SweepRecord | None = None,
    judge: Judge | None = None,
    recipe: Recipe = lambda _job: "",
) -> Outcome:
    """Run a plan, and tell tracking of every job in it.

    `folder` is the run's own: it gets `plan.json`, `outcome.json`, `logs/`, `journal/` and, where a step failed, `failure.md`. What
    could not be shipped by the end stays there, for `geohydra sync`. The batch of a search is given the `sweep` that it belongs to,
    and a `judge` who gives jobs up. `recipe` writes the best job's config down.
    """
    storage.write_bytes(str(folder / "plan.json"), _json(as_dict(plan)).encode())
    ledger = Ledger(plan, tracking, folder, listener, sweep=sweep, judge=judge, recipe=recipe)
    try:
        outcome = runner.run(plan, store=store, hardware=hardware, folder=folder, listener=ledger)
    except BaseException as error:
        ledger.break_off(str(error) or type(error).__name__)
        raise
    storage.write_bytes(str(folder / "outcome.json"), _json(outcome_as_dict(outcome)).encode())
    if outcome.failures:
        storage.write_bytes(str(folder / "failure.md"), failure_report(plan.name, list(outcome.steps.values())).encode())
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

    def __init__(
        self,
        plan: Plan,
        tracking: Tracking,
        folder: Path,
        listener: Listener,
        *,
        sweep: SweepRecord | None = None,
        judge: Judge | None = None,
        recipe: Recipe = lambda _job: "",
    ) -> None:
        self._plan = plan
        self._listener = listener
        self._run_folder, self._folder = folder, folder / "journal"
        self._judge, self._recipe = judge, recipe
        self._is_batch = sweep is not None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="geohydra-ledger")
        self._troubles: list[str] = []
        self._heard: set[tuple[Any, ...]] = set()
        self._ended: dict[str, StepOutcome] = {}
        self._open: dict[str, PlannedJob] = {job.name: job for job in plan.jobs}
        self._jobs = {step.id: step.jobs for step in plan.steps}
        self._shipping = sweep.shipping if sweep else tracking.start_shipper(log=folder / "logs" / "shipping.log")
        several = len(plan.jobs) > 1
        self._sweep = sweep or (SweepRecord.open(plan, tracking, self._shipping, folder) if several else None)
        self._records = {job.name: self._opened(job, tracking) for job in plan.jobs}

    def folder_of(self, job: PlannedJob) -> Path:
        """Where the journal of a job stands: a single job has no other beside it."""
        return self._folder if self._sweep is None else self._sweep.journal_of(job.name)

    def _opened(self, job: PlannedJob, tracking: Tracking) -> Record:
        """Its record; one that keeps nothing where a killed run of the same sweep has told all of it."""
        journal, number = self.folder_of(job), self._sweep.numbers[job.name] if self._sweep else None
        over = self._sweep is not None and is_over(journal)
        record = NullJournal() if over else _open_job(self._plan, job, tracking, journal, number)
        self._shipping.add(journal)
        return record

    def on_step(self, identity: str, outcome: StepOutcome) -> None:
        """Replay what an ended step reported to every job that asked for it; end the jobs that wait for nothing more."""
        self._listener.on_step(identity, outcome)
        self._pass_notices()
        if outcome.status in ("running", "retried"):
            return
        self._ended[identity] = outcome
        for job in [job for job in self._open.values() if job.name in self._jobs[identity]]:
            self._write(_tell_step, self._records[job.name], job, outcome)
            if all(step in self._ended for step in job.steps.values()):
                self._end(self._open.pop(job.name))

    def on_event(self, identity: str, event: Mapping[str, Any]) -> None:
        """Metrics of an epoch go to every job that asked for the step."""
        self._listener.on_event(identity, event)
        self._pass_notices()
        if "metrics" in event and self._is_new(identity, event):
            for job in self._open.values():
                if job.name in self._jobs[identity]:
                    self._write(_tell_metrics, self._records[job.name], dict(event))
                    if self._judge is not None and event.get("step") is not None:
                        self._judge.hear(job.name, int(event["step"]), event["metrics"])

    def gives_up(self, identity: str) -> str:
        """Why a running step shall be stopped: nobody who asked for it has any hope."""
        if self._judge is None:
            return ""
        reasons = [self._judge.gives_up(job.name) for job in self._open.values() if job.name in self._jobs[identity]]
        return reasons[0] if reasons and all(reasons) else ""

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
        if self._is_batch:
            self._finish()
            return
        if self._sweep is not None:
            self._write(_end_sweep, self._sweep, self._plan, outcome, self._recipe)
        self._finish()
        ship_rest(self._shipping, self._listener.on_notice)

    def break_off(self, error: str) -> None:
        """The run itself could not go on."""
        parent = [self._sweep.record] if self._sweep and not self._is_batch else []
        for record in [*(self._records[name] for name in self._open), *parent]:
            self._write(_end_record, record, "FAILED", error)
        self._finish()
        if not self._is_batch:
            self._shipping.wait(SHIPPING_SECONDS)

    def _end(self, job: PlannedJob) -> None:
        steps = [self._ended[identity] for identity in job.steps.values()]
        errors = [str(step.error) for step in self._ended.values() if step.status == "failed" and job.name in self._jobs[step.id]]
        status = _ENDS[job_status({step.status for step in steps})]
        if errors:
            mine = [step for step in self._ended.values() if job.name in self._jobs[step.id]]
            self._write(self._records[job.name].text, "failure.md", failure_report(job.name, mine))
        if there := _engine_tags(self._run_folder):
            self._write(self._records[job.name].tags, there)
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


def ship_rest(shipping: Shipping, say: Callable[[str], None]) -> None:
    """A bounded wait until all that was told has arrived."""
    try:
        shipped = shipping.wait(SHIPPING_SECONDS)
    except KeyboardInterrupt:
        shipping.stop()
        say("not all of this run is in MLflow yet: `geohydra sync` ships the rest")
        return
    for text in shipping.notices():
        say(text)
    if shipped.waiting:
        why = f" ({shipped.problem})" if shipped.problem else ""
        say(f"not all of this run is in MLflow yet{why}: `geohydra sync` ships the rest")
    elif shipped.address:
        say(f"{ARRIVED}{shipped.address}")


def _engine_tags(folder: Path) -> dict[str, str]:
    """Which run of an engine this is: what its runner noted when it was submitted."""
    place = folder / "kubeflow.json"
    told = json.loads(place.read_text()) if place.exists() else {}
    names = {"run": "kubeflow.run_id", "name": "kubeflow.run_name", "url": "kubeflow.url"}
    return {name: str(told[key]) for key, name in names.items() if told.get(key)}


def _open_job(plan: Plan, job: PlannedJob, tracking: Tracking, folder: Path, number: int | None) -> Record:
    """Its place in a sweep is its `number`; a job that has none stands alone."""
    record = tracking.open(
        folder,
        name=job.name,
        kind="run" if number is None else "job",
        config=job.config,
        overrides=job.overrides,
        number=number,
        parent=None if number is None else folder.parent,
    )
    part = Plan(plan.name, tuple(step for step in plan.steps if step.id in job.steps.values()), (job,))
    record.text("plan.json", _json(as_dict(part)))
    record.text("lock.json", _json(job.config.get("lock", [])))
    return record


def _tell_step(record: Record, job: PlannedJob, outcome: StepOutcome) -> None:
    """A step that is there brings its report, and a model to register if it made one; a failed one its log."""
    if outcome.status == "failed" and outcome.log is not None and outcome.log.exists():
        record.artifact(outcome.log, "logs")
    if outcome.status == "withheld":
        record.tags({"geohydra.withheld": str(outcome.error.problem if outcome.error else outcome.id)})
    if outcome.status not in ("done", "stored"):
        return
    stage = next((name for name, identity in job.steps.items() if identity == outcome.id), None)
    if stage is None:
        return
    record.report(stage, outcome.uri)
    settings = job.config.get("bundle") or {}
    model = _released(job, outcome.uri)
    if settings.get("registered_name") and model and storage.exists(storage.join(model, "MLmodel")):
        record.model(model, str(settings["registered_name"]), settings.get("alias"))


def _released(job: PlannedJob, uri: str) -> str | None:
    """The model that this output releases: a bundle, or where a deploy step decides on that, the bundle that it names."""
    if not (job.config.get("deploy") or {}).get("when"):
        return storage.join(uri, "bundle")
    if not storage.exists(storage.join(uri, "deploy.json")):
        return None
    manifest = read_manifest(uri) or {}
    return storage.join(manifest["needs"]["bundle"], "bundle")


def _tell_metrics(record: Record, event: Mapping[str, Any]) -> None:
    record.metrics(event["metrics"], step=event.get("step"))


def _end_record(record: Record, status: Status, error: str) -> None:
    record.end(status, error)


def _end_sweep(sweep: SweepRecord, plan: Plan, outcome: Outcome, recipe: Recipe) -> None:
    sweep.end(rows_of(plan, outcome), plan.jobs[0].config, recipe)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, default=str, ensure_ascii=False)
