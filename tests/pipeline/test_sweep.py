"""Sweeps below tracking: the best job and its alias, trials that are given up, bounded jobs, what a killed one has told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geohydra.pipeline.job import run_jobs
from geohydra.pipeline.runners import Outcome
from geohydra.pipeline.runners.local import LocalRunner
from geohydra.pipeline.sweep import compared, is_over
from geohydra.plan import Job, Plan, Stage, make_plan
from geohydra.sweeping.goals import Goal
from geohydra.tracking import Tracking
from geohydra.tracking.comparison import JobRow
from geohydra.tracking.journal import read_events
from geohydra.tracking.mlflow import MlflowTracking

from ..conftest import Watch
from .conftest import HARDWARE, stage
from .test_job import Journals

LEARN = """
import time
from pathlib import Path
VERSION = 1
def run(config, work):
    (config,) = config.values()
    if config.get("notes"):
        with Path(config["notes"]).open("a") as stream:
            stream.write(f"start {config['name']} {time.time()}\\n")
    for epoch in range(config.get("epochs", 1)):
        work.report.curve({"val/iou": config["iou"]}, step=epoch)
        time.sleep(config.get("seconds", 0))
    work.report.metrics({"val/iou": config["iou"]})
    (work.out / "bundle").mkdir()
    (work.out / "bundle" / "MLmodel").write_text(config["name"])
    if config.get("notes"):
        with Path(config["notes"]).open("a") as stream:
            stream.write(f"end {config['name']} {time.time()}\\n")
"""


class Doubt:
    """Gives up jobs whose score is low in the second epoch."""

    def __init__(self) -> None:
        self.low: set[str] = set()

    def hear(self, job: str, step: int, metrics: Mapping[str, float]) -> None:
        if step == 1 and metrics["val/iou"] < 0.3:
            self.low.add(job)

    def gives_up(self, job: str) -> str:
        return "it is below 0.3" if job in self.low else ""


@pytest.fixture
def learn(steps: Path, tmp_path: Path, watch: Watch) -> Any:
    """Runs jobs of one step that learns, tracked in a store of its own."""
    (steps / "plugged" / "learn.py").write_text(LEARN)
    (steps / "plugged" / "after.py").write_text("VERSION = 1\ndef run(config, work):\n    work.report.metrics({'test/iou': 0.1})\n")

    def call(plan: Plan, *, tracking: Tracking | None = None, **more: Any) -> Outcome:
        return run_jobs(
            plan,
            runner=LocalRunner(cpu=2, retries=0),
            tracking=tracking or Journals(),
            store=str(tmp_path / "store"),
            hardware=HARDWARE,
            folder=tmp_path / "run",
            listener=watch,
            **more,
        )

    return call


def plan_of(*scores: float, promote: str | None = None, **more: Any) -> Plan:
    stages = (Stage(**stage("learn", "learn")), Stage(**stage("after", "after", "learn")))
    config = {"after": {}, "bundle": {"registered_name": "fields"}, "sweep": {"goal": "val/iou:max", "promote": promote}}
    jobs = [
        Job(f"job-{place}", {**config, "learn": {"name": str(place), "iou": iou, **more}}, stages, (f"learn.iou={iou}",))
        for place, iou in enumerate(scores)
    ]
    return make_plan("sweep", jobs)


def told(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder) if event["event"] == kind]


@pytest.mark.slow
def test_the_best_jobs_model_gets_the_alias_and_of_equal_ones_the_first(learn: Any, tmp_path: Path) -> None:
    tracking = MlflowTracking(folder=str(tmp_path))

    outcome = learn(plan_of(0.2, 0.7, 0.7, promote="champion"), tracking=tracking, recipe=lambda job: f"# {job}")

    (promoted,) = told(tmp_path / "run" / "journal", "promote")
    best = outcome.steps[next(step for step in outcome.steps if step == "learn-2")]
    assert (promoted["job"], promoted["alias"], promoted["uri"]) == ("job-1", "champion", f"{best.uri}/bundle")
    assert (tmp_path / "run" / "conf" / "experiment" / "best.yaml").read_text() == "# job-1"

    from geohydra.tracking.client import connect

    client = connect(tracking.uri)
    version = client.get_model_version_by_alias("fields", "champion")
    assert client.get_run(version.run_id).info.run_name == "job-1"
    (parent,) = client.search_runs(["1"], "tags.`geohydra.kind` = 'sweep'")
    assert parent.data.tags["geohydra.promoted"] == f"fields@champion is version {version.version}"
    assert parent.data.tags["geohydra.best"] == "job-1"


def test_without_a_wish_no_alias_is_given(learn: Any, tmp_path: Path) -> None:
    learn(plan_of(0.2, 0.7))
    assert told(tmp_path / "run" / "journal", "promote") == []


def test_a_job_without_hope_is_given_up_and_is_no_failure(learn: Any, tmp_path: Path) -> None:
    outcome = learn(plan_of(0.2, 0.7, epochs=4, seconds=0.2), judge=Doubt())

    assert outcome.jobs == {"job-0": "pruned", "job-1": "done"}
    assert outcome.exit_code == 0
    assert outcome.steps["learn-1"].status == "pruned"
    assert outcome.steps["after-1"].status == "skipped"
    assert "given up: it is below 0.3" in (tmp_path / "run" / "logs" / "learn-1.log").read_text()
    assert [path for path in (tmp_path / "store" / ".scratch").iterdir() if path.is_dir()] == []
    ends = [told(tmp_path / "run" / "journal" / job, "end")[0]["status"] for job in ("job-0", "job-1")]
    assert ends == ["KILLED", "FINISHED"]
    assert told(tmp_path / "run" / "journal", "end")[0]["status"] == "FINISHED"


def test_no_more_jobs_are_under_way_than_allowed(learn: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    learn(replace(plan_of(0.2, 0.3, 0.4, notes=str(notes), seconds=0.3), at_once=1))

    words = [line.split()[:2] for line in notes.read_text().splitlines()]
    assert words == [[word, str(place)] for place in range(3) for word in ("start", "end")]


def test_a_sweep_that_goes_on_tells_nothing_twice(learn: Any, tmp_path: Path) -> None:
    learn(plan_of(0.2, 0.7))
    job = tmp_path / "run" / "journal" / "job-0"
    before = (job / "events.jsonl").read_text()
    assert is_over(job)

    learn(plan_of(0.2, 0.7))

    assert (job / "events.jsonl").read_text() == before


def row(name: str, status: str = "done", **metrics: float) -> JobRow:
    return JobRow(name, status, (f"x={name}",), {key.replace("_", "/"): value for key, value in metrics.items()}, 1.5)


def test_the_least_is_the_best_where_less_is_better() -> None:
    found = compared([row("a", val_loss=0.4), row("b", val_loss=0.2), row("c", "failed", val_loss=0.1)], [Goal("val/loss", down=True)])
    assert [job.name for job in found.ranked] == ["b", "a", "c"]
    assert found.best is not None
    assert found.best.name == "b"


def test_a_failed_job_has_no_say_even_where_it_has_a_score() -> None:
    found = compared([row("a", val_iou=0.4), row("b", "failed", val_iou=0.9), row("c", "pruned", val_iou=0.8)], [Goal("val/iou")])
    assert found.best is not None
    assert found.best.name == "a"
    assert found.columns()["val/iou"] == [0.4, None, None]
    assert found.columns()["seconds"] == [1.5, 1.5, 1.5]


def test_the_front_is_what_no_job_beats() -> None:
    jobs = [
        row("a", val_iou=0.9, cost=9.0),
        row("b", val_iou=0.5, cost=1.0),
        row("c", val_iou=0.5, cost=2.0),
        row("d", val_iou=0.9, cost=9.0),
    ]
    found = compared(jobs, [Goal("val/iou"), Goal("cost", down=True)])
    assert [job.name for job in found.front] == ["a", "b", "d"]
    assert json.loads(json.dumps(found.columns()["front"])) == ["yes", "yes", "yes", ""]
