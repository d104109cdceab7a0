"""One run of one plan in containers: what they are given, what is heard of them, how each step ended."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geohydra import __version__, storage
from geohydra.build import build
from geohydra.pipeline.cluster import Cluster
from geohydra.pipeline.guards import unmet
from geohydra.pipeline.hardware import Role, read_role
from geohydra.pipeline.render import compile_plan
from geohydra.pipeline.runners import Failure, GivingUp, Listener, Outcome, StepOutcome, StepStatus, job_statuses
from geohydra.pipeline.runners.docker import DockerRunner
from geohydra.pipeline.runners.docker_engine import (
    cache_folder,
    connected,
    found_image,
    gpus_of,
    limits_of,
    stop_containers,
    user_of,
)
from geohydra.pipeline.runners.docker_mounts import volumes_of
from geohydra.pipeline.runners.interrupt import Interrupts
from geohydra.pipeline.runners.kfp_pods import ending_reason
from geohydra.pipeline.runners.step_log import parted, told_failure
from geohydra.pipeline.runners.stored import locate, stored_steps
from geohydra.pipeline.runners.worker import environment_of
from geohydra.plan import Plan, PlannedStep
from geohydra.work import Request, forget_given_up, give_up, read_manifest

_OUT_OF_MEMORY = 137
"""With what a container ends that was killed, which its engine does for memory."""


def run_in_containers(
    runner: DockerRunner, plan: Plan, *, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener
) -> Outcome:
    """Perform what the store does not hold."""
    run = _Containers(runner, plan, store, hardware, folder, listener)
    if len(run.ended) < len(plan.steps):
        run.perform()
    return Outcome(run.ended, job_statuses(plan, run.ended))


class _Containers:
    """The state of a run. All of it lives in one thread."""

    def __init__(self, runner: DockerRunner, plan: Plan, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> None:
        self._runner, self._plan, self._store, self._hardware = runner, plan, store, hardware
        self._folder, self._listener = folder.absolute(), listener
        self._places = locate(plan, store)
        self._ids = {uri: identity for identity, uri in self._places.items()}
        self._run = os.urandom(4).hex()
        self._began: dict[str, float] = {}
        self._attempts: Counter[str] = Counter()
        self._since = datetime.now(UTC)
        self._is_stopping = False
        self._hopeless: dict[str, str] = {}
        self.ended: dict[str, StepOutcome] = {}
        for identity, seconds in stored_steps(plan, store).items():
            self._end(identity, "stored", seconds=seconds)

    def perform(self) -> None:
        """From the first container to the last, or to Ctrl-C. Whatever happens, none stays."""
        roles = {step.role: read_role(self._hardware, step.role, where=f"hardware.{step.role}") for step in self._missing}
        log = self._folder / "logs" / "kfp.log"
        with storage.writing(str(self._folder)):
            log.parent.mkdir(parents=True, exist_ok=True)
            if storage.is_local(self._store):
                storage.local_path(self._store).mkdir(parents=True, exist_ok=True)
        forget_given_up(self._store, [self._request(step) for step in self._missing])
        with connected() as client:
            order = self._order(client, roles)
            try:
                with _engine(order, log) as process:
                    self._watch(process)
            finally:
                stop_containers(client, self._run)
                shutil.rmtree(order["root"], ignore_errors=True)
        self._settle(log)

    @property
    def _missing(self) -> list[PlannedStep]:
        return [step for step in self._plan.steps if step.id not in self.ended]

    def _order(self, client: Any, roles: Mapping[str, Role]) -> dict[str, Any]:
        """All that the process of kfp is told."""
        runner, root, cpus = self._runner, self._folder / "kfp", client.info()["NCPU"]
        root.mkdir(exist_ok=True)
        cache = cache_folder({**os.environ, **runner.env})
        cache.mkdir(parents=True, exist_ok=True)
        env = {"HOME": str(Path.home()), "GEOHYDRA_CACHE": str(cache), "HF_HOME": f"{cache}/huggingface", "TORCH_HOME": f"{cache}/torch"}
        arguments = {
            "read_only": True,
            "tmpfs": {"/tmp": "mode=1777"},  # noqa: S108 (of the container)
            "security_opt": ["no-new-privileges"],
            "working_dir": str(Path.cwd()),
            **({"network_mode": runner.network} if runner.network else {}),
            **user_of(client),
        }
        return {
            "run": self._run,
            "file": str(self._compiled(client, roles)),
            "root": str(root),
            "arguments": arguments,
            "env": env | runner.env,
            "variables": list(runner.variables),
            "volumes": volumes_of(self._plan, self._store, cache, runner.folders),
            "steps": {self._places[step.id]: self._given(step, roles[step.role], cpus) for step in self._missing},
        }

    def _given(self, step: PlannedStep, role: Role, cpus: int) -> dict[str, Any]:
        threads = environment_of(role.cpu, (), "auto" if role.gpu else role.device)
        limits = limits_of(role, cpus) if self._runner.limits else gpus_of(role)
        return {"limits": limits, "env": threads, "log": str(self._log(step.id))}

    def _compiled(self, client: Any, roles: Mapping[str, Role]) -> Path:
        """The plan as a file, as it would be for a cluster, with the name by which kfp finds the image here."""
        cluster: Cluster = build(node, where="cluster") if (node := self._plan.jobs[0].config.get("cluster")) else Cluster()
        cluster.report = False  # who is told of the run is told from here
        wanted = self._runner.image or cluster.image or f"geohydra:{__version__}"
        names = {image: found_image(client, image) for image in {role.image or wanted for role in roles.values()}}
        hardware = {name: {**self._hardware[name], **({"image": names[role.image]} if role.image else {})} for name, role in roles.items()}
        compiled = compile_plan(
            self._plan,
            self._folder / "pipeline.yaml",
            store=self._store,
            hardware={**self._hardware, **hardware},
            image=names.get(wanted, wanted),
            cluster=cluster,
        )
        return compiled.path

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Until kfp has gone through the whole graph, or somebody has had enough."""
        rest, heard = b"", process.stdout.fileno()  # type: ignore[union-attr]
        with Interrupts() as interrupts:
            while True:
                readable, _, _ = select.select([heard, interrupts.fileno()], [], [])
                if interrupts.fileno() in readable:
                    interrupts.clear()
                    self._stop(process)
                if heard not in readable:
                    continue
                if not (text := os.read(heard, 65536)):
                    return
                *lines, rest = (rest + text).split(b"\n")
                for line in lines:
                    self._hear(json.loads(line))

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        if not self._is_stopping:
            running = [identity for identity in self._began if identity not in self.ended]
            self._listener.on_notice(f"stopping {', '.join(running) or 'before the next step'}")
        self._is_stopping = True
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]

    def _hear(self, message: Mapping[str, Any]) -> None:
        identity = self._ids[message["uri"]]
        if identity in self.ended:
            return
        if "event" in message:
            self._watch_event(identity, message["event"])
        elif message["state"] == "running":
            self._began.setdefault(identity, time.monotonic())
            self._attempts[identity] += 1
            self._tell(identity, "running")
        elif message["state"] == "done":
            self._end(identity, "done")
        elif why_not := self._hopeless.get(identity):
            self._end(identity, "pruned", error=Failure(f"step {identity}", why_not))
        elif not self._is_stopping:
            step = self._plan.step(identity)
            again = self._attempts[identity] <= int((self._hardware.get(step.role) or {}).get("retries", 0))
            why = self._why(step, message)
            self._tell(identity, "retried", error=why) if again else self._end(identity, "failed", error=why)

    def _watch_event(self, identity: str, event: Mapping[str, Any]) -> None:
        """Tell it; where the one who hears it has no hope any more, ask the step to end."""
        listener = self._listener
        listener.on_event(identity, event)
        if (
            identity not in self._hopeless
            and "metrics" in event
            and isinstance(listener, GivingUp)
            and (why := listener.gives_up(identity))
        ):
            self._hopeless[identity] = why
            give_up(self._request(self._plan.step(identity)), why)

    def _request(self, step: PlannedStep) -> Request:
        needs = {need: self._places[identity] for need, identity in step.needs.items()}
        return Request(step.step, step.config, needs, self._store, shard=step.shard)

    def _why(self, step: PlannedStep, message: Mapping[str, Any]) -> Failure:
        """The engine knows of memory, the step's own note of the rest."""
        where, code = f"step {step.id}", message.get("code")
        if message.get("problem"):
            return Failure(where, message["problem"], message["hint"])
        if code == _OUT_OF_MEMORY or (message.get("starved") and code):
            pod = {"status": {"containerStatuses": [{"name": "main", "state": {"terminated": {"reason": "OOMKilled"}}}]}}
            reason = ending_reason(pod, "", step, (self._hardware.get(step.role) or {}).get("memory"))
            return Failure(where, reason.problem, reason.hint) if reason else Failure(where, "it ran out of memory")
        if told := told_failure(self._request(step), self._since):
            problem, hint = parted(told)
            return Failure(where, problem, hint, code if code in (2, 3, 4) else 5)
        if code == 0:
            hint = f"build the image anew: it has to hold geohydra {__version__} as it is here"
            return Failure(where, "its container ended well, and the output that was planned is not in the store", hint)
        said = "its container was gone before anybody heard how it ended" if code is None else f"its container ended with exit code {code}"
        return Failure(where, said, f"its log tells more: {self._log(step.id)}")

    def _settle(self, log: Path) -> None:
        """Whatever has not ended did not run, for one reason or another."""
        for step in self._missing:
            missing = [need for need in step.before if self.ended[need].status not in ("done", "stored")]
            if read_manifest(self._places[step.id]) is not None:
                self._end(step.id, "done")
            elif self._is_stopping:
                self._end(step.id, "cancelled")
            elif missing:
                self._end(step.id, "skipped", error=Failure(f"step {step.id}", f"not run, because {missing[0]} is missing"))
            elif step.when and (why := unmet(step.when, [self._places[need] for need in step.needs.values()])):
                self._end(step.id, "withheld", error=Failure(f"step {step.id}", why))
            else:
                last = next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "it said nothing")
                why = f"kfp's local runner ended before it was run ({last})"
                self._end(step.id, "failed", error=Failure(f"step {step.id}", why, f"its log tells more: {log}"))

    def _end(self, identity: str, status: StepStatus, *, seconds: float | None = None, error: Failure | None = None) -> None:
        self.ended[identity] = self._tell(identity, status, seconds=seconds, error=error)

    def _tell(self, identity: str, status: StepStatus, *, seconds: float | None = None, error: Failure | None = None) -> StepOutcome:
        began = self._began.get(identity)
        took = seconds if seconds is not None else 0.0 if began is None else time.monotonic() - began
        log = None if began is None else self._log(identity)
        outcome = StepOutcome(identity, status, self._places[identity], took, self._attempts[identity], error, log)
        self._listener.on_step(identity, outcome)
        return outcome

    def _log(self, identity: str) -> Path:
        return self._folder / "logs" / f"{identity.replace('/', '-')}.log"


@contextmanager
def _engine(order: Mapping[str, Any], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of kfp's local runner, in a session of its own: Ctrl-C does not reach it, the end of its input does."""
    command = [sys.executable, "-m", "geohydra.pipeline.runners.docker_tasks"]
    path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        yield process
    finally:
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
