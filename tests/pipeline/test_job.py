"""What tracking is told: journals on disk, written by real runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from geohydra.errors import ConfigError
from geohydra.pipeline.job import run_jobs
from geohydra.pipeline.runners import Outcome
from geohydra.pipeline.runners.local import LocalRunner
from geohydra.plan import Job, Plan, Stage, make_plan
from geohydra.tracking import Journal, NullShipping, NullTracking, Record, Shipped, Tracking
from geohydra.tracking.journal import read_events

from ..conftest import Watch
from .conftest import HARDWARE, planned, stage


class Journals:
    """Tracking that writes journals and ships none."""

    address = ""

    def open(
        self,
        folder: Path,
        *,
        name: str,
        kind: str,
        config: Mapping[str, Any],
        overrides: Sequence[str] = (),
        number: int | None = None,
        parent: Path | None = None,
    ) -> Record:
        journal = Journal.create(folder, experiment="e", run_name=name, tags={"kind": kind, "number": str(number)}, parent=parent)
        journal.params({"config": json.dumps(config, sort_keys=True)})
        return journal

    def start_shipper(self, folders: Sequence[Path] = (), *, log: Path | None = None) -> NullShipping:
        return NullShipping()


def telling(name: str, **more: Any) -> Job:
    config = {"tell": {}, "a": {"name": name, "notes": more.pop("notes")}, "lock": [{"uri": "a.tif"}], **more}
    return Job(name, config, (Stage(**stage("tell", "telling")), Stage(**stage("a", "note", "tell"))), overrides=(f"name={name}",))


@pytest.fixture
def tell(steps: Path, tmp_path: Path, watch: Watch) -> Any:
    """Runs a plan with tracking; each run has a folder of its own."""

    def call(plan: Plan, folder: str = "run", *, tracking: Tracking | None = None, **settings: Any) -> Outcome:
        return run_jobs(
            plan,
            runner=LocalRunner(**settings),
            tracking=tracking or Journals(),
            store=str(tmp_path / "store"),
            hardware=HARDWARE,
            folder=tmp_path / folder,
            listener=watch,
        )

    return call


def told(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder) if event["event"] == kind]


def metrics(folder: Path) -> list[tuple[str, float, int]]:
    return [(name, value, event["step"]) for event in told(folder, "metrics") for name, value in event["values"].items()]


def test_a_job_hears_metrics_as_they_come_and_each_report_once(tell: Any, tmp_path: Path, notes: Path) -> None:
    tell(make_plan("one", [telling("one", notes=str(notes))]))

    journal = tmp_path / "run" / "journal"
    assert [(value, step) for _, value, step in metrics(journal)][:3] == [(0.0, 0), (0.1, 1), (0.2, 2)]
    assert [value for _, value, _ in metrics(journal)] == [0.0, 0.1, 0.2, 0.5]
    assert [event["step"] for event in told(journal, "report")] == ["tell", "a"]
    assert [event["status"] for event in told(journal, "end")] == ["FINISHED"]
    assert read_events(journal)[-1]["event"] == "end"


def test_a_job_that_was_served_from_the_store_hears_the_same(tell: Any, tmp_path: Path, notes: Path) -> None:
    plan = make_plan("one", [telling("one", notes=str(notes))])
    tell(plan)

    tell(plan, "again")

    first, second = (tmp_path / name / "journal" for name in ("run", "again"))
    assert sorted(metrics(first)) == sorted(metrics(second))
    assert [event["step"] for event in told(second, "report")] == ["tell", "a"]


def test_every_job_of_a_sweep_hears_of_the_steps_that_it_asked_for(tell: Any, tmp_path: Path, notes: Path) -> None:
    tell(make_plan("sweep", [telling("one", notes=str(notes)), telling("two", notes=str(notes))]), cpu=2)

    parent, one, two = (tmp_path / "run" / "journal" / name for name in ("", "one", "two"))
    assert sorted(metrics(one)) == sorted(metrics(two))
    assert {0.2, 0.5} <= {value for _, value, _ in metrics(one)}
    begins = [told(folder, "begin")[0] for folder in (parent, one, two)]
    assert [begin["tags"]["kind"] for begin in begins] == ["sweep", "job", "job"]
    assert [begin["tags"]["number"] for begin in begins] == ["None", "0", "1"]
    assert begins[1]["parent"] == ".."
    assert told(parent, "end")[0]["status"] == "FINISHED"


def test_the_parent_of_a_sweep_holds_what_its_jobs_have_in_common(tell: Any, tmp_path: Path, notes: Path) -> None:
    jobs = [telling(name, notes=str(notes), train={"lr": lr, "epochs": 3}) for name, lr in (("one", 0.1), ("two", 0.2))]

    tell(make_plan("sweep", jobs), cpu=2)

    config = json.loads(told(tmp_path / "run" / "journal", "params")[0]["values"]["config"])
    assert config["train"] == {"epochs": 3}
    assert config["a"] == {"notes": str(notes)}


def test_the_parent_of_a_sweep_holds_a_comparison_of_its_jobs(tell: Any, tmp_path: Path, notes: Path) -> None:
    tell(make_plan("sweep", [telling("one", notes=str(notes)), telling("two", notes=str(notes))]), cpu=2)

    parent = tmp_path / "run" / "journal"
    names = {Path(event["path"]).name for event in told(parent, "artifact") if event["to"] == "comparison"}
    assert {"comparison.csv", "comparison.html", "comparison.parquet"} <= names
    assert ("best/val/iou", 0.5) in [(name, value) for name, value, _ in metrics(parent)]
    assert (tmp_path / "run" / "comparison" / "comparison.csv").read_text().count("\n") == 3


def test_a_step_that_goes_on_after_a_crash_tells_no_epoch_twice(tell: Any, steps: Path, tmp_path: Path) -> None:
    (steps / "plugged" / "resuming.py").write_text(
        "import os\nVERSION = 1\ndef run(config, work):\n"
        "    for epoch in range(4):\n"
        "        work.report.curve({'val/iou': epoch / 10}, step=epoch)\n"
        "        if epoch == 2 and not (work.state / 'x').exists():\n"
        "            (work.state / 'x').touch()\n"
        "            os.kill(os.getpid(), 9)\n"
    )

    tell(planned({"a": {}}, stage("a", "resuming")), retries=1)

    assert metrics(tmp_path / "run" / "journal") == [("val/iou", epoch / 10, epoch) for epoch in range(4)]


def test_a_failed_job_brings_its_log_and_the_others_end_well(tell: Any, tmp_path: Path, notes: Path) -> None:
    bad = Job("bad", {"look": {"notes": str(notes)}}, (Stage(**stage("look", "mistaken")),))

    outcome = tell(make_plan("sweep", [telling("good", notes=str(notes)), bad]), cpu=2)

    parent, good, failed = (tmp_path / "run" / "journal" / name for name in ("", "good", "bad"))
    assert outcome.exit_code == 3
    assert told(good, "end")[0]["status"] == "FINISHED"
    end = told(failed, "end")[0]
    assert (end["status"], end["error"]) == ("FAILED", "images/a.tif: it has no CRS; give it one")
    assert "it has no CRS" in next(failed.rglob("look.log")).read_text()
    assert (told(parent, "end")[0]["status"], told(parent, "end")[0]["error"]) == ("FAILED", "1 of 2 jobs failed")


def test_plan_lock_and_outcome_are_kept(tell: Any, tmp_path: Path, notes: Path) -> None:
    tell(make_plan("one", [telling("one", notes=str(notes))]))

    folder = tmp_path / "run"
    assert [step["id"] for step in json.loads((folder / "plan.json").read_text())["steps"]] == ["tell", "a"]
    assert json.loads((folder / "outcome.json").read_text())["jobs"] == {"one": "done"}
    kept = {path.name: json.loads(path.read_text()) for path in (folder / "journal" / "files").rglob("*.json")}
    assert kept["lock.json"] == [{"uri": "a.tif"}]
    assert kept["plan.json"]["jobs"][0]["name"] == "one"


def test_a_model_that_a_step_made_is_registered_once(tell: Any, steps: Path, tmp_path: Path) -> None:
    code = "VERSION = 1\ndef run(config, work):\n    (work.out / 'bundle').mkdir()\n    (work.out / 'bundle' / 'MLmodel').write_text('')\n"
    (steps / "plugged" / "bundling.py").write_text(code)
    config = {"bundle": {"registered_name": "roads", "alias": "champion"}}

    outcome = tell(planned(config, stage("bundle", "bundling")))

    models = told(tmp_path / "run" / "journal", "model")
    assert [(model["uri"], model["name"], model["alias"]) for model in models] == [
        (f"{outcome.steps['bundle'].uri}/bundle", "roads", "champion")
    ]


def test_a_plan_that_cannot_run_ends_its_journal_as_failed(tell: Any, tmp_path: Path, notes: Path) -> None:
    plan = planned({"a": {"name": "a", "notes": str(notes)}}, stage("a", "note", role="tpu"))

    with pytest.raises(ConfigError, match="no role 'tpu'"):
        tell(plan)

    end = told(tmp_path / "run" / "journal", "end")[0]
    assert end["status"] == "FAILED"
    assert "no role 'tpu'" in end["error"]


def test_trouble_with_tracking_is_told_and_does_not_end_the_run(tell: Any, notes: Path, watch: Watch) -> None:
    class Torn(Journals):
        def open(self, folder: Path, **about: Any) -> Record:
            journal = super().open(folder, **about)
            (folder / "reports").write_text("a file where a folder should be")
            return journal

    outcome = tell(make_plan("one", [telling("one", notes=str(notes))]), tracking=Torn())

    assert outcome.exit_code == 0
    assert any(text.startswith("tracking: ") for text in watch.notices)


def test_what_was_not_shipped_in_time_is_told_with_the_way_to_ship_it(tell: Any, notes: Path, watch: Watch) -> None:
    class Slow(NullShipping):
        def wait(self, timeout: float) -> Shipped:
            return Shipped(waiting=1, problem="MLflow does not answer")

    class Away(NullTracking):
        def start_shipper(self, folders: Sequence[Path] = (), *, log: Path | None = None) -> Slow:
            return Slow()

    outcome = tell(make_plan("one", [telling("one", notes=str(notes))]), tracking=Away())

    assert outcome.exit_code == 0
    assert watch.notices == ["not all of this run is in MLflow yet (MLflow does not answer): `geohydra sync` ships the rest"]


def test_a_failed_run_leaves_a_report_that_says_why(tell: Any, tmp_path: Path, notes: Path) -> None:
    bad = Job("bad", {"look": {"notes": str(notes)}}, (Stage(**stage("look", "mistaken")),))

    tell(make_plan("sweep", [telling("good", notes=str(notes)), bad]), cpu=2)

    text = (tmp_path / "run" / "failure.md").read_text()
    assert "images/a.tif: it has no CRS; give it one" in text
    assert "The end of " in text
    assert "- done: tell, a" in text
    kept = (tmp_path / "run" / "journal" / "bad").rglob("failure.md")
    assert "it has no CRS" in next(kept).read_text()
    assert list((tmp_path / "run" / "journal" / "good").rglob("failure.md")) == []


@pytest.mark.parametrize(("when", "count"), [("test/iou >= 0.7", 1), ("test/iou > 0.7", 0), ("always", 1)])
def test_a_model_that_waits_for_a_condition_is_registered_only_where_it_holds(
    tell: Any, steps: Path, tmp_path: Path, when: str, count: int
) -> None:
    code = "VERSION = 1\ndef run(config, work):\n    (work.out / 'bundle').mkdir()\n    (work.out / 'bundle' / 'MLmodel').write_text('')\n"
    (steps / "plugged" / "bundling.py").write_text(code)
    config = {"n": 7, "bundle": {"registered_name": "m", "alias": "champion"}, "deploy": {"when": when}}
    stages = (
        Stage("evaluate", "plugged.number", 1, (), ("n",), "cpu"),
        Stage("bundle", "plugged.bundling", 1, (), (), "cpu"),
        Stage("deploy", "deploy", 1, ("evaluate", "bundle"), ("bundle", "deploy"), "cpu", when=when),
    )

    outcome = tell(make_plan("p", [Job("p", config, stages)]))

    journal = tmp_path / "run" / "journal"
    assert [(event["name"], event["alias"]) for event in told(journal, "model")] == [("m", "champion")] * count
    assert all(event["uri"] == f"{outcome.steps['bundle'].uri}/bundle" for event in told(journal, "model"))
    assert told(journal, "end")[0]["status"] == "FINISHED"
    tags = {name for event in told(journal, "tags") for name in event["values"]}
    assert ("geohydra.withheld" in tags) is (count == 0)
