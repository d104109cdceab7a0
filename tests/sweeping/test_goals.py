"""What a sweep wants."""

from __future__ import annotations

import pytest

from geohydra.errors import ConfigError
from geohydra.sweeping.goals import Goal, goal_of, goals_of


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("val/iou:max", Goal("val/iou")),
        ("val/loss:min", Goal("val/loss", down=True)),
        ("val/iou", Goal("val/iou")),
        ("train/loss", Goal("train/loss", down=True)),
        ("val/loss:max", Goal("val/loss")),
    ],
)
def test_a_goal_is_a_metric_and_a_way(text: str, goal: Goal) -> None:
    assert goal_of(text) == goal


@pytest.mark.parametrize("text", ["val/iou:up", ":max", "val/iou:"])
def test_what_is_no_goal_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="write METRIC:max or METRIC:min"):
        goal_of(text)


def test_without_goals_the_task_says_what_counts() -> None:
    task = {"_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation", "classes": ["a", "b"]}
    assert goals_of({"task": task}) == (Goal("val/iou"),)
    assert goals_of({"task": task, "sweep": {"goal": ["test/f1", "train/seconds:min"]}}) == (
        Goal("test/f1"),
        Goal("train/seconds", down=True),
    )
    assert goals_of({}) == ()
