"""Parts of a plan that a cluster gets one after the other: so many jobs at once, and what it did not come to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from geohydra.pipeline.runners import StepOutcome
from geohydra.pipeline.runners.kfp_graph import TaskState
from geohydra.plan import Plan

_MADE = ("done", "stored")


def next_part(plan: Plan, ended: Mapping[str, StepOutcome]) -> Plan:
    """Of the jobs, so many as may be under way at once, the first ones that have steps left; without jobs where none has.

    Which jobs go together is always the same, so that the same command finds the run that it left. Those that lost a step are left out.
    """
    broken = broken_jobs(plan, ended)
    left = {job for step in plan.steps if step.id not in ended for job in step.jobs} - broken
    names: list[str] = []
    size = plan.at_once or len(plan.jobs)
    for start in range(0, len(plan.jobs), size):
        together = [job.name for job in plan.jobs[start : start + size]]
        if left.intersection(together):
            names = [name for name in together if name in left] if broken.intersection(together) else together
            break
    steps = (replace(step, jobs=tuple(job for job in step.jobs if job in names)) for step in plan.steps)
    jobs = tuple(job for job in plan.jobs if job.name in names)
    return replace(plan, steps=tuple(step for step in steps if step.jobs), jobs=jobs)


def broken_jobs(plan: Plan, ended: Mapping[str, StepOutcome]) -> set[str]:
    """Jobs that have lost a step: nobody goes on with them."""
    lost = ("failed", "skipped", "pruned", "cancelled")
    return {job for step in plan.steps if step.id in ended and ended[step.id].status in lost for job in step.jobs}


def not_come_to(plan: Plan, ended: Mapping[str, StepOutcome], tasks: Mapping[str, TaskState | None], made: Collection[str]) -> set[str]:
    """Steps that a cluster which gave up after a failure elsewhere never started: nothing that they need is missing."""
    found: set[str] = set()
    for step in plan.steps:
        if step.id in ended or step.id in made or not _is_unstarted(tasks.get(step.id)):
            continue
        if all(need in found or need in made or (need in ended and ended[need].status in _MADE) for need in step.before):
            found.add(step.id)
    return found


def _is_unstarted(task: TaskState | None) -> bool:
    return task is None or (not task.pods and task.state in ("pending", "skipped", "cancelled"))
