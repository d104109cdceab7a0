"""The plan: a DAG of steps with their configs, needs, roles and fingerprints. Pure data, made by a pure function.

N jobs give one plan: equal steps of different jobs are one step.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from geohydra.errors import ConfigError
from geohydra.identity import canonical, digest, fingerprint


@dataclass(frozen=True, slots=True)
class Stage:
    """One entry of `conf/pipeline/*.yaml`: which step, what it needs, which parts of the config it sees.

    `uses` are dotted keys of the composed config; `role` is what it asks of hardware. With a condition `when` on the metrics of
    what it needs, it is done only where that holds. `shards`: into how many steps its work is divided.
    """

    name: str
    step: str
    version: int
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    role: str
    when: str = ""
    shards: int = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One composed config: what it is called, what was overridden, the resolved values, the stages to run."""

    name: str
    config: Mapping[str, Any]
    stages: tuple[Stage, ...]
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step to run once, whoever asked for it. `needs` maps names to ids of other planned steps.

    `stage` is its name in the pipeline. A step whose work is divided names the steps that do it in `parts`, and puts together
    what they made; each of those is a `shard`: the k-th (from 0) of n. `when` is the condition that it waits for.
    """

    id: str
    step: str
    config: Mapping[str, Any]
    needs: Mapping[str, str]
    role: str
    fingerprint: str
    jobs: tuple[str, ...]
    stage: str = ""
    when: str = ""
    shard: tuple[int, int] | None = None
    parts: tuple[str, ...] = ()

    @property
    def before(self) -> tuple[str, ...]:
        """Ids of all steps that end before this one starts."""
        return (*self.needs.values(), *self.parts)


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """Which planned step answers which stage of a job."""

    name: str
    config: Mapping[str, Any]
    overrides: tuple[str, ...]
    steps: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order in which they can run, and the jobs that they serve; `at_once` bounds how many jobs are under way."""

    name: str
    steps: tuple[PlannedStep, ...]
    jobs: tuple[PlannedJob, ...]
    at_once: int | None = None

    def step(self, identity: str) -> PlannedStep:
        """The step with this id."""
        return next(step for step in self.steps if step.id == identity)

    def followers(self, identity: str) -> tuple[PlannedStep, ...]:
        """Steps that need this one directly."""
        return tuple(step for step in self.steps if identity in step.before)

    def whole(self) -> Plan:
        """The same plan without the shards of divided steps: what is shown to people."""
        return Plan(self.name, tuple(step for step in self.steps if step.shard is None), self.jobs)


@dataclass(slots=True)
class _Draft:
    stage: Stage
    config: Mapping[str, Any]
    needs: Mapping[str, str]
    jobs: list[str] = field(default_factory=list)


def make_plan(name: str, jobs: Sequence[Job]) -> Plan:
    """The plan of one or many jobs: same jobs, same plan. Raises ConfigError where stages need each other in a ring."""
    drafts: dict[str, _Draft] = {}
    asked: list[dict[str, str]] = []
    for job in jobs:
        prints: dict[str, str] = {}
        for stage in _ordered(job.stages):
            config = slice_config(job.config, stage.uses)
            needs = {need: prints[need] for need in stage.needs}
            prints[stage.name] = fingerprint(stage.step, version=stage.version, config=config, needs=needs)
            draft = drafts.setdefault(prints[stage.name], _Draft(stage, config, needs))
            if job.name not in draft.jobs:
                draft.jobs.append(job.name)
        asked.append(prints)
    ids = _ids(drafts)
    steps = tuple(step for mark, draft in drafts.items() for step in _planned(mark, draft, ids))
    planned = tuple(
        PlannedJob(job.name, job.config, job.overrides, {stage: ids[mark] for stage, mark in prints.items()})
        for job, prints in zip(jobs, asked, strict=True)
    )
    return Plan(name, _sorted(steps), planned)


def _planned(mark: str, draft: _Draft, ids: Mapping[str, str]) -> Iterator[PlannedStep]:
    """The step of a draft, behind its shards. What the step makes does not depend on them, and so its identity does not."""
    stage, needs = draft.stage, {need: ids[other] for need, other in draft.needs.items()}
    count = stage.shards if stage.shards > 1 else 0
    step = PlannedStep(ids[mark], stage.step, draft.config, needs, stage.role, mark, tuple(draft.jobs), stage.name, stage.when)
    names = tuple(f"{step.id}.{place + 1}of{count}" for place in range(count))
    for place, name in enumerate(names):
        identity = fingerprint(stage.step, version=stage.version, config=draft.config, needs=draft.needs, shard=(place, count))
        yield replace(step, id=name, fingerprint=identity, shard=(place, count))
    yield replace(step, parts=names)


def slice_config(config: Mapping[str, Any], uses: Sequence[str]) -> dict[str, Any]:
    """Only these dotted keys of a config, nested as they were. Raises ConfigError for a key that is not there."""
    part: dict[str, Any] = {}
    for key in uses:
        value: Any = config
        for name in key.split("."):
            if not isinstance(value, Mapping) or name not in value:
                raise ConfigError("pipeline.steps", f"`uses` names {key!r}, which the config does not have")
            value = value[name]
        place = part
        *parents, last = key.split(".")
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    return part


def as_dict(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, for JSON."""
    return {
        "name": plan.name,
        "digest": digest([step.fingerprint for step in plan.steps]),
        "steps": [
            {
                "id": step.id,
                "step": step.step,
                "fingerprint": step.fingerprint,
                "needs": dict(step.needs),
                "role": step.role,
                "jobs": list(step.jobs),
                "config": step.config,
                **({"when": step.when} if step.when else {}),
                **({"shard": list(step.shard)} if step.shard else {}),
                **({"parts": list(step.parts)} if step.parts else {}),
            }
            for step in plan.steps
        ],
        "jobs": [{"name": job.name, "overrides": list(job.overrides), "steps": dict(job.steps)} for job in plan.jobs],
    }


def tree(plan: Plan, *, done: Sequence[str] = ()) -> str:
    """The plan as text: a step stands below the last of the steps it needs, and names the others.

    Then its role, whether its output is stored (`done` ids) or to do, its fingerprint; for a sweep how many jobs it serves.
    """
    plan = plan.whole()
    done = [step.id for step in plan.steps if step.id in done]
    branches = list(_branches(plan))
    wide = max((len(text) for text, _, _ in branches), default=0)
    lines = [_line(plan, text.ljust(wide), step, others, step.id in done) for text, step, others in branches]
    several = len(plan.jobs) > 1
    head = f"{plan.name}: {_count(len(plan.steps), 'step')}{f' for {len(plan.jobs)} jobs' if several else ''}, {len(done)} stored"
    jobs = [f"  {job.name}  {' '.join(job.overrides)}".rstrip() for job in plan.jobs] if several else []
    return "\n".join([head, *lines, *(["jobs", *jobs] if jobs else [])])


def depths(plan: Plan) -> dict[str, int]:
    """How many steps stand before each one, along the longest way."""
    found: dict[str, int] = {}
    for step in plan.steps:
        found[step.id] = max((found[need] + 1 for need in step.before if need in found), default=0)
    return found


def _branches(plan: Plan) -> Iterator[tuple[str, PlannedStep, list[str]]]:
    """Each step behind its branch of the tree, from the roots down, with those of its needs that are not on the branch."""
    deep = depths(plan)
    places = {step.id: place for place, step in enumerate(plan.steps)}
    below: dict[str | None, list[PlannedStep]] = {}
    for step in plan.steps:
        below.setdefault(max(step.needs.values(), key=lambda need: (deep[need], places[need]), default=None), []).append(step)

    def walk(branch: tuple[str, ...], indent: str) -> Iterator[tuple[str, PlannedStep, list[str]]]:
        children = below.get(branch[-1] if branch else None, [])
        for place, step in enumerate(children):
            last = place == len(children) - 1
            sign, further = ("", "") if not branch else ("└─ ", "   ") if last else ("├─ ", "│  ")
            yield f"{indent}{sign}{step.id}", step, [need for need in step.needs.values() if need not in branch]
            yield from walk((*branch, step.id), indent + further)

    yield from walk((), "")


def _line(plan: Plan, branch: str, step: PlannedStep, others: Sequence[str], is_stored: bool) -> str:
    parts = [branch, f"{step.role:<4}", "stored" if is_stored else "to do ", step.fingerprint]
    if len(plan.jobs) > 1:
        some = step.jobs[0] if len(step.jobs) == 1 else f"{len(step.jobs)} jobs"
        parts.append("all jobs" if len(step.jobs) == len(plan.jobs) else some)
    if step.parts:
        parts.append(f"in {len(step.parts)} shards")
    if step.when:
        parts.append(f"when {step.when}")
    if others:
        parts.append(f"also needs {', '.join(others)}")
    return "  ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _ordered(stages: Sequence[Stage]) -> list[Stage]:
    known = {stage.name: stage for stage in stages}
    for stage in stages:
        for need in stage.needs:
            if need not in known:
                raise ConfigError(f"pipeline.steps.{stage.name}.needs", f"no step is called {need!r}", f"there are {', '.join(known)}")
            if known[need].when:
                raise ConfigError(f"pipeline.steps.{stage.name}.needs", f"{need!r} may not be done at all: it has a condition")
    sorter = graphlib.TopologicalSorter({stage.name: stage.needs for stage in stages})
    try:
        return [known[name] for name in sorter.static_order()]
    except graphlib.CycleError as cause:
        raise ConfigError("pipeline.steps", f"steps need each other in a ring: {' -> '.join(cause.args[1])}") from cause


def _ids(drafts: Mapping[str, _Draft]) -> dict[str, str]:
    """`train`, or `train-1`, `train-2` where there are several."""
    counts: dict[str, list[str]] = {}
    for mark, draft in drafts.items():
        counts.setdefault(draft.stage.name, []).append(mark)
    ids = {}
    for name, marks in counts.items():
        for place, mark in enumerate(marks, start=1):
            ids[mark] = name if len(marks) == 1 else f"{name}-{place}"
    return ids


def _sorted(steps: Sequence[PlannedStep]) -> tuple[PlannedStep, ...]:
    known = {step.id: step for step in steps}
    order = graphlib.TopologicalSorter({step.id: step.before for step in steps}).static_order()
    return tuple(known[identity] for identity in order)


def size(plan: Plan) -> int:
    """Bytes of all configs together."""
    return sum(len(canonical(step.config)) for step in plan.steps)
