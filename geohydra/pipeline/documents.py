"""The compiled file after kfp has written it: equal parts once, one document for every engine, one for Kubernetes, within limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geohydra.credentials import refuse_credentials
from geohydra.errors import ConfigError
from geohydra.identity import canonical

LARGEST_ARGUMENT = 100_000
"""Bytes of one argument of a process; the system takes 131,072, and an engine adds something to what stands in the file."""

LARGEST_WORKFLOW = 1_000_000
"""Bytes of the whole graph: a cluster keeps it as one object of at most 1 MiB."""

LONGEST_TASK_NAME = 63

_SPLIT = "sweep fewer jobs at once, divide steps into fewer shards, or shorten the config"


@dataclass(frozen=True, slots=True)
class Compiled:
    """What was written, and how much of a cluster's limits it takes (bytes).

    `path` holds what every engine reads. `kubernetes` holds the same and settings that only Kubernetes knows; None where there are
    none. `upload` is the one for a Kubeflow cluster.
    """

    path: Path
    tasks: int
    file: int
    dag: int
    largest_task: int
    parameters: int = 0
    workflow: int = 0
    kubernetes: Path | None = None
    image: str = ""

    @property
    def sizes(self) -> tuple[tuple[str, int, int], ...]:
        """What is limited, its size, and the limit."""
        return (
            ("largest graph", self.dag, LARGEST_ARGUMENT),
            ("largest step", self.largest_task, LARGEST_ARGUMENT),
            ("all configs", self.parameters, LARGEST_ARGUMENT),
            ("whole workflow", self.workflow, LARGEST_WORKFLOW),
        )

    @property
    def upload(self) -> Path:
        """The file that a Kubeflow cluster gets."""
        return self.kubernetes or self.path


def finish(text: str, spec: dict[str, Any], overlay: dict[str, Any], path: Path) -> Compiled:
    """From what kfp has made to the files: `text` is its draft, of which only comments count where the graph has equal parts.

    Raises ConfigError, and writes nothing, where a cluster would refuse the files.
    """
    if has_twins(spec):
        head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
        spec, overlay = without_twins(spec, overlay)
        texts = [head + _yaml(spec), *([_yaml(overlay)] if overlay else [])]
    else:
        texts = text.split("\n---\n") if overlay else [text]
        texts[0] = texts[0].rstrip("\n") + "\n"
    for place, value in (("the compiled file", spec), ("the compiled file", overlay)):
        refuse_credentials(value, place)
    compiled = _measured(path, spec, overlay, len(texts[0].encode()))
    _write(compiled, texts)
    return compiled


def without_twins(spec: dict[str, Any], overlay: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same graph with equal executors and equal components once: kfp writes those of a nested pipeline for each use."""
    executors = spec["deploymentSpec"]["executors"]
    settings = _settings(overlay)
    labels = _first_of({name: canonical([executor, settings.get(name)]) for name, executor in executors.items()})
    for component in spec["components"].values():
        if "executorLabel" in component:
            component["executorLabel"] = labels[component["executorLabel"]]
    spec["deploymentSpec"]["executors"] = {name: executors[name] for name in executors if labels[name] == name}
    for name in [name for name in settings if labels.get(name, name) != name]:
        del settings[name]
    while True:
        components = spec["components"]
        names = _first_of({name: canonical(component) for name, component in components.items()})
        if all(name == first for name, first in names.items()):
            return spec, overlay
        spec["components"] = {name: components[name] for name in components if names[name] == name}
        for task in _tasks(spec):
            task["componentRef"]["name"] = names[task["componentRef"]["name"]]


def has_twins(spec: Mapping[str, Any]) -> bool:
    """Whether a graph has equal parts, so that it is not written as kfp would."""
    seen = [canonical(executor) for executor in spec["deploymentSpec"]["executors"].values()]
    return len(set(seen)) < len(seen)


def _first_of(contents: Mapping[str, str]) -> dict[str, str]:
    """For each name the first one, in the order of the file, with the same content."""
    firsts: dict[str, str] = {}
    return {name: firsts.setdefault(content, name) for name, content in contents.items()}


def _settings(overlay: Mapping[str, Any]) -> dict[str, Any]:
    found: Any = overlay
    for key in ("platforms", "kubernetes", "deploymentSpec", "executors"):
        found = found.get(key, {})
    settings: dict[str, Any] = found
    return settings


def _dags(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "root", spec["root"]
    yield from ((name, component) for name, component in spec["components"].items() if "dag" in component)


def _tasks(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for _, component in _dags(spec):
        yield from component["dag"]["tasks"].values()


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=True, allow_unicode=True))


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")).encode())


def _measured(path: Path, spec: Mapping[str, Any], overlay: Mapping[str, Any], file: int) -> Compiled:
    inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    compiled = Compiled(
        path,
        tasks=_runs(spec, spec["root"]),
        file=file,
        dag=max(_size(component) for _, component in _dags(spec)),
        largest_task=max(_size(task) for task in _tasks(spec)),
        parameters=sum(_size(value.get("defaultValue", "")) for value in inputs.values()),
        workflow=_size(spec) + _size(overlay),
        kubernetes=path.with_name(f"{path.stem}.kubernetes{path.suffix}") if overlay else None,
    )
    within(compiled.dag, LARGEST_ARGUMENT, "the graph", _remedy(spec))
    within(compiled.largest_task, LARGEST_ARGUMENT, "one step", "shorten its config")
    within(compiled.parameters, LARGEST_ARGUMENT, "the configs of all steps together", _SPLIT)
    within(compiled.workflow, LARGEST_WORKFLOW, "the whole file", _SPLIT)
    for _, component in _dags(spec):
        for name in component["dag"]["tasks"]:
            if len(name) > LONGEST_TASK_NAME:
                problem = f"the task {name!r} has a name of {len(name)} characters, and a cluster takes {LONGEST_TASK_NAME}"
                raise ConfigError("compile", problem, "give the step's module a shorter path")
    return compiled


def _remedy(spec: Mapping[str, Any]) -> str:
    """What to do about the largest graph."""
    _, name, tasks = max((_size(component), name, len(component["dag"]["tasks"])) for name, component in _dags(spec))
    if not name.removeprefix("comp-").endswith("-shards"):
        return _SPLIT
    size = max(_size(component) for _, component in _dags(spec))
    fit = max(1, (tasks - 1) * LARGEST_ARGUMENT // size - 1)
    return f"about {fit} shards fit, in each of all stages: lower pipeline.shards, or have fewer pipeline.parameters"


def _runs(spec: Mapping[str, Any], component: Mapping[str, Any]) -> int:
    """How many containers a component comes to."""
    if "dag" not in component:
        return 1
    return sum(_runs(spec, spec["components"][task["componentRef"]["name"]]) for task in component["dag"]["tasks"].values())


def within(size: int, limit: int, what: str, remedy: str) -> None:
    """Raise ConfigError where something is larger than a cluster takes."""
    if size > limit:
        raise ConfigError("compile", f"{what} has {size:,} bytes, and a cluster takes {limit:,}", remedy)


def _write(compiled: Compiled, texts: list[str]) -> None:
    files = {compiled.path: texts[0]}
    stale = compiled.path.with_name(f"{compiled.path.stem}.kubernetes{compiled.path.suffix}")
    if compiled.kubernetes is not None:
        files[compiled.kubernetes] = "---\n".join(texts)
    else:
        stale.unlink(missing_ok=True)
    for path, text in files.items():
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(text)
        draft.replace(path)
