"""The picture of a plan: where boxes stand, which arrows are drawn."""

from __future__ import annotations

from pathlib import Path

from geohydra.command.plan_picture import arrange, save, shown_needs
from geohydra.plan import Job, Plan, Stage, make_plan

STAGES = (
    Stage("ingest", "ingest", 1, (), ("a",), "io"),
    Stage("analyze", "analyze", 1, ("ingest",), ("a",), "cpu"),
    Stage("chip", "chip", 1, ("ingest",), ("a",), "cpu"),
    Stage("train", "train", 1, ("ingest", "analyze", "chip"), ("b",), "gpu"),
)


def plan_of(*values: int) -> Plan:
    return make_plan("<demo>", [Job(f"job-{value}", {"a": 0, "b": value}, STAGES) for value in values])


def test_a_step_stands_right_of_all_that_it_needs() -> None:
    plan = plan_of(1, 2, 3)
    boxes = arrange(plan).boxes
    assert all(boxes[need].x < boxes[step.id].x for step in plan.steps for need in step.needs.values())


def test_no_two_boxes_share_a_place() -> None:
    boxes = arrange(plan_of(1, 2, 3)).boxes.values()
    assert len({(box.x, box.y) for box in boxes}) == len(boxes)


def test_all_boxes_lie_on_the_sheet() -> None:
    drawing = arrange(plan_of(1, 2, 3))
    assert all(0 < box.x < drawing.width and 0 < box.y < drawing.height for box in drawing.boxes.values())


def test_an_arrow_that_another_way_implies_is_not_drawn() -> None:
    plan = plan_of(1)
    assert shown_needs(plan, plan.step("train")) == ["analyze", "chip"]


def test_names_are_escaped_in_the_picture(tmp_path: Path) -> None:
    save(plan_of(1), tmp_path / "plan.svg")
    assert "&lt;demo&gt;: 4 steps" in (tmp_path / "plan.svg").read_text()


def test_the_same_plan_gives_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        save(plan_of(1, 2), tmp_path / name, done=["ingest"])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
