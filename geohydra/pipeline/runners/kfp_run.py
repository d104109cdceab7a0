"""One run on a cluster: submitted, watched step by step, and told as if it had run here."""

from __future__ import annotations

import json
import re
import select
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.errors import EngineError
from geohydra.pipeline.graph import make_graph
from geohydra.pipeline.guards import unmet
from geohydra.pipeline.runners import Failure, Listener, Outcome, StepOutcome, StepStatus, job_statuses
from geohydra.pipeline.runners.interrupt import Interrupts
from geohydra.pipeline.runners.kfp import KfpRunner
from geohydra.pipeline.runners.kfp_client import Run, Server
from geohydra.pipeline.runners.kfp_graph import TaskState, may_be_made, state_of, steps_by_path, task_states
from geohydra.pipeline.runners.kfp_package import package, submit
from geohydra.pipeline.runners.kfp_pods import Reason, ending_reason, exit_code, waiting_reason
from geohydra.pipeline.runners.stored import locate, stored_steps
from geohydra.plan import Plan, PlannedStep
from geohydra.work import Request, failure_uri, read_manifest

_LOG_LINES = 12
_FOLLOWED = 8
"""Steps whose pods and logs are looked at while they run; more would cost the server too much."""

_BYTES_A_SECOND = 200_000
"""How fast logs are read: one of 10 MB every 50 seconds."""

_NO_LOG = 30.0
"""Seconds until a log that nobody has is asked for again."""

_PROGRESS = re.compile(r"(\d+)/(\d+) (.*)")


def run_there(runner: KfpRunner, plan: Plan, *, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> Outcome:
    """Submit, unless the store holds all of it, and watch until it ends."""
    there = _There(runner, plan, store, hardware, folder, listener)
    if len(there.made) == len(plan.steps):
        return there.outcome()
    there.begin()
    return there.watch()


@dataclass(slots=True)
class _Seen:
    """What was told of one step so far."""

    status: StepStatus | None = None
    started: float = 0.0
    attempts: int = 0
    waits: str = ""
    since: float = 0.0
    again: float = 0.0
    read: int = 0


class _There:
    def __init__(self, runner: KfpRunner, plan: Plan, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> None:
        self._runner, self._plan, self._store, self._hardware = runner, plan, store, hardware
        self._folder, self._listener = folder, listener
        self._server = Server(runner.access)
        self._places = locate(plan, store)
        self._seen = {step.id: _Seen() for step in plan.steps}
        self._ended: dict[str, StepOutcome] = {}
        self._spec: dict[str, Any] = {}
        self._paths: dict[tuple[str, ...], PlannedStep] = {}
        self._since: datetime | None = None
        self._deaf_since: float | None = None
        self._retries = runner.retries
        self._gave_up = ""
        self.id = ""
        self.made = stored_steps(plan, store)
        for identity, seconds in self.made.items():
            self._end(identity, "stored", seconds=seconds)

    def begin(self) -> None:
        """Submit the plan; where a run of exactly this plan is under way, watch that one."""
        import yaml

        runner, server = self._runner, self._server
        server.check()
        file, cluster = package(runner, self._plan, store=self._store, hardware=self._hardware, path=self._folder / "pipeline.yaml")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._spec = next(iter(yaml.load_all(file.read_text(), Loader=loader)))
        found = steps_by_path(self._spec, self._plan, make_graph(self._plan, runner.parameters))
        order = {step.id: place for place, step in enumerate(self._plan.steps)}
        self._paths = dict(sorted(found.items(), key=lambda pair: order[pair[1].id]))
        self.id, name, told = submit(server, runner, file, cluster, self._plan.name)
        storage.write_bytes(str(self._folder / "kubeflow.json"), json.dumps({"run": self.id, "name": name}).encode())
        self._listener.on_notice(f"{told}: {name}, {server.link('run', self.id)}")

    def leave(self, text: str) -> None:
        """Watch no more; what is not there yet counts as not done."""
        self._listener.on_notice(text)
        self._close("cancelled")

    def outcome(self) -> Outcome:
        """How all steps stand."""
        return Outcome(self._ended, job_statuses(self._plan, self._ended))

    def watch(self) -> Outcome:
        """Until the run has ended, or somebody has had enough of it."""
        with Interrupts() as interrupts:
            while (run := self._look()) is None or not self._is_over(run):
                if _heard(interrupts, self._runner.poll) and self._is_enough(interrupts.count):
                    self.leave(
                        f"left: the run goes on there, and the same command watches it again; `geohydra remote stop {self.id}` stops it"
                    )
                    return self.outcome()
        self._finish(run)
        self._collect()
        return self.outcome()

    def _is_over(self, run: Run) -> bool:
        """Whether it has ended, and for good."""
        if run.state == "FAILED" and self._retries > 0 and self._may_go_on(run):
            self._retries -= 1
            return not self._goes_on()
        return run.is_over

    def _goes_on(self) -> bool:
        """Ask the cluster to; it does not take back a run that is too large for it."""
        try:
            self._server.retry(self.id)
        except EngineError as error:
            self._listener.on_notice(f"pods went away, and the run cannot go on: {error}")
            return False
        self._listener.on_notice("pods went away: the cluster is asked to go on from there")
        return True

    def _is_enough(self, count: int) -> bool:
        """Whether to leave after so many signals; else the run is stopped, and watched until it is."""
        if self._runner.on_interrupt == "leave" or count > 1:
            return True
        self._server.terminate(self.id)
        self._listener.on_notice("stopping the run on the cluster; Ctrl-C again leaves at once")
        return False

    def _look(self) -> Run | None:
        """One look at the run, told to the listener; None where the cluster did not answer, which is borne for a while."""
        run = None
        try:
            run = self._server.run(self.id)
        except EngineError as error:
            self._bear(error)
            return None
        self._deaf_since = None
        self._since = run.created
        tasks = task_states(self._spec, run.nodes)
        running = 0
        for path, step in self._paths.items():
            if step.id in self._ended:
                continue
            task = tasks.get(path)
            if self._is_made(step, task):
                self._tell_done(step)
            elif task is not None and task.state == "failed":
                self._tell_failed(step, task)
            elif task is not None and state_of(task) in ("pending", "running"):
                running += 1
                self._tell_running(step, task, follow=running <= _FOLLOWED)
        return run

    def _tell_failed(self, step: PlannedStep, task: TaskState) -> None:
        """At once, unless the run may go on from there."""
        if not (self._retries and self._why(step, task).again):
            self._fail(step, task)

    def _bear(self, error: EngineError) -> None:
        now = time.monotonic()
        if self._deaf_since is None:
            self._listener.on_notice(f"{error.problem}: the run goes on there, looking again")
            self._deaf_since = now
        if not error.passing or now - self._deaf_since >= self._runner.patience:
            raise error

    def _is_made(self, step: PlannedStep, task: TaskState | None) -> bool:
        """Whether its output stands in the store; asked only where its task may have ended."""
        return task is not None and may_be_made(task) and read_manifest(self._places[step.id]) is not None

    def _tell_done(self, step: PlannedStep) -> None:
        seen = self._seen[step.id]
        manifest = read_manifest(self._places[step.id]) or {}
        if seen.status is None:
            self._start(step.id)
        self._end(step.id, "done", seconds=float(manifest.get("seconds", 0.0)))

    def _tell_running(self, step: PlannedStep, task: TaskState, *, follow: bool) -> None:
        seen = self._seen[step.id]
        if not task.pods and seen.status is None:
            return
        if len(task.pods) > max(seen.attempts, 1):
            self._tell_retried(step, task)
        if seen.status is None:
            self._start(step.id)
        seen.attempts = max(len(task.pods), 1)
        if follow and time.monotonic() >= seen.again:
            (self._tell_waiting if state_of(task) == "pending" else self._follow)(step, task)

    def _tell_waiting(self, step: PlannedStep, task: TaskState) -> None:
        """Why its pod does not start. A pod that never will is waited for as long as a cluster that is silent."""
        seen, names = self._seen[step.id], _pod_names(task)
        message = task.pods[-1].message if task.pods else task.message
        reason = waiting_reason(self._server.pod(names), self._server.events(names), message, step)
        if reason is None:
            return
        if str(reason) != seen.waits:
            seen.waits, seen.since = str(reason), time.monotonic()
            self._listener.on_event(step.id, {"text": f"waits for its pod: {reason}", "waiting": True})
        if reason.lasting and time.monotonic() - seen.since >= self._runner.patience:
            self._server.terminate(self.id)
            self._gave_up = step.id
            self._end(step.id, "failed", error=self._failure(step, reason))

    def _tell_retried(self, step: PlannedStep, task: TaskState) -> None:
        reason = self._why(step, TaskState("failed", task.message, task.pods[:-1]))
        seen = self._seen[step.id]
        took = time.monotonic() - seen.started
        outcome = StepOutcome(step.id, "retried", self._places[step.id], took, seen.attempts, self._failure(step, reason))
        self._listener.on_step(step.id, outcome)
        seen.status, seen.read, seen.again = None, 0, 0.0

    def _follow(self, step: PlannedStep, task: TaskState) -> None:
        """The new lines of a pod's log, as what the step itself would tell."""
        seen = self._seen[step.id]
        text = self._server.log(self.id, _pod_names(task))
        lines = text.rpartition("\n")[0].splitlines()
        for line in lines[seen.read :]:
            if event := _event(line):
                self._listener.on_event(step.id, event)
        seen.read = max(seen.read, len(lines))
        seen.again = time.monotonic() + (len(text) / _BYTES_A_SECOND if text else _NO_LOG)

    def _start(self, identity: str) -> None:
        seen = self._seen[identity]
        seen.status, seen.started = "running", time.monotonic()
        self._listener.on_step(identity, StepOutcome(identity, "running", self._places[identity], attempts=max(seen.attempts, 1)))

    def _end(
        self, identity: str, status: StepStatus, *, seconds: float = 0.0, error: Failure | None = None, log: Path | None = None
    ) -> None:
        attempts = self._seen[identity].attempts
        self._ended[identity] = StepOutcome(identity, status, self._places[identity], seconds, attempts, error, log)
        self._listener.on_step(identity, self._ended[identity])

    def _may_go_on(self, run: Run) -> bool:
        """Whether all that failed did so because of the cluster, for a moment."""
        failed = [(step, task) for step, task in self._tasks(run) if task is not None and task.state == "failed"]
        lost = any(outcome.status == "failed" for outcome in self._ended.values())
        return bool(failed) and not lost and all(self._why(step, task).again for step, task in failed)

    def _tasks(self, run: Run) -> list[tuple[PlannedStep, TaskState | None]]:
        tasks = task_states(self._spec, run.nodes)
        return [(step, tasks.get(path)) for path, step in self._paths.items() if step.id not in self._ended]

    def _finish(self, run: Run) -> None:
        """Settle every step that has not ended: by the store first, then by what the cluster says of it."""
        left = {step.id: task for step, task in self._tasks(run)}
        for step in self._plan.steps:
            if step.id in self._ended:
                continue
            task = left.get(step.id)
            if read_manifest(self._places[step.id]) is not None:
                self._tell_done(step)
            elif missing := [need for need in step.before if self._ended[need].status not in ("done", "stored")]:
                stopped = run.state == "CANCELED" and all(self._ended[need].status == "cancelled" for need in missing)
                why = None if stopped else Failure(f"step {step.id}", f"not run, because {missing[0]} is missing")
                self._end(step.id, "cancelled" if stopped else "skipped", error=why)
            elif step.when and (unmet_now := unmet(step.when, [self._places[identity] for identity in step.needs.values()])):
                self._end(step.id, "withheld", error=Failure(f"step {step.id}", unmet_now))
            elif self._gave_up:
                self._end(step.id, "skipped", error=Failure(f"step {step.id}", f"stopped, because {self._gave_up} cannot start"))
            elif run.state == "CANCELED" and (task is None or task.state != "failed"):
                self._end(step.id, "cancelled")
            else:
                self._fail(step, task or TaskState("failed", run.error))
        self._listener.on_notice(f"{run.state.lower()}: {self._server.link('run', self.id)}")

    def _fail(self, step: PlannedStep, task: TaskState) -> None:
        names, seen = _pod_names(task), self._seen[step.id]
        text = self._server.log(self.id, names)
        log = self._folder / "logs" / f"{step.id}.log" if text else None
        if log is not None:
            storage.write_bytes(str(log), text.encode())
            lines = text.rstrip().splitlines()
            shown = "\n".join(f"  | {line}" for line in lines[-_LOG_LINES:])
            self._listener.on_notice(f"the end of the log of {step.id} ({len(lines)} lines, all in {log}):\n{shown}")
        took = time.monotonic() - seen.started if seen.started else 0.0
        self._end(step.id, "failed", seconds=took, error=self._failure(step, self._why(step, task)), log=log)

    def _failure(self, step: PlannedStep, reason: Reason) -> Failure:
        return Failure(f"step {step.id}", reason.problem, reason.hint)

    def _why(self, step: PlannedStep, task: TaskState) -> Reason:
        """Why a task failed: its pod knows of memory and eviction, the step's own note of the rest."""
        names = _pod_names(task)
        pod = self._server.pod(names)
        message = " ".join(dict.fromkeys([task.message, *(one.message for one in task.pods[-1:])])).strip()
        memory = (self._hardware.get(step.role) or {}).get("memory")
        if reason := ending_reason(pod, message, step, memory):
            return reason
        if told := self._note(step):
            return Reason(*_parted(told))
        if task.state == "done":
            hint = "run it again with runner.cache=false"
            return Reason("the cluster took it from its own cache, and the store does not hold it any more", hint)
        code = exit_code(pod)
        said = message or (f"its container ended with exit code {code}" if code else "it left neither an output nor a word")
        return Reason(said, f"see its log: {self._server.link('run', self.id)}")

    def _note(self, step: PlannedStep) -> str:
        """What the step itself left about its failure in this run."""
        needs = {need: self._places[identity] for need, identity in step.needs.items()}
        place = failure_uri(Request(step.step, step.config, needs, self._store, shard=step.shard))
        with suppress(FileNotFoundError):
            note = json.loads(storage.read_bytes(place))
            if self._since is None or datetime.fromisoformat(note["time"]).timestamp() >= int(self._since.timestamp()):
                return str(note["told"])
        return ""

    def _close(self, status: StepStatus) -> None:
        for step in self._plan.steps:
            if step.id not in self._ended:
                self._end(step.id, status)

    def _collect(self) -> None:
        """What the run's last task left in the store: its journals too where it could not reach the tracking server."""
        left = storage.join(self._store, "runs", self.id)
        if not storage.exists(left):
            return
        came = storage.fetch(left)
        waiting = [path for path in sorted((came / "journal").rglob("*")) if path.is_file()] if (came / "journal").is_dir() else []
        for path in waiting:
            storage.write_bytes(str(self._folder / "journal" / path.relative_to(came / "journal")), path.read_bytes())
        if waiting:
            text = "MLflow could not be reached from the pods: what they told lies in this run's folder, `geohydra sync` sends it from here"
            self._listener.on_notice(text)


def _heard(interrupts: Interrupts, seconds: float) -> bool:
    """Wait for a while; whether a signal came meanwhile."""
    readable, _, _ = select.select([interrupts], [], [], seconds)
    if readable:
        interrupts.clear()
    return bool(readable)


def _event(line: str) -> dict[str, Any] | None:
    """What a line of a pod's log tells: metrics of an epoch, or progress."""
    if line.startswith("{"):
        with suppress(ValueError):
            told = json.loads(line)
            return told if isinstance(told, dict) and isinstance(told.get("metrics"), dict) else None
        return None
    found = _PROGRESS.fullmatch(line)
    return {"progress": int(found[1]), "total": int(found[2]), "text": found[3]} if found else None


def _pod_names(task: TaskState) -> list[str]:
    """Names that the pod of a task may have: its node's id, or as newer engines build it from the template's name."""
    names: list[str] = []
    for node in reversed(task.pods[-1:]):
        head, _, tail = node.id.rpartition("-")
        made = [f"{head}-{template}-{tail}" for template in ("system-container-impl", "retry-system-container-impl")] if head else []
        names += [name for name in (node.pod, node.id, *made) if name]
    return list(dict.fromkeys(names))


def _parted(told: str) -> tuple[str, str]:
    """A step's own words: problem and hint where it was a mistake of the user, the last line of a traceback else."""
    if "Traceback (most recent call last)" in told:
        return told.strip().splitlines()[-1], "its log tells more"
    problem, _, hint = told.partition("; ")
    return problem, hint
