"""A run of the engine as steps of the plan: which of its tasks is which step, and how each stands. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from geohydra.pipeline.graph import Graph
from geohydra.plan import Plan, PlannedStep

Path = tuple[str, ...]
"""Names of tasks, from the outermost graph to the innermost."""

State = Literal["pending", "running", "done", "failed", "skipped", "cancelled"]

STATES: Mapping[str, State] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "PAUSED": "running",
    "CANCELING": "running",
    "SUCCEEDED": "done",
    "CACHED": "done",
    "SKIPPED": "skipped",
    "OMITTED": "skipped",
    "FAILED": "failed",
    "ERROR": "failed",
    "CANCELED": "cancelled",
}

_POD = re.compile(r"executor(\(\d+\))?$")


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a run as the server tells of it. `children` are the ids of nodes that come after it or lie inside."""

    id: str
    name: str
    state: str
    children: tuple[str, ...] = ()
    pod: str = ""
    message: str = ""


@dataclass(slots=True)
class TaskState:
    """How one task stands; `pods` are its attempts, the last one last."""

    state: State
    message: str = ""
    pods: list[Node] = field(default_factory=list)


def steps_by_path(spec: Mapping[str, Any], plan: Plan, graph: Graph) -> dict[Path, PlannedStep]:
    """The step that each container of a compiled file performs, known by the titles that it and its job were given."""
    alone = {step.id: step for step in plan.steps}
    inside = {group.title: {_title(task.step): task.step for task in group.tasks} for group in graph.groups}
    found = {}
    for path, titles in _containers(spec, spec["root"], (), ()):
        job = next((inside[title] for title in titles[:-1] if title in inside), alone)
        if titles[-1] in job:
            found[path] = job[titles[-1]]
    return found


def task_states(spec: Mapping[str, Any], nodes: Sequence[Node]) -> dict[Path, TaskState]:
    """How every task stands that the server knows of.

    The server tells names without the graphs around them. Which graph a node lies in follows from where it hangs: its name
    belongs to the graph of the node before it, or to one around that.
    """
    by_id = {node.id: node for node in nodes} | {node.pod: node for node in nodes if node.pod}
    whole = _Scope((), spec["root"]["dag"]["tasks"])
    inner = {child for node in nodes for child in node.children}
    first = [node for node in nodes if node.name == "root"] or [node for node in nodes if not {node.id, node.pod} & inner]
    waiting: list[tuple[Node, tuple[_Scope, ...], Path | None]] = [(node, (whole,), None) for node in first]
    found: dict[Path, TaskState] = {}
    seen: set[str] = set()
    while waiting:
        node, scopes, current = waiting.pop(0)
        if node.id in seen:
            continue
        seen.add(node.id)
        depth = next((place for place in reversed(range(len(scopes))) if node.name in scopes[place].tasks), None)
        if depth is not None:
            scopes = scopes[: depth + 1]
            current = (*scopes[-1].path, node.name)
            found[current] = TaskState(STATES.get(node.state, "pending"), node.message)
            component = spec["components"][scopes[-1].tasks[node.name]["componentRef"]["name"]]
            if "dag" in component:
                scopes = (*scopes, _Scope(current, component["dag"]["tasks"]))
        elif _POD.fullmatch(node.name) and current in found:
            found[current].pods.append(node)
        waiting += [(by_id[child], scopes, current) for child in node.children if child in by_id]
    return found


def state_of(task: TaskState) -> State:
    """The state of a step: that of its pod, once it has one."""
    if task.state in ("pending", "running"):
        last = STATES.get(task.pods[-1].state, "pending") if task.pods else "pending"
        return "running" if last in ("running", "done") else "pending"
    return task.state


def may_be_made(task: TaskState) -> bool:
    """Whether it is worth to ask the store for its output."""
    return task.state == "done" or (bool(task.pods) and STATES.get(task.pods[-1].state) == "done")


@dataclass(frozen=True, slots=True)
class _Scope:
    path: Path
    tasks: Mapping[str, Any]


def _containers(
    spec: Mapping[str, Any], component: Mapping[str, Any], path: Path, titles: tuple[str, ...]
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Every task that is a container, with the titles of it and of all that it lies in."""
    for name, task in component["dag"]["tasks"].items():
        inner = spec["components"][task["componentRef"]["name"]]
        here, called = (*path, name), (*titles, str(task["taskInfo"]["name"]))
        if "dag" in inner:
            yield from _containers(spec, inner, here, called)
        else:
            yield here, called


def _title(step: PlannedStep) -> str:
    """What a step is called inside its job."""
    return step.stage + (f".{step.shard[0] + 1}of{step.shard[1]}" if step.shard else "")
