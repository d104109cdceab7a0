"""The process in which kfp's local runner works: `python -m geohydra.pipeline.runners.docker_tasks`, for the docker runner alone.

That runner is a singleton which also swaps Python's `print` and root logger: it gets a process of its own. The first line of the
input is the order, as JSON; when the input ends, all containers are stopped. Each line of the output tells of a step, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import docker
from docker.errors import APIError, DockerException
from kfp import components, local
from kfp.local import docker_task_handler, status
from kfp.local.orchestrator import dag_orchestrator, enhanced_dag_orchestrator

from geohydra.pipeline.runners.docker_engine import LABEL, refusal, stop_containers
from geohydra.pipeline.runners.step_log import event_of
from geohydra.steps.__main__ import answer, read_command
from geohydra.work import Request

Tell = Callable[[Mapping[str, Any]], None]

_INDENT = " " * 4
"""What kfp writes in front of every piece of a log."""

_PATIENCE = 10.0
"""Seconds until the engine has told how a container ended, once its log has."""


def main() -> int:
    """Run the pipeline of the order; 0 when all of it was done."""
    order = json.loads(sys.stdin.readline())
    tell = _teller()
    threading.Thread(target=_end_with_runner, args=(order["run"],), daemon=True).start()
    endings = Endings(order["run"])
    docker_task_handler.DockerTaskHandler = partial(StepContainer, order=order, tell=tell, endings=endings)
    # kfp's orchestrator of plain graphs gives up at the first failure; the other goes on with all that does not depend on it.
    dag_orchestrator.run_dag = enhanced_dag_orchestrator.run_enhanced_dag
    environment = {**order["env"], **{name: os.environ[name] for name in order["variables"] if name in os.environ}}
    runner = local.DockerRunner(**order["arguments"], environment=environment, labels={LABEL: order["run"]})
    local.init(runner=runner, pipeline_root=order["root"], raise_on_error=True)
    try:
        components.load_component_from_file(order["file"])()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


class Endings:
    """How the containers of a run ended: what the engine tells while they do, for afterwards it knows nothing of them."""

    def __init__(self, run: str) -> None:
        self._codes: dict[str, int] = {}
        self._starved: set[str] = set()
        self._changed = threading.Condition()
        filters = {"type": "container", "label": f"{LABEL}={run}", "event": ["die", "oom"]}
        events = docker.from_env(timeout=None).events(decode=True, filters=filters)
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def of(self, name: str) -> tuple[int | None, bool]:
        """The exit code of a container, None where nobody knows it, and whether it ran out of memory."""
        with self._changed:
            self._changed.wait_for(lambda: name in self._codes, _PATIENCE)
            return self._codes.get(name), name in self._starved

    def _listen(self, events: Iterator[Mapping[str, Any]]) -> None:
        for event in events:
            about = event["Actor"]["Attributes"]
            with self._changed:
                if event["Action"] == "oom":
                    self._starved.add(about["name"])
                else:
                    self._codes[about["name"]] = int(about["exitCode"])
                self._changed.notify_all()


class StepContainer(docker_task_handler.DockerTaskHandler):  # type: ignore[misc]
    """kfp's handler of one task, with the folders and limits of the step, and without a container where the store has the output."""

    def __init__(self, *, order: Mapping[str, Any], tell: Tell, endings: Endings, **given: Any) -> None:
        super().__init__(**given)
        self._order, self._tell, self._endings = order, tell, endings

    def get_volumes_to_mount(self, client: Any = None) -> dict[str, Any]:
        """kfp's own folder, the store, and what is read."""
        return {**super().get_volumes_to_mount(client), **self._order["volumes"]}

    def run(self) -> status.Status:
        """Perform a task, and tell of it if it is a step."""
        if self.full_command[2] != "geohydra.steps":
            return super().run()
        request, outputs = read_command(self.full_command[3:])
        if (uri := request.found) is not None:
            answer(outputs, uri)
            return status.Status.SUCCESS
        self._tell({"uri": request.uri, "state": "running"})
        ending = self._perform(request)
        if (uri := request.found) is not None:
            answer(outputs, uri)  # again: the container may have been gone before it could
        self._tell({"uri": request.uri, "state": "failed" if uri is None else "done", **ending})
        return status.Status.FAILURE if uri is None else status.Status.SUCCESS

    def _perform(self, request: Request) -> dict[str, Any]:
        """How the container of a step ended, or why there was none."""
        step = self._order["steps"][request.uri]
        name = f"geohydra-{self._order['run']}-{os.urandom(4).hex()}"
        self.runner.container_run_args |= {**step["limits"], "name": name}
        self.env_vars |= step["env"]
        with Path(step["log"]).open("a", errors="backslashreplace") as log:
            lines = Lines(log, lambda event: self._tell({"uri": request.uri, "event": event}))
            try:
                with contextlib.redirect_stdout(lines):
                    super().run()
            except APIError as error:
                problem, hint = refusal(error, self.image)
                return {"problem": problem, "hint": hint}
            except UnicodeDecodeError:
                log.write("the rest of the log cannot be shown: it is no text\n")
                _wait_for(name)
        code, starved = self._endings.of(name)
        return {"code": code, "starved": starved}


class Lines:
    """Takes what kfp prints of a container: line by line into the step's log, and what it tells to whoever watches."""

    def __init__(self, log: TextIO, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._log, self._tell = log, tell
        self._rest = ""

    def write(self, text: str) -> int:
        """A piece of the log, or kfp's indent before one."""
        if text != _INDENT:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._log.write(f"{line}\n")
                if event := event_of(line):
                    self._tell(event)
            self._log.flush()
        return len(text)

    def flush(self) -> None:
        """Every line is written at once."""


def _wait_for(name: str) -> None:
    with contextlib.suppress(DockerException), contextlib.closing(docker.from_env(timeout=None)) as client:
        client.containers.get(name).wait()


def _teller() -> Tell:
    """Writes to what was the output; all that others print goes where errors go."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(message: Mapping[str, Any]) -> None:
        print(json.dumps(message), file=stream, flush=True)

    return tell


def _end_with_runner(run: str) -> None:
    """Whoever started this process holds the other end of its input: when that closes, nothing shall run on."""
    sys.stdin.read()
    with contextlib.closing(docker.from_env()) as client:
        for _ in range(2):  # one may have been on its way to its start
            stop_containers(client, run)
            time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
