"""What a cluster gets next: so many jobs at once, and what it did not come to."""

from __future__ import annotations

from dataclasses import replace

from geohydra.pipeline.runners import StepOutcome, StepStatus
from geohydra.pipeline.runners.kfp_graph import Node, TaskState
from geohydra.pipeline.runners.kfp_parts import broken_jobs, next_part, not_come_to
from geohydra.plan import Job, Plan, Stage, make_plan


def sweep(count: int, at_once: int | None = None) -> Plan:
    """A number that all jobs share, and the squares below it that each scales in its own way."""
    stages = (
        Stage("number", "plugged.number", 1, (), ("n",), "cpu"),
        Stage("squares", "plugged.squares", 1, ("number",), ("scale",), "cpu"),
    )
    jobs = [Job(f"job-{scale}", {"n": 3, "scale": scale}, stages) for scale in range(1, count + 1)]
    return replace(make_plan("numbers", jobs), at_once=at_once)


def ended(**statuses: StepStatus) -> dict[str, StepOutcome]:
    named = {name.replace("_", "-"): status for name, status in statuses.items()}
    return {name: StepOutcome(name, status, "") for name, status in named.items()}


def names(plan: Plan) -> list[str]:
    return [job.name for job in plan.jobs]


def test_a_plan_without_a_bound_goes_whole(steps: object) -> None:
    plan = sweep(3)

    assert next_part(plan, {}) == plan
    assert next_part(plan, ended(number="stored", squares_1="stored")) == plan


def test_jobs_go_in_the_same_groups_however_many_are_done(steps: object) -> None:
    plan = sweep(5, at_once=2)

    assert names(next_part(plan, {})) == ["job-1", "job-2"]
    assert names(next_part(plan, ended(number="done", squares_1="done"))) == ["job-1", "job-2"]
    assert names(next_part(plan, ended(number="done", squares_1="done", squares_2="done"))) == ["job-3", "job-4"]


def test_a_part_has_the_steps_of_its_jobs_and_no_others(steps: object) -> None:
    part = next_part(sweep(5, at_once=2), ended(number="done", squares_1="done", squares_2="done"))

    assert {step.id: step.jobs for step in part.steps} == {
        "number": ("job-3", "job-4"),
        "squares-3": ("job-3",),
        "squares-4": ("job-4",),
    }


def test_after_a_failure_only_jobs_that_lost_nothing_go_on(steps: object) -> None:
    plan, known = sweep(3), ended(number="done", squares_1="failed", squares_2="done")

    assert broken_jobs(plan, known) == {"job-1"}
    assert names(next_part(plan, known)) == ["job-3"]


def test_where_a_shared_step_failed_nothing_goes_on(steps: object) -> None:
    assert next_part(sweep(3), ended(number="failed")).jobs == ()


def test_steps_that_have_all_they_need_and_no_pod_were_not_come_to(steps: object) -> None:
    plan = sweep(4)
    ran = TaskState("running", pods=[Node("n", "executor", "RUNNING")])
    tasks = {"squares-1": ran, "squares-2": TaskState("pending"), "squares-3": TaskState("failed"), "squares-4": None}

    assert not_come_to(plan, ended(number="done"), tasks, ()) == {"squares-2", "squares-4"}
    assert not_come_to(plan, ended(number="failed"), tasks, ()) == set()
    assert not_come_to(plan, ended(number="done"), tasks, {"squares-4"}) == {"squares-2"}
