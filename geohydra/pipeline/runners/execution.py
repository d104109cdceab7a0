"""One run of one plan on this machine: which step starts when, what is done when one ends, and how all of it stops."""

from __future__ import annotations

import graphlib
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from geohydra import storage
from geohydra.pipeline.guards import unmet
from geohydra.pipeline.runners import Failure, GivingUp, Listener, Outcome, StepOutcome, StepStatus, job_statuses
from geohydra.pipeline.runners.budget import Budget, Grant
from geohydra.pipeline.runners.interrupt import Interrupts
from geohydra.pipeline.runners.process import StepProcess
from geohydra.pipeline.runners.server import fork_server
from geohydra.pipeline.runners.stored import locate, stored_steps
from geohydra.pipeline.runners.worker import Order, environment_of
from geohydra.plan import Plan
from geohydra.work import Request, discard


class Settings(Protocol):
    """What of a runner's configuration counts while a plan runs."""

    parallel: int
    retries: int
    grace: float

    def warm(self) -> None:
        """Start what takes time to start."""


class Execution:
    """The state of a run. All of it lives in one thread."""

    def __init__(self, plan: Plan, *, store: str, folder: Path, budget: Budget, listener: Listener, settings: Settings) -> None:
        self._plan = plan
        self._store = store
        self._logs = folder.absolute() / "logs"
        self._budget = budget
        self._listener = listener
        self._settings = settings
        self._server = fork_server()
        self._steps = {step.id: step for step in plan.steps}
        self._uris = locate(plan, store)
        self._ready: list[str] = []
        self._running: dict[str, tuple[StepProcess, Grant]] = {}
        self._outcomes: dict[str, StepOutcome] = {}
        self._attempts: Counter[str] = Counter()
        self._began: dict[str, float] = {}
        self._kill_at: float | None = None

    def run(self) -> Outcome:
        """From the first step to the last, or to Ctrl-C. Whatever happens, no process stays."""
        stored = stored_steps(self._plan, self._store)
        missing = [step for step in self._plan.steps if step.id not in stored]
        for step in missing:
            self._budget.check(step.role)
        for identity, seconds in stored.items():
            self._tell(StepOutcome(identity, "stored", self._uris[identity], seconds))
        self._sorter = graphlib.TopologicalSorter({step.id: set(step.before) - set(stored) for step in missing})
        self._sorter.prepare()
        if missing:
            self._perform()
        return Outcome(self._outcomes, job_statuses(self._plan, self._outcomes))

    def _perform(self) -> None:
        with storage.writing(str(self._logs)):
            self._logs.mkdir(parents=True, exist_ok=True)
        self._settings.warm()
        with Interrupts() as interrupts:
            try:
                while self._start_ready():
                    self._wait(interrupts)
            finally:
                for process, _ in self._running.values():
                    process.close()
        for identity in [identity for identity in self._steps if identity not in self._outcomes]:
            self._tell(StepOutcome(identity, "cancelled", self._uris[identity]))

    def _start_ready(self) -> bool:
        """Start what can start; False once nothing runs and nothing will."""
        if self._kill_at is not None:
            return bool(self._running)
        self._collect_ready()
        if self._server.waiting() is None:
            for identity in list(self._ready):
                is_free = len(self._running) < self._settings.parallel and self._is_due(identity)
                if is_free and (grant := self._budget.take(self._steps[identity].role)):
                    self._ready.remove(identity)
                    self._start(identity, grant)
        return bool(self._running or self._ready)

    def _is_due(self, identity: str) -> bool:
        """Whether the step serves one of the jobs that may be under way: the first ones that have not ended."""
        if self._plan.at_once is None:
            return True
        pending = {name for step in self._plan.steps if step.id not in self._outcomes for name in step.jobs}
        due = [job.name for job in self._plan.jobs if job.name in pending][: self._plan.at_once]
        return not set(due).isdisjoint(self._steps[identity].jobs)

    def _collect_ready(self) -> None:
        while self._sorter.is_active() and (ready := self._sorter.get_ready()):
            for identity in ready:
                step = self._steps[identity]
                missing = [need for need in step.before if self._outcomes[need].status not in ("done", "stored")]
                if missing:
                    self._settle(identity, "skipped", Failure(f"step {identity}", f"not run, because {missing[0]} is missing"))
                elif step.when and (why := unmet(step.when, [self._uris[need] for need in step.needs.values()])):
                    self._settle(identity, "withheld", Failure(f"step {identity}", why))
                else:
                    self._ready.append(identity)
        self._ready.sort(key=list(self._steps).index)

    def _start(self, identity: str, grant: Grant) -> None:
        step = self._steps[identity]
        needs = {name: self._uris[need] for name, need in step.needs.items()}
        self._attempts[identity] += 1
        self._began.setdefault(identity, time.monotonic())
        resources = grant.resources
        order = Order(
            identity,
            Request(step.step, step.config, needs, self._store, resources, step.shard, tuple(self._uris[part] for part in step.parts)),
            self._log(identity),
            str(Path.cwd()),
            {**os.environ, **environment_of(resources.cpu, grant.gpus, resources.device)},
            self._attempts[identity],
        )
        self._tell(self._outcome(identity, "running"))
        try:
            self._running[identity] = StepProcess(order, self._server), grant
        except (OSError, EOFError) as error:
            self._budget.give_back(grant)
            self._conclude(identity, {"failure": Failure(f"step {identity}", f"no process could be started ({error})"), "again": True})

    def _wait(self, interrupts: Interrupts) -> None:
        """Until something happens; then deal with all that has."""
        watched: list[Connection | int] = [interrupts.fileno()]
        if self._ready and (warming := self._server.waiting()) is not None:
            watched.append(warming)
        for process, _ in self._running.values():
            watched += process.handles
        happened = wait(watched, self._patience())
        if interrupts.fileno() in happened:
            interrupts.clear()
            self._stop(at_once=interrupts.count > 1)
        for identity, (process, _) in list(self._running.items()):
            self._hear(identity, process)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _patience(self) -> float:
        """Seconds until something is due even if nothing happens."""
        return 5.0 if self._kill_at is None else max(0.05, self._kill_at - time.monotonic())

    def _hear(self, identity: str, process: StepProcess) -> None:
        gone = process.ended()
        for message in process.messages():
            if "event" in message:
                self._listener.on_event(identity, message["event"])
                if "metrics" in message["event"] and (why := self._hopeless(identity)):
                    self._give_up(identity, why)
                    return
            else:
                self._end(identity, message)
                return
        if gone:
            self._end(identity, {"failure": process.crash(), "again": True})

    def _hopeless(self, identity: str) -> str:
        return self._listener.gives_up(identity) if isinstance(self._listener, GivingUp) else ""

    def _give_up(self, identity: str, why: str) -> None:
        """End it at once, and forget what it had so far: nobody will go on with it."""
        process, grant = self._running.pop(identity)
        process.close()
        self._budget.give_back(grant)
        with suppress(OSError), self._log(identity).open("a") as log:
            log.write(f"given up: {why}\n")
        discard(process.order.request)
        self._settle(identity, "pruned", Failure(f"step {identity}", why))

    def _end(self, identity: str, answer: dict[str, Any]) -> None:
        process, grant = self._running.pop(identity)
        process.close()
        self._budget.give_back(grant)
        self._conclude(identity, answer)

    def _conclude(self, identity: str, answer: dict[str, Any]) -> None:
        failure: Failure | None = answer.get("failure")
        if failure is None:
            self._settle(identity, "done")
        elif self._kill_at is not None:
            self._settle(identity, "cancelled")
        elif answer["again"] and self._attempts[identity] <= self._settings.retries:
            self._tell(self._outcome(identity, "retried", failure))
            self._ready.append(identity)
        else:
            self._settle(identity, "failed", failure)

    def _settle(self, identity: str, status: StepStatus, failure: Failure | None = None) -> None:
        self._tell(self._outcome(identity, status, failure))
        self._sorter.done(identity)

    def _outcome(self, identity: str, status: StepStatus, failure: Failure | None = None) -> StepOutcome:
        began = self._began.get(identity)
        seconds = 0.0 if began is None else time.monotonic() - began
        log = None if began is None else self._log(identity)
        return StepOutcome(identity, status, self._uris[identity], seconds, self._attempts[identity], failure, log)

    def _tell(self, outcome: StepOutcome) -> None:
        if outcome.status not in ("running", "retried"):
            self._outcomes[outcome.id] = outcome
        self._listener.on_step(outcome.id, outcome)

    def _stop(self, *, at_once: bool) -> None:
        """Start nothing more; ask what runs to stop, and do not wait long for it."""
        if self._kill_at is None and self._running:
            self._listener.on_notice(f"stopping {', '.join(self._running)}")
        self._kill_at = time.monotonic() + (0 if at_once else self._settings.grace)
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for process, _ in self._running.values():
            process.signal(number)

    def _log(self, identity: str) -> Path:
        return self._logs / f"{identity.replace('/', '-')}.log"
