"""A plan as one Kubeflow Pipelines file: container components of one shape, no kfp in the step's image.

The config of every step is a pipeline parameter, as JSON text; data passes as URIs; the file is the same, byte for
byte, whenever the plan is the same. The only module that imports kfp.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.errors import ConfigError
from geohydra.identity import canonical, digest
from geohydra.plan import Plan, PlannedStep

LARGEST_CONFIG = 16_000
"""Bytes of a config in the file; a larger one is written into the store and named there."""

SMALLEST_TASK = 400
"""Bytes that a step takes in the graph at least; what is too large by far is refused before kfp works on it for minutes."""

LARGEST_DAG = 100_000
LARGEST_TASK = 100_000
LARGEST_FILE = 1_000_000
LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Compiled:
    """What was written, and how much of a cluster's limits it takes (bytes)."""

    path: Path
    tasks: int
    file: int
    dag: int
    largest_task: int


def compile_plan(plan: Plan, path: Path, *, image: str, store: str, hardware: Mapping[str, Mapping[str, Any]]) -> Compiled:
    """Write the plan as a Kubeflow pipeline.

    `hardware` tells what each role gets: cpu, memory (GB), gpu, device, workers. Raises ConfigError where a cluster
    would refuse the file: an argument over 128 KiB, a workflow over 1 MiB, a name that is too long.
    """
    try:
        from kfp import compiler
    except ImportError as cause:
        raise ConfigError("compile", "the package kfp is not installed", "pip install 'geohydra[kfp]'") from cause
    _within(len(plan.steps) * SMALLEST_TASK, LARGEST_DAG, f"the graph of {len(plan.steps)} steps", "split the sweep into several runs")
    path.parent.mkdir(parents=True, exist_ok=True)
    pipeline = _pipeline(plan, pipeline_name(plan.name), image=image, store=store, hardware=hardware)
    draft = path.with_name(f".{path.stem}.draft.yaml")
    try:
        compiler.Compiler().compile(pipeline, str(draft))
        compiled = _measured(draft, path)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return compiled


def pipeline_name(name: str) -> str:
    """A name that a cluster takes. Raises ConfigError where nothing is left of it, or too much."""
    clean = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not clean:
        raise ConfigError("name", f"{name!r} has no letter that a cluster takes in a name", "use a to z, 0 to 9 and -")
    if len(clean) > LONGEST_NAME:
        raise ConfigError("name", f"{clean!r} has {len(clean)} characters", f"a pipeline's name has at most {LONGEST_NAME}")
    return clean


def _pipeline(plan: Plan, name: str, *, image: str, store: str, hardware: Mapping[str, Mapping[str, Any]]) -> Any:
    from kfp import dsl

    configs = {_parameter(step): _text(step, store) for step in plan.steps}

    def build(*given: Any) -> None:
        values = dict(zip(("store", *configs), given, strict=True))
        tasks: dict[str, Any] = {}
        for step in plan.steps:
            inputs = {need: tasks[identity].outputs["uri"] for need, identity in step.needs.items()}
            component = _component(step, image)
            task = component(config=values[_parameter(step)], store=values["store"], **inputs)
            task.set_display_name(step.id)
            _equip(task, _role(step, hardware))
            tasks[step.id] = task

    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    inputs = [inspect.Parameter("store", named, annotation=str, default=storage.absolute(store))]
    inputs += [inspect.Parameter(key, named, annotation=str, default=text) for key, text in configs.items()]
    _sign(build, name.replace("-", "_"), inputs, f"{len(plan.steps)} steps of geohydra.")
    return dsl.pipeline(name=name)(build)


def _component(step: PlannedStep, image: str) -> Any:
    from kfp import dsl

    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    annotations = dict.fromkeys(("config", "store", *step.needs), str)
    outputs = {"uri": dsl.OutputPath(str), "report": dsl.Output[dsl.HTML], "metrics": dsl.Output[dsl.Metrics]}
    needs = ",".join(sorted(step.needs))

    def container(*_: Any, **__: Any) -> Any:
        command = ["python", "-m", "geohydra.steps", step.step, f"--needs={needs}"]
        return dsl.ContainerSpec(image=image, command=command, args=["--executor-input", "{{$}}"])

    given = [inspect.Parameter(name, named, annotation=kind) for name, kind in {**annotations, **outputs}.items()]
    _sign(container, re.sub(r"\W", "_", step.step), given, f"The step {step.step}.")
    return dsl.container_component(container)


def _sign(function: Any, name: str, given: list[inspect.Parameter], text: str) -> None:
    """Give a closure the name and the signature from which kfp reads an interface."""
    function.__name__ = name
    function.__signature__ = inspect.Signature(given)
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in given}
    function.__doc__ = text


def _equip(task: Any, role: Mapping[str, Any]) -> None:
    """Ask for what the step's role gets; threads and device reach the step through its environment."""
    task.set_cpu_limit(str(role["cpu"])).set_cpu_request(str(role["cpu"]))
    memory = f"{float(role['memory']):g}G"
    task.set_memory_limit(memory).set_memory_request(memory)
    if role.get("gpu"):
        task.set_accelerator_type(role.get("gpu_type") or "nvidia.com/gpu").set_accelerator_limit(int(role["gpu"]))
    resources = {
        "cpu": role["cpu"],
        "memory_gb": float(role["memory"]),
        "device": role.get("device", "auto"),
        "workers": role.get("workers", 0),
    }
    task.set_env_variable("GEOHYDRA_RESOURCES", canonical(resources))
    task.set_caching_options(True)


def _role(step: PlannedStep, hardware: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    if step.role not in hardware:
        raise ConfigError(f"pipeline.steps.{step.id}.role", f"no role {step.role!r} in this hardware", f"it has {', '.join(hardware)}")
    return hardware[step.role]


def _parameter(step: PlannedStep) -> str:
    return f"config_{re.sub(r'[^a-z0-9]', '_', step.id)}"


def _text(step: PlannedStep, store: str) -> str:
    """The step's config as JSON text in which nothing looks like a placeholder; in the store where it is too large."""
    text = canonical(step.config)
    if len(text.encode()) > LARGEST_CONFIG:
        uri = storage.join(storage.absolute(store), "config", f"{digest(step.config)}.json")
        storage.write_bytes(uri, text.encode())
        text = canonical({"$ref": uri})
    return _unplaced(text)


def _unplaced(text: str) -> str:
    """Write `{{` inside strings by its escape, so that no engine takes it for a placeholder; JSON reads it back."""
    return re.sub(r'("(?:[^"\\]|\\.)*")', lambda match: match[0].replace("{{", "{\\u007b"), text)


def _measured(draft: Path, path: Path) -> Compiled:
    import yaml

    content = draft.read_text()
    document = next(iter(yaml.safe_load_all(content)))
    tasks = document["root"]["dag"]["tasks"]
    largest = max(len(json.dumps(task)) for task in tasks.values())
    configs = max(len(str(value.get("defaultValue", ""))) for value in document["root"]["inputDefinitions"]["parameters"].values())
    compiled = Compiled(path, len(tasks), len(content.encode()), len(json.dumps(document["root"])), max(largest, configs))
    _within(compiled.dag, LARGEST_DAG, "the graph", "split the sweep into several runs")
    _within(compiled.largest_task, LARGEST_TASK, "one step", "shorten its config")
    _within(compiled.file, LARGEST_FILE, "the file", "split the sweep into several runs")
    return compiled


def _within(size: int, limit: int, what: str, remedy: str) -> None:
    if size > limit:
        raise ConfigError("compile", f"{what} has {size:,} bytes, and a cluster takes {limit:,}", remedy)
