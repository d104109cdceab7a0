"""A run's nodes as steps of the plan: names alone do not tell, where they hang does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from geohydra.pipeline.graph import make_graph
from geohydra.pipeline.render import compile_plan
from geohydra.pipeline.runners.kfp_graph import Node, state_of, steps_by_path, task_states
from geohydra.plan import Plan, make_plan

from ..conftest import HARDWARE, numbers
from ..kfp_wire import nodes_of


def sweep(folder: Path, **settings: Any) -> tuple[Plan, dict[str, Any]]:
    config = {"n": 3, "deploy": {"when": "test/iou >= 0.1"}}
    jobs = [numbers({**config, "scale": scale}, name=f"job-{scale}", when="test/iou >= 0.1", **settings) for scale in (1, 2)]
    plan = make_plan("p", jobs)
    compiled = compile_plan(plan, folder / "p.yaml", store="s3://b", hardware=HARDWARE, image="i")
    return plan, dict(yaml.safe_load(compiled.path.read_text()))


def nodes(spec: dict[str, Any], **tasks: str) -> list[Node]:
    told = nodes_of(spec, "run-1", {path.replace("__", "/").replace("_", "-"): {"state": state} for path, state in tasks.items()})
    return [
        Node(one["task_id"], one["display_name"], one["state"], tuple(child["pod_name"] for child in one["child_tasks"])) for one in told
    ]


def test_every_step_has_its_task(steps: Path, tmp_path: Path) -> None:
    plan, spec = sweep(tmp_path, shards=2)

    found = steps_by_path(spec, plan, make_graph(plan, {}))

    assert {step.id for step in found.values()} == {step.id for step in plan.steps}
    assert len(found) == len(plan.steps)


def test_equal_names_in_two_jobs_are_told_apart(steps: Path, tmp_path: Path) -> None:
    plan, spec = sweep(tmp_path)
    known = steps_by_path(spec, plan, make_graph(plan, {}))
    inside = {step.jobs[0]: path for path, step in known.items() if step.stage == "squares"}
    states = {"/".join(inside["job-1"]): {"state": "SUCCEEDED"}, "/".join(inside["job-2"]): {"state": "RUNNING"}}
    told = nodes_of(spec, "run-1", {"plugged-number": {"state": "SUCCEEDED"}, **states})
    found = task_states(
        spec,
        [Node(one["task_id"], one["display_name"], one["state"], tuple(child["pod_name"] for child in one["child_tasks"])) for one in told],
    )

    assert {job: state_of(found[path]) for job, path in inside.items()} == {"job-1": "done", "job-2": "running"}


def test_a_task_whose_pod_does_not_run_yet_is_pending(steps: Path, tmp_path: Path) -> None:
    plan, spec = sweep(tmp_path)
    path = next(path for path, step in steps_by_path(spec, plan, make_graph(plan, {})).items() if step.stage == "number")

    assert state_of(task_states(spec, nodes(spec, plugged_number="PENDING"))[path]) == "pending"
    assert state_of(task_states(spec, nodes(spec, plugged_number="RUNNING"))[path]) == "running"
    assert path not in task_states(spec, [])
