"""A plan as an engine shall see it: one config a stage, how the steps of a stage differ, which steps of a job stand together.

Pure: nothing of kfp. Jobs of a sweep become graphs of one shape inside the graph, so that a hundred jobs take little more of a
cluster's limits than one: what all have in common is written once, each brings what sets it apart.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geohydra.changes import changes_between, has, parameter_name, value_at
from geohydra.conditions import ALWAYS
from geohydra.errors import ConfigError
from geohydra.identity import canonical
from geohydra.plan import Plan, PlannedJob, PlannedStep

PACKED = "$packed"
"""The one key of a text that was packed, because it says the same many times."""


@dataclass(frozen=True, slots=True)
class Task:
    """A step with the inputs of its container beside config, store and needs. `changes` is "" where its stage has one config."""

    step: PlannedStep
    changes: str
    parameters: tuple[str, ...]

    @property
    def given(self) -> tuple[str, ...]:
        """What else its container is given."""
        known = {"changes": self.changes, "shard": self.step.shard, "parts": self.step.parts}
        return tuple(name for name, value in known.items() if value)

    @property
    def judged_by(self) -> str | None:
        """The parameter that holds its condition, if one does."""
        config = self.step.config
        return next((key for key in self.parameters if has(config, key) and value_at(config, key) == self.step.when), None)

    @property
    def is_guarded(self) -> bool:
        """Whether something has to be asked before it."""
        return bool(self.step.when) and (self.step.when != ALWAYS or self.judged_by is not None)


MOST_FLAT = 80
"""Steps that stand side by side in one graph, at most; where there are more, the shards of each divided step get a graph of their own."""


def folded(tasks: Sequence[Task]) -> dict[str, tuple[Task, ...]]:
    """The shards of each divided step that get a graph of their own, by the id of the step that puts them together."""
    if len(tasks) <= MOST_FLAT:
        return {}
    known = {task.step.id: task for task in tasks}
    return {task.step.id: tuple(known[part] for part in task.step.parts) for task in tasks if task.step.parts}


def width(tasks: Sequence[Task]) -> int:
    """How many steps stand side by side at most, here or in a graph within."""
    inner = [len(shards) for shards in folded(tasks).values()]
    return max([len(tasks) - sum(inner), *(count + 1 for count in inner)])


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that only one job asked for, and what this job is called. `outputs` are the stages that steps outside need."""

    title: str
    tasks: tuple[Task, ...]
    outputs: Mapping[str, str]

    @property
    def inputs(self) -> dict[str, str]:
        """Names of the outputs that come from outside, and the ids of the steps that make them."""
        inside = {task.step.id for task in self.tasks}
        return {need: identity for task in self.tasks for need, identity in task.step.needs.items() if identity not in inside}


@dataclass(frozen=True, slots=True)
class Graph:
    """All that is rendered: steps before the groups, groups, steps that need what groups make. `parameters` are the values of the
    keys that may be changed when a run starts, `places` where each of them goes in a config."""

    shared: tuple[Task, ...]
    groups: tuple[Group, ...]
    last: tuple[Task, ...]
    configs: Mapping[str, Mapping[str, Any]]
    parameters: Mapping[str, Any]
    places: Mapping[str, tuple[str, ...]]

    def words(self, keys: Sequence[str]) -> list[str]:
        """Parameters for a command: nothing where there are none."""
        told = ",".join("+".join(self.places[key]) for key in keys)
        return [f"--parameters={told}"] if told else []

    @property
    def tasks(self) -> Iterator[Task]:
        """Every task."""
        yield from self.shared
        for group in self.groups:
            yield from group.tasks
        yield from self.last


def make_graph(plan: Plan, parameters: Mapping[str, Sequence[str]]) -> Graph:
    """The graph of a plan; `parameters` are keys with all places in the config that follow them. Raises ConfigError for a parameter
    that cannot be one."""
    defaults = {key: _default(plan, key) for key in parameters}
    _refuse_equal_names(list(parameters))
    bases: dict[str, Mapping[str, Any]] = {}
    for step in plan.steps:
        bases.setdefault(step.stage, step.config)
    several = {step.stage for step in plan.steps if step.config != bases[step.stage]}
    tasks = [_task(step, bases[step.stage], step.stage in several, parameters) for step in plan.steps]
    alone = {job.name: [task for task in tasks if len(plan.jobs) > 1 and task.step.jobs == (job.name,)] for job in plan.jobs}
    titles = {job.name: _title(job, plan) for job in plan.jobs}
    groups = tuple(_group(titles[name], mine, plan) for name, mine in alone.items() if len(mine) > 1)
    grouped = {task.step.id for group in groups for task in group.tasks}
    late = _behind(plan, grouped)
    places = {key: (key, *(place for place in follow if place != key)) for key, follow in parameters.items()}
    shared = tuple(task for task in tasks if task.step.id not in grouped | late)
    return Graph(shared, groups, tuple(task for task in tasks if task.step.id in late), bases, defaults, places)


def describe(plan: Plan, graph: Graph, recipes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The plan as the last task needs it: configs of steps come as inputs of their own, those of jobs as what sets them apart, and
    `recipes` by the names of jobs where one of several will be the best."""
    first = plan.jobs[0].config
    tasks = {task.step.id: task for task in graph.tasks}
    return {
        "name": plan.name,
        "config": first,
        "jobs": [
            {
                "name": job.name,
                "overrides": list(job.overrides),
                "steps": dict(job.steps),
                "changes": changes_between(first, job.config),
                **({"recipe": recipes[job.name]} if recipes and job.name in recipes else {}),
            }
            for job in plan.jobs
        ],
        "steps": [
            {
                "id": step.id,
                "stage": step.stage,
                "step": step.step,
                "role": step.role,
                "needs": dict(step.needs),
                "jobs": list(step.jobs),
                "changes": json.loads(tasks[step.id].changes or "[]"),
                **({"when": step.when} if step.when else {}),
                **({"judged_by": key} if (key := tasks[step.id].judged_by) and step.when else {}),
                **({"shard": list(step.shard)} if step.shard else {}),
                **({"parts": list(step.parts)} if step.parts else {}),
            }
            for step in plan.steps
        ],
    }


def pack(value: Any, *, longest: int) -> str:
    """A value as JSON text; packed where that is longer than it should be."""
    text = canonical(value)
    if len(text.encode()) <= longest:
        return text
    return canonical({PACKED: base64.b85encode(zlib.compress(text.encode(), 9)).decode()})


def unpack(text: str) -> Any:
    """The value of such a text."""
    value = json.loads(text)
    if isinstance(value, dict) and set(value) == {PACKED}:
        return json.loads(zlib.decompress(base64.b85decode(value[PACKED])))
    return value


def config_input(stage: str) -> str:
    """The name of the pipeline's input that holds the config of a stage."""
    return f"config_{parameter_name(stage)}"


def _task(step: PlannedStep, base: Mapping[str, Any], differs: bool, parameters: Mapping[str, Sequence[str]]) -> Task:
    changes = changes_between(base, step.config)
    mine = tuple(key for key, places in parameters.items() if any(has(step.config, place) for place in (key, *places)))
    return Task(step, canonical(changes) if differs else "", mine)


def _group(title: str, tasks: Sequence[Task], plan: Plan) -> Group:
    inside = {task.step.id: task.step.stage for task in tasks}
    asked = {need for step in plan.steps if step.id not in inside for need in step.before}
    return Group(title, tuple(tasks), {stage: identity for identity, stage in inside.items() if identity in asked})


def _behind(plan: Plan, grouped: set[str]) -> set[str]:
    """Steps outside the groups that need what a group makes, if only by way of others."""
    late: set[str] = set()
    for step in plan.steps:
        if step.id not in grouped and any(need in grouped | late for need in step.before):
            late.add(step.id)
    return late


def _title(job: PlannedJob, plan: Plan) -> str:
    common = set.intersection(*(set(one.overrides) for one in plan.jobs))
    return " ".join([job.name, *(word for word in job.overrides if word not in common)])[:120]


def _default(plan: Plan, key: str) -> Any:
    where = "pipeline.parameters"
    values = []
    for job in plan.jobs:
        if not has(job.config, key):
            raise ConfigError(where, f"the config has no {key!r}")
        values.append(value_at(job.config, key))
    if any(value != values[0] for value in values):
        raise ConfigError(where, f"{key!r} differs between the jobs of this sweep", "a key is swept or a parameter, not both")
    return values[0]


def _refuse_equal_names(parameters: Sequence[str]) -> None:
    names = [parameter_name(key) for key in parameters]
    taken = {"store", "tracking_run", *(name for name in names if names.count(name) > 1)}
    for key, name in zip(parameters, names, strict=True):
        if name in taken or name.startswith("config_"):
            raise ConfigError("pipeline.parameters", f"{key!r} cannot be told from another input of the pipeline by its name {name!r}")
