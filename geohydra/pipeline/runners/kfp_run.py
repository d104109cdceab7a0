"""One run on a cluster: submitted, watched step by step, and told as if it had run here."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.errors import EngineError
from geohydra.pipeline.graph import make_graph
from geohydra.pipeline.guards import unmet
from geohydra.pipeline.runners import Failure, GivingUp, Listener, Outcome, StepOutcome, StepStatus, job_statuses
from geohydra.pipeline.runners.interrupt import Interrupts
from geohydra.pipeline.runners.kfp import KfpRunner
from geohydra.pipeline.runners.kfp_client import Run, Server
from geohydra.pipeline.runners.kfp_graph import TaskState, may_be_made, state_of, steps_by_path, task_states
from geohydra.pipeline.runners.kfp_left import collect
from geohydra.pipeline.runners.kfp_package import package, submit
from geohydra.pipeline.runners.kfp_parts import broken_jobs, next_part, not_come_to
from geohydra.pipeline.runners.kfp_pods import Reason, ending_reason, exit_code, pod_names, waiting_reason
from geohydra.pipeline.runners.step_log import event_of, parted, told_failure
from geohydra.pipeline.runners.stored import locate, stored_steps
from geohydra.plan import Plan, PlannedStep
from geohydra.work import Request, forget_given_up, give_up, read_manifest

_LOG_LINES = 12
_FOLLOWED = 8
"""Steps whose pods and logs are looked at while they run; more would cost the server too much."""

_BYTES_A_SECOND = 200_000
"""How fast logs are read: one of 10 MB every 50 seconds."""

_NO_LOG = 30.0
"""Seconds, at most, until a log that nobody has is asked for again."""


def run_there(runner: KfpRunner, plan: Plan, *, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> Outcome:
    """Submit, unless the store holds all of it, and watch until it ends."""
    there = _There(runner, plan, store, hardware, folder, listener)
    if len(there.made) == len(plan.steps):
        return there.outcome()
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
    hopeless: str = ""


class _There:
    def __init__(self, runner: KfpRunner, plan: Plan, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> None:
        self._runner, self._plan, self._part, self._store, self._hardware = runner, plan, plan, store, hardware
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
        self._gave_up, self._stopped = "", False
        self.id = ""
        self.made = stored_steps(plan, store)
        for identity, seconds in self.made.items():
            self._end(identity, "stored", seconds=seconds)

    def begin(self) -> None:
        """Submit the plan, or the next part of it; where a run of exactly this is under way, watch that one."""
        import yaml

        runner, server, part = self._runner, self._server, next_part(self._plan, self._ended)
        server.check()
        file, cluster = package(runner, part, store=self._store, hardware=self._hardware, path=self._folder / "pipeline.yaml")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._spec = next(iter(yaml.load_all(file.read_text(), Loader=loader)))
        found = steps_by_path(self._spec, part, make_graph(part, runner.parameters))
        order = {step.id: place for place, step in enumerate(part.steps)}
        self._paths = dict(sorted(found.items(), key=lambda pair: order[pair[1].id]))
        self._part, self._since = part, None
        forget_given_up(self._store, [self._request(step) for step in part.steps if step.id not in self._ended])
        self.id, name, told = submit(server, runner, file, cluster, part.name)
        link = server.link("run", self.id)
        storage.write_bytes(str(self._folder / "kubeflow.json"), json.dumps({"run": self.id, "name": name, "url": link}).encode())
        self._listener.on_notice(f"{told}: {name}, {link}")

    def outcome(self) -> Outcome:
        """How all steps stand."""
        return Outcome(self._ended, job_statuses(self._plan, self._ended))

    def watch(self) -> Outcome:
        """Until the run has ended, or somebody has had enough of it."""
        with Interrupts() as interrupts:
            while not (self._stopped or self._gave_up) and next_part(self._plan, self._ended).jobs:
                self.begin()
                self._watch_part(interrupts)
        self._close("cancelled" if self._stopped else "skipped")
        return self.outcome()

    def _watch_part(self, interrupts: Interrupts) -> None:
        while (run := self._look()) is None or not self._is_over(run):
            if _heard(interrupts, self._runner.poll) and self._is_enough(interrupts.count):
                how = f"the same command watches it again; `geohydra remote stop {self.id}` stops it"
                self._listener.on_notice(f"left: the run goes on there, and {how}")
                self._stopped = True
                return
        self._finish(run)
        self._collect()

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
        if self._seen[step.id].hopeless or not (self._retries and self._why(step, task).again):
            self._tell_lost(step, task)

    def _tell_lost(self, step: PlannedStep, task: TaskState) -> None:
        if why := self._seen[step.id].hopeless:
            self._end(step.id, "pruned", seconds=self._took(step), error=Failure(f"step {step.id}", why))
        else:
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
        seen, names = self._seen[step.id], pod_names(task)
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
        outcome = StepOutcome(step.id, "retried", self._places[step.id], self._took(step), seen.attempts, self._failure(step, reason))
        self._listener.on_step(step.id, outcome)
        seen.status, seen.read, seen.again = None, 0, 0.0

    def _follow(self, step: PlannedStep, task: TaskState) -> None:
        """The new lines of a pod's log, as what the step itself would tell."""
        seen = self._seen[step.id]
        text = self._server.log(self.id, pod_names(task))
        lines = text.rpartition("\n")[0].splitlines()
        for line in lines[seen.read :]:
            if event := event_of(line):
                self._listener.on_event(step.id, event)
                self._hear(step, event)
        seen.read = max(seen.read, len(lines))
        now = time.monotonic()
        seen.again = now + (len(text) / _BYTES_A_SECOND if text else min(now - seen.started, _NO_LOG))

    def _hear(self, step: PlannedStep, event: Mapping[str, Any]) -> None:
        """A step without hope is asked to end by a note in the store, for a cluster stops whole runs only."""
        seen, listener = self._seen[step.id], self._listener
        if not seen.hopeless and "metrics" in event and isinstance(listener, GivingUp) and (why := listener.gives_up(step.id)):
            seen.hopeless = why
            give_up(self._request(step), why)

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
        """Settle every step that has not ended, but for those that the cluster did not come to: they go into the next run."""
        tasks = {step.id: task for step, task in self._tasks(run)}
        later = self._later(run, tasks)
        for step in self._part.steps:
            if step.id not in self._ended and step.id not in later:
                self._settle(step, tasks.get(step.id), run)
        self._listener.on_notice(f"{run.state.lower()}: {self._server.link('run', self.id)}")
        broken = broken_jobs(self._part, self._ended)
        for step in self._part.steps:
            if step.id in later and broken.issuperset(step.jobs):
                self._end(step.id, "skipped", error=Failure(f"step {step.id}", "not run, because another step of its job failed"))
        if later.difference(self._ended):
            self._listener.on_notice("the cluster started nothing more after that: what it did not come to goes into a new run")
        self._stopped = run.state == "CANCELED"

    def _later(self, run: Run, tasks: Mapping[str, TaskState | None]) -> set[str]:
        """Steps that were not started because another one failed."""
        failed = any(task is not None and task.state == "failed" for task in tasks.values())
        if run.state != "FAILED" or self._gave_up or not (failed or broken_jobs(self._part, self._ended)):
            return set()
        made = {step.id for step in self._part.steps if step.id not in self._ended and read_manifest(self._places[step.id]) is not None}
        later = not_come_to(self._part, self._ended, tasks, made)
        return {identity for identity in later if later.intersection(self._part.step(identity).before) or not self._unmet(identity)}

    def _unmet(self, identity: str) -> str:
        """Why a step is not to be done; "" where it waits for nothing, or where that holds."""
        step = self._part.step(identity)
        return unmet(step.when, [self._places[need] for need in step.needs.values()]) if step.when else ""

    def _status(self, identity: str) -> str:
        return self._ended[identity].status if identity in self._ended else ""

    def _settle(self, step: PlannedStep, task: TaskState | None, run: Run) -> None:
        """By the store first, then by what the cluster says of it."""
        if read_manifest(self._places[step.id]) is not None:
            self._tell_done(step)
        elif missing := [need for need in step.before if self._status(need) not in ("done", "stored")]:
            stopped = run.state == "CANCELED" and all(self._status(need) == "cancelled" for need in missing)
            why = None if stopped else Failure(f"step {step.id}", f"not run, because {missing[0]} is missing")
            self._end(step.id, "cancelled" if stopped else "skipped", error=why)
        elif why_not := self._unmet(step.id):
            self._end(step.id, "withheld", error=Failure(f"step {step.id}", why_not))
        elif self._gave_up:
            self._end(step.id, "skipped", error=Failure(f"step {step.id}", f"stopped, because {self._gave_up} cannot start"))
        elif run.state == "CANCELED" and (task is None or task.state != "failed"):
            self._end(step.id, "cancelled")
        else:
            self._tell_lost(step, task or TaskState("failed", run.error))

    def _fail(self, step: PlannedStep, task: TaskState) -> None:
        text = self._server.log(self.id, pod_names(task))
        log = self._folder / "logs" / f"{step.id}.log" if text else None
        if log is not None:
            storage.write_bytes(str(log), text.encode())
            lines = text.rstrip().splitlines()
            shown = "\n".join(f"  | {line}" for line in lines[-_LOG_LINES:])
            self._listener.on_notice(f"the end of the log of {step.id} ({len(lines)} lines, all in {log}):\n{shown}")
        self._end(step.id, "failed", seconds=self._took(step), error=self._failure(step, self._why(step, task)), log=log)

    def _took(self, step: PlannedStep) -> float:
        started = self._seen[step.id].started
        return time.monotonic() - started if started else 0.0

    def _failure(self, step: PlannedStep, reason: Reason) -> Failure:
        return Failure(f"step {step.id}", reason.problem, reason.hint)

    def _why(self, step: PlannedStep, task: TaskState) -> Reason:
        """Why a task failed: its pod knows of memory and eviction, the step's own note of the rest."""
        names = pod_names(task)
        pod = self._server.pod(names)
        message = " ".join(dict.fromkeys([task.message, *(one.message for one in task.pods[-1:])])).strip()
        memory = (self._hardware.get(step.role) or {}).get("memory")
        if reason := ending_reason(pod, message, step, memory):
            return reason
        if told := self._note(step):
            return Reason(*parted(told))
        if task.state == "done":
            hint = "run it again with runner.cache=false"
            return Reason("the cluster took it from its own cache, and the store does not hold it any more", hint)
        code = exit_code(pod)
        said = message or (f"its container ended with exit code {code}" if code else "it left neither an output nor a word")
        return Reason(said, f"see its log: {self._server.link('run', self.id)}")

    def _note(self, step: PlannedStep) -> str:
        """What the step itself left about its failure in this run."""
        return told_failure(self._request(step), self._since)

    def _request(self, step: PlannedStep) -> Request:
        needs = {need: self._places[identity] for need, identity in step.needs.items()}
        return Request(step.step, step.config, needs, self._store, shard=step.shard)

    def _close(self, status: StepStatus) -> None:
        for step in self._plan.steps:
            if step.id not in self._ended:
                missing = next((need for need in step.before if self._status(need) not in ("done", "stored")), None)
                why = Failure(f"step {step.id}", f"not run, because {missing} is missing") if missing and status == "skipped" else None
                self._end(step.id, status, error=why)

    def _collect(self) -> None:
        """What the run's last task left in the store: its journals too where it could not reach the tracking server."""
        for text in collect(storage.join(self._store, "runs", self.id), self._folder):
            self._listener.on_notice(text)


def _heard(interrupts: Interrupts, seconds: float) -> bool:
    """Wait for a while; whether a signal came meanwhile."""
    readable, _, _ = select.select([interrupts], [], [], seconds)
    if readable:
        interrupts.clear()
    return bool(readable)
