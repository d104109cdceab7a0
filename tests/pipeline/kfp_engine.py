"""The engine behind the stand-in: `python kfp_engine.py FOLDER` runs a submitted pipeline with kfp's own local runner."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kfp_wire import Refusal, nodes_of, now, pod_of, walk

BELOW = "--"
"""Between the names of a task and of the graphs that it lies in."""


class Engine:
    """Runs, pipelines and schedules, in memory; what is executed lies in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.recurring: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.frames: dict[str, list[dict[str, Any]]] = {}

    @property
    def faults(self) -> dict[str, Any]:
        place = self.folder / "faults.json"
        return dict(json.loads(place.read_text())) if place.exists() else {}

    def spec(self, run: Mapping[str, Any]) -> dict[str, Any]:
        spec = run.get("pipeline_spec")
        if not spec:
            spec = self.versions[run["pipeline_version_reference"]["pipeline_version_id"]]["pipeline_spec"]
        return dict(spec.get("pipeline_spec", spec))

    def create_run(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("experiment_id") not in self.experiments:
            raise Refusal(404, f"Experiment {body.get('experiment_id')} not found")
        spec = self.spec(body)
        known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for name in (body.get("runtime_config") or {}).get("parameters") or {}:
            if name not in known:
                raise Refusal(400, f"Invalid input: parameter {name} is not defined in the pipeline spec")
        identity = str(uuid.uuid4())
        self.runs[identity] = {**body, "run_id": identity, "created_at": now(), "state": "PENDING", "storage_state": "AVAILABLE"}
        self.start(identity)
        return dict(self.runs[identity])

    def start(self, identity: str) -> None:
        if frames := self.frames.pop(identity, None) or self.faults.get("frames"):
            self.frames[identity] = list(frames)
            return
        place = self.folder / identity
        (place / "tasks").mkdir(parents=True, exist_ok=True)
        run = self.runs[identity]
        (place / "spec.yaml").write_text(yaml.safe_dump(told_apart(self.spec(run))))
        (place / "parameters.json").write_text(json.dumps((run.get("runtime_config") or {}).get("parameters") or {}))
        with (place / "engine.log").open("wb") as log:
            command = [sys.executable, __file__, str(place)]
            self.processes[identity] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        run["state"] = "RUNNING"

    def run(self, identity: str) -> dict[str, Any]:
        if identity not in self.runs:
            raise Refusal(404, f"Run {identity} not found")
        run = self.runs[identity]
        tasks = self._scripted(run) if identity in self.frames else self._executed(run)
        if run["state"] in ("SUCCEEDED", "FAILED", "CANCELED"):
            run.setdefault("finished_at", now())
        return {**run, "run_details": {"task_details": nodes_of(self.spec(run), identity, tasks)}}

    def _scripted(self, run: dict[str, Any]) -> dict[str, Any]:
        frames = self.frames[run["run_id"]]
        frame = frames.pop(0) if len(frames) > 1 else frames[0]
        if run["state"] != "CANCELED":
            run["state"] = frame.get("state", "RUNNING")
        if frame.get("error"):
            run["error"] = {"code": 13, "message": frame["error"]}
        return dict(frame.get("tasks", {}))

    def _executed(self, run: dict[str, Any]) -> dict[str, Any]:
        process = self.processes[run["run_id"]]
        code = process.poll()
        if code is not None and run["state"] == "RUNNING":
            run["state"] = "FAILED" if code else "SUCCEEDED"
        places = (self.folder / run["run_id"] / "tasks").glob("*.json")
        return {path.stem.replace(BELOW, "/"): json.loads(path.read_text()) for path in places}

    def terminate(self, identity: str) -> None:
        if identity not in self.runs:
            raise Refusal(404, f"Run {identity} not found")
        process = self.processes.get(identity)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        self.runs[identity]["state"] = "CANCELED"

    def retry(self, identity: str) -> None:
        if identity not in self.runs:
            raise Refusal(404, f"Run {identity} not found")
        if self.runs[identity]["state"] != "FAILED" and not self.frames.get(identity):
            raise Refusal(400, "Invalid input error: Workflow cannot be retried when it has not failed")
        if identity in self.frames:
            return
        self.start(identity)

    def log(self, identity: str, pod: str) -> str:
        path = self.path_of(pod)
        if (text := self.faults.get("logs", {}).get(path[-1])) is not None:
            return str(text)
        place = self.folder / identity / "tasks" / f"{BELOW.join(path)}.log"
        if not place.exists():
            raise Refusal(500, f"Failed to read logs for run {identity}")
        return place.read_text()

    def task_of(self, pod: str) -> str:
        return self.path_of(pod)[-1]

    def path_of(self, pod: str) -> tuple[str, ...]:
        for run in self.runs.values():
            for path, _ in walk(self.spec(run), self.spec(run)["root"]):
                if pod == pod_of(run["run_id"], path):
                    return path
        raise Refusal(404, f"pods {pod!r} not found")

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def told_apart(spec: dict[str, Any]) -> dict[str, Any]:
    """The same pipeline with a component for each task, called by its path: kfp's local runner names folders by components."""
    components: dict[str, Any] = {}

    def apart(component: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        own = copy.deepcopy(dict(component))
        for name, task in own.get("dag", {}).get("tasks", {}).items():
            here = (*path, name)
            components[f"comp-{BELOW.join(here)}"] = apart(spec["components"][task["componentRef"]["name"]], here)
            task["componentRef"]["name"] = f"comp-{BELOW.join(here)}"
        return own

    return {**spec, "root": apart(spec["root"], ()), "components": components}


def execute(folder: Path) -> None:
    """Run a pipeline with kfp's own local runner, each container as a process on this machine, its log and state in a file."""
    from kfp import components, local
    from kfp.local import placeholder_utils, status
    from kfp.local.subprocess_task_handler import SubprocessTaskHandler

    tasks, ids = folder / "tasks", [folder.name]
    random_id = placeholder_utils.make_random_id
    placeholder_utils.make_random_id = lambda: ids.pop() if ids else random_id()  # the first one it makes is the run's

    def run(handler: Any) -> Any:
        given = json.loads(handler.full_command[-1])
        place = (
            given["outputs"]["outputFile"]
            if "outputFile" in given["outputs"]
            else next(iter(given["outputs"]["parameters"].values()))["outputFile"]
        )
        name = Path(place).parent.name
        words = [sys.executable if word in ("python", "python3") else word for word in handler.full_command]
        write(name, "RUNNING")
        with (tasks / f"{name}.log").open("wb") as log:
            code = subprocess.run(words, stdout=log, stderr=log, env={**os.environ, **handler.env_vars}, check=False).returncode
        write(name, "FAILED" if code else "SUCCEEDED")
        return status.Status.FAILURE if code else status.Status.SUCCESS

    def write(name: str, state: str) -> None:
        draft = tasks / f".{name}"
        draft.write_text(json.dumps({"state": state}))
        draft.replace(tasks / f"{name}.json")

    SubprocessTaskHandler.validate_not_container_component = lambda *_: None
    SubprocessTaskHandler.validate_image = lambda *_: None
    SubprocessTaskHandler.run = run
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "root"), raise_on_error=True)
    given = json.loads((folder / "parameters.json").read_text())
    components.load_component_from_file(str(folder / "spec.yaml"))(**given)


if __name__ == "__main__":
    execute(Path(sys.argv[1]))
