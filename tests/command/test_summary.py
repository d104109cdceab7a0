"""What is printed at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from geohydra.command.summary import ended_jobs, failures, headline, told
from geohydra.pipeline.runners import Failure, Outcome, StepOutcome
from geohydra.plan import Job, Plan, Stage, make_plan


def run_of(store: Path, *metrics: Mapping[str, float] | None) -> tuple[Plan, Outcome]:
    """A run of one step for each job; None is a job that failed."""
    stage = Stage("evaluate", "evaluate", 1, (), ("place",), "cpu")
    names = [f"demo-{place}" for place in range(len(metrics))]
    plan = make_plan("demo", [Job(name, {"place": name}, (stage,), ("epochs=3", f"lr={name[-1]}")) for name in names])
    steps = {}
    for step, values in zip(plan.steps, metrics, strict=True):
        (store / step.id / "report").mkdir(parents=True)
        (store / step.id / "report" / "metrics.json").write_text(json.dumps(values or {}))
        failure = None if values is not None else Failure("train.lr", "it exploded", "take less")
        log = None if values is not None else store / "evaluate.log"
        steps[step.id] = StepOutcome(step.id, "failed" if failure else "done", str(store / step.id), 1.0, 1, failure, log)
    return plan, Outcome(steps, {name: "failed" if values is None else "done" for name, values in zip(names, metrics, strict=True)})


def test_a_single_run_shows_its_scores_without_those_of_classes(tmp_path: Path) -> None:
    plan, outcome = run_of(tmp_path, {"test/iou": 0.5, "test/iou/water": 0.9, "data/scenes": 3})
    lines = told(ended_jobs(plan, outcome), outcome, tmp_path, "").splitlines()
    assert lines[:3] == ["metric    value", "--------  -----", "test/iou    0.5"]


def test_without_scores_all_metrics_count() -> None:
    assert headline({"data/scenes": 3, "data/scenes/x": 1}) == {"data/scenes": 3}


def test_a_sweep_shows_the_best_first_and_what_sets_jobs_apart(tmp_path: Path) -> None:
    plan, outcome = run_of(tmp_path, {"val/iou": 0.1, "val/zero": 0.2}, None, {"val/iou": 0.3, "val/zero": 0.2})
    lines = told(ended_jobs(plan, outcome), outcome, tmp_path, "").splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["demo-2", "demo-0", "demo-1"]
    assert lines[2].endswith("lr=2")
    assert "epochs" not in lines[2]


def test_a_failure_tells_step_reason_and_log_once(tmp_path: Path) -> None:
    _, outcome = run_of(tmp_path, None)
    (line,) = failures(outcome)
    assert line.startswith("step evaluate failed: train.lr: it exploded; take less (log: ")
    assert line.count("evaluate.log") == 1


def test_a_stopped_run_says_how_it_goes_on(tmp_path: Path) -> None:
    plan, outcome = run_of(tmp_path, {})
    stopped = Outcome(outcome.steps, {"demo-0": "cancelled"})
    assert "stopped: the same command goes on from here" in told(ended_jobs(plan, stopped), stopped, tmp_path, "")
