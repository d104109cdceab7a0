"""What the last task reads of a plan is the plan; an engine's run that ended in any way is told as it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geohydra.changes import parameter_name
from geohydra.errors import ConfigError
from geohydra.identity import canonical
from geohydra.pipeline.ending import Engine, Looking, read_plan
from geohydra.pipeline.graph import config_input, describe, make_graph, pack, unpack
from geohydra.plan import Plan, make_plan
from geohydra.work import Request, failure_uri, perform

from ..conftest import Watch
from .conftest import numbers


def swept(*scales: float, shards: int = 2) -> Plan:
    jobs = [numbers({"n": 4, "scale": scale}, shards=shards, when="test/iou > 0.1", name=f"p-{scale}") for scale in scales]
    return make_plan("p", jobs)


def values_of(plan: Plan, **chosen: Any) -> dict[str, Any]:
    """The inputs that the last task gets."""
    graph = make_graph(plan, {key: (key,) for key in chosen})
    configs = {config_input(stage): canonical(config) for stage, config in graph.configs.items()}
    return {"plan": pack(describe(plan, graph), longest=500), **configs, **{parameter_name(key): value for key, value in chosen.items()}}


def test_a_plan_comes_back_as_it_was(steps: Path) -> None:
    plan = swept(1, 2, 3.5)

    again = read_plan(values_of(plan))

    assert again == plan


def test_a_plan_comes_back_with_the_values_that_the_run_was_started_with(steps: Path) -> None:
    again = read_plan(values_of(swept(1, 2), n=5.0), ["n"])

    assert [step.fingerprint for step in again.steps] == [
        step.fingerprint for step in make_plan("p", [numbers({"n": 5, "scale": s}, shards=2, when="test/iou > 0.1") for s in (1, 2)]).steps
    ]
    assert again.jobs[0].config["n"] == 5


def test_what_says_the_same_many_times_is_packed(steps: Path) -> None:
    plan = swept(*range(1, 65))
    graph = make_graph(plan, {})
    told = describe(plan, graph)

    assert len(pack(told, longest=16_000)) < len(canonical(told)) / 5
    assert unpack(pack(told, longest=16_000)) == json.loads(canonical(told))
    assert len(graph.groups) == 64
    assert [task.step.id for task in graph.shared] == ["number"]


@pytest.mark.parametrize(("key", "said"), [("scale", "differs between the jobs"), ("nothing", "no 'nothing'")])
def test_what_cannot_be_a_parameter_is_refused(steps: Path, key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_graph(swept(1, 2), {key: (key,)})


@pytest.mark.parametrize(
    ("state", "note", "status", "why"),
    [
        ("FAILED", "", "failed", "pod was evicted"),
        ("FAILED", "ValueError: no number", "failed", "ValueError: no number"),
        ("CANCELLED", "", "cancelled", ""),
        ("CANCELLED", "ValueError: no number", "failed", "ValueError: no number"),
    ],
)
def test_a_step_that_left_no_output_is_told_by_what_is_known(
    steps: Path, tmp_path: Path, watch: Watch, state: str, note: str, status: str, why: str
) -> None:
    plan, store = swept(1, shards=1), str(tmp_path / "store")
    number = perform(Request("plugged.number", {"n": 4}, {}, store))
    if note:
        place = Path(failure_uri(Request("plugged.squares", {"scale": 1}, {"number": number}, store)))
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({"told": note}))

    outcome = Looking(Engine("1", "run", state, "pod was evicted")).run(plan, store=store, hardware={}, folder=tmp_path, listener=watch)

    assert [step.status for step in outcome.steps.values()] == ["done", status, "skipped"]
    assert why in str(outcome.steps["squares"].error or "")
