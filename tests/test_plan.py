"""The plan: equal steps once, identities that change exactly when they should, a tree to read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.errors import ConfigError
from geohydra.plan import Job, Plan, Stage, as_dict, depths, make_plan, slice_config, tree

STAGES = (
    Stage("ingest", "ingest", 1, (), ("source",), "io"),
    Stage("chip", "chip", 1, ("ingest",), ("chip",), "cpu"),
    Stage("train", "train", 1, ("ingest", "chip"), ("model", "train.lr"), "gpu"),
    Stage("bundle", "bundle", 1, ("train",), ("name",), "cpu"),
)
CONFIG = {"name": "demo", "source": {"n": 1}, "chip": {"size": 64}, "model": {"encoder": "a"}, "train": {"lr": 0.1, "epochs": 3}}


def plan_of(*changes: dict[str, Any], stages: Sequence[Stage] = STAGES) -> Plan:
    return make_plan("demo", [Job(f"demo-{place}", CONFIG | change, tuple(stages)) for place, change in enumerate(changes)])


def identity(plan: Plan, step: str) -> str:
    return plan.step(step).fingerprint


def test_the_same_jobs_give_the_same_plan() -> None:
    assert plan_of({}) == plan_of({})


def test_the_order_of_keys_does_not_count() -> None:
    turned = {key: CONFIG[key] for key in reversed(CONFIG)}
    assert make_plan("demo", [Job("demo-0", turned, STAGES)]).steps == plan_of({}).steps


def test_a_step_sees_only_what_it_uses() -> None:
    assert plan_of({}).step("train").config == {"model": {"encoder": "a"}, "train": {"lr": 0.1}}


def test_what_a_step_does_not_use_leaves_its_identity() -> None:
    assert identity(plan_of({"train": {"lr": 0.1, "epochs": 99}}), "bundle") == identity(plan_of({}), "bundle")


def test_a_change_spreads_to_all_that_follows_and_to_nothing_else() -> None:
    before, after = plan_of({}), plan_of({"chip": {"size": 128}})

    changed = {step.id for step in before.steps if identity(after, step.id) != step.fingerprint}

    assert changed == {"chip", "train", "bundle"}


def test_a_raised_version_changes_the_identity() -> None:
    raised = [dataclasses.replace(stage, version=2) if stage.name == "train" else stage for stage in STAGES]
    assert identity(plan_of({}, stages=raised), "train") != identity(plan_of({}), "train")


def test_roles_are_no_part_of_an_identity() -> None:
    moved = [dataclasses.replace(stage, role="cpu") for stage in STAGES]
    assert identity(plan_of({}, stages=moved), "train") == identity(plan_of({}), "train")


def test_equal_steps_of_a_sweep_are_one_step() -> None:
    plan = plan_of(*({"train": {"lr": rate}} for rate in (0.1, 0.01, 0.001)))

    assert [step.id for step in plan.steps if step.step == "chip"] == ["chip"]
    assert plan.step("chip").jobs == ("demo-0", "demo-1", "demo-2")
    assert [step.id for step in plan.steps if step.step == "train"] == ["train-1", "train-2", "train-3"]


def test_every_job_knows_its_own_steps() -> None:
    plan = plan_of({}, {"train": {"lr": 0.5}})
    assert plan.jobs[1].steps == {"ingest": "ingest", "chip": "chip", "train": "train-2", "bundle": "bundle-2"}


def test_followers_are_those_that_need_a_step_directly() -> None:
    assert [step.id for step in plan_of({}).followers("ingest")] == ["chip", "train"]


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=6), st.lists(st.sampled_from([32, 64]), min_size=1, max_size=6))
def test_steps_stand_behind_what_they_need(rates: list[float], sizes: list[int]) -> None:
    plan = plan_of(*({"train": {"lr": rate}, "chip": {"size": size}} for rate in rates for size in sizes))

    places = {step.id: place for place, step in enumerate(plan.steps)}

    assert all(places[need] < places[step.id] for step in plan.steps for need in step.needs.values())
    assert len(places) == len(plan.steps) == len({step.fingerprint for step in plan.steps})


def test_a_ring_is_refused() -> None:
    ring = [dataclasses.replace(STAGES[0], needs=("bundle",)), *STAGES[1:]]
    with pytest.raises(ConfigError, match="in a ring"):
        plan_of({}, stages=ring)


def test_an_unknown_need_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.steps\.chip\.needs: no step is called 'ingets'"):
        plan_of({}, stages=[STAGES[0], dataclasses.replace(STAGES[1], needs=("ingets",))])


def test_an_unknown_use_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`uses` names 'train\.rate'"):
        slice_config(CONFIG, ["train.rate"])


def test_a_slice_keeps_the_nesting() -> None:
    assert slice_config(CONFIG, ["train.lr", "train.epochs", "name"]) == {"train": {"lr": 0.1, "epochs": 3}, "name": "demo"}


@pytest.mark.parametrize("uses", [["train", "train.lr"], ["train.lr", "train"]])
def test_a_key_and_a_part_of_it_give_the_whole(uses: list[str]) -> None:
    assert slice_config(CONFIG, uses) == {"train": {"lr": 0.1, "epochs": 3}}


def test_depth_counts_the_longest_way() -> None:
    assert depths(plan_of({})) == {"ingest": 0, "chip": 1, "train": 2, "bundle": 3}


def test_the_tree_shows_needs_and_what_is_stored() -> None:
    plan = plan_of({})
    lines = tree(plan, done=["ingest"]).splitlines()

    assert lines[0] == "demo: 4 steps, 1 stored"
    assert lines[1] == f"ingest           io    stored  {identity(plan, 'ingest')}"
    assert lines[3] == f"   └─ train      gpu   to do   {identity(plan, 'train')}"


def test_the_tree_names_needs_that_stand_on_another_branch() -> None:
    stages = [
        *STAGES[:2],
        Stage("analyze", "analyze", 1, ("ingest",), (), "cpu"),
        dataclasses.replace(STAGES[2], needs=("chip", "analyze")),
    ]
    text = tree(plan_of({}, stages=stages))
    assert text.splitlines()[-1].endswith("also needs chip")


def test_the_tree_of_a_sweep_tells_who_asked_for_a_step() -> None:
    lines = tree(plan_of({}, {"train": {"lr": 0.5}})).splitlines()
    assert lines[0] == "demo: 6 steps for 2 jobs, 0 stored"
    assert lines[1].endswith("all jobs")
    assert lines[-4].endswith("demo-1")


def test_a_plan_as_data_is_plain_and_whole() -> None:
    data = as_dict(plan_of({}, {"train": {"lr": 0.5}}))
    assert [step["id"] for step in data["steps"]] == ["ingest", "chip", "train-1", "train-2", "bundle-1", "bundle-2"]
    assert data["jobs"][0]["steps"]["train"] == "train-1"


def divided(shards: int = 3, when: str = "") -> Plan:
    stages = (
        Stage("ingest", "ingest", 1, (), ("source",), "io"),
        Stage("predict", "predict", 1, ("ingest",), (), "gpu", shards=shards),
        Stage("deploy", "deploy", 1, ("predict",), (), "io", when=when),
    )
    return make_plan("p", [Job("p", {"source": "s"}, stages)])


def test_a_divided_step_stands_behind_its_shards_and_keeps_its_identity() -> None:
    whole, parted = divided(1), divided(3)

    assert [step.id for step in parted.steps] == ["ingest", "predict.1of3", "predict.2of3", "predict.3of3", "predict", "deploy"]
    assert parted.step("predict").fingerprint == whole.step("predict").fingerprint
    assert len({step.fingerprint for step in parted.steps}) == 6
    assert parted.step("predict").before == ("ingest", "predict.1of3", "predict.2of3", "predict.3of3")
    assert [step.id for step in parted.followers("predict.1of3")] == ["predict"]
    assert parted.jobs == whole.jobs


def test_shards_are_told_in_one_line_of_the_tree() -> None:
    told = tree(divided(3, when="test/iou > 0"), done=["ingest", "predict.1of3"])

    assert told.splitlines()[0] == "p: 3 steps, 1 stored"
    assert "in 3 shards" in told
    assert "when test/iou > 0" in told
    assert "1of3" not in told


def test_no_step_may_need_one_that_may_not_be_done() -> None:
    stages = (Stage("a", "a", 1, (), (), "cpu", when="x > 0"), Stage("b", "b", 1, ("a",), (), "cpu"))

    with pytest.raises(ConfigError, match="'a' may not be done at all"):
        make_plan("p", [Job("p", {}, stages)])
