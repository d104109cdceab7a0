"""One journal becomes one run: everything, and everything once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from geohydra.report import Report
from geohydra.tracking import Journal, Record
from geohydra.tracking.delivery import Cursor, Delivery, is_whole
from geohydra.tracking.mlflow import MlflowTracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONFIG = {"task": {"_target_": "geohydra.tasks.x.X", "classes": ["water", "road"]}, "train": {"lr": 0.1}}


@pytest.fixture
def journal(tracking: MlflowTracking, outputs: Path) -> Record:
    """A run that just began."""
    return tracking.open(outputs / "runs/1/journal", name="demo", kind="run", config=CONFIG, overrides=["train.lr=0.1"])


@pytest.fixture
def folder(outputs: Path) -> Path:
    return outputs / "runs/1/journal"


@pytest.fixture
def ship(client: MlflowClient) -> Callable[[Path], Any]:
    """Ship a journal as a fresh process would; returns the run."""

    def shipped(folder: Path) -> Any:
        delivery = Delivery(folder)
        assert delivery.claim()
        delivery.ship(client)
        delivery.release()
        return client.get_run(delivery.cursor.run_id)

    return shipped


def all_runs(client: MlflowClient) -> list[Any]:
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def test_a_run_has_its_name_tags_params_and_status(journal: Record, folder: Path, ship: Callable[[Path], Any]):
    journal.end("FINISHED")

    run = ship(folder)

    assert (run.info.run_name, run.info.status) == ("demo", "FINISHED")
    assert run.data.params == {"task._target_": "geohydra.tasks.x.X", "task.classes": "water, road", "train.lr": "0.1"}
    assert run.data.tags["geohydra.kind"] == "run"
    assert "X, classes water, road" in run.data.tags["mlflow.note.content"]


def test_swept_numbers_can_be_sorted(journal: Record, folder: Path, ship: Callable[[Path], Any]):
    assert ship(folder).data.metrics == {"hp/train.lr": 0.1}


def test_curves_keep_steps_and_times(journal: Record, folder: Path, ship: Callable[[Path], Any], client: MlflowClient):
    for step in range(700):
        journal.metrics({"train/loss": 1.0 / (step + 1)}, step=step, time=1_700_000_000 + step)

    run = ship(folder)

    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in history] == list(range(700))
    assert history[3].timestamp == 1_700_000_003_000


def test_shipping_twice_changes_nothing(journal: Record, folder: Path, ship: Callable[[Path], Any], client: MlflowClient):
    journal.metrics({"val/iou": 0.5}, step=1)
    journal.end("FINISHED")
    ship(folder)
    next(folder.glob("cursor-*.json")).unlink()
    Cursor(opening=True).save(folder, Delivery(folder).uri)

    run = ship(folder)

    assert len(all_runs(client)) == 1
    assert len(client.get_metric_history(run.info.run_id, "val/iou")) == 1


def test_what_comes_later_goes_into_the_same_run(journal: Record, folder: Path, ship: Callable[[Path], Any], client: MlflowClient):
    ship(folder)
    journal.metrics({"val/iou": 0.5})

    assert ship(folder).data.metrics["val/iou"] == 0.5
    assert len(all_runs(client)) == 1


def test_a_journal_is_whole_once_its_end_arrived(journal: Record, folder: Path, ship: Callable[[Path], Any]):
    ship(folder)
    assert not is_whole(folder)

    journal.end("FINISHED")
    ship(folder)
    assert is_whole(folder)


def test_a_failed_run_says_why(journal: Record, folder: Path, ship: Callable[[Path], Any]):
    journal.end("FAILED", "train: no space left")

    run = ship(folder)

    assert run.info.status == "FAILED"
    assert run.data.tags["geohydra.error"] == "train: no space left"
    assert run.data.tags["mlflow.note.content"].startswith("**failed**: train: no space left")


def test_reports_become_pictures_pages_and_tables_to_read(
    journal: Record, folder: Path, ship: Callable[[Path], Any], client: MlflowClient, tmp_path: Path
):
    report = Report(tmp_path / "out/report")
    report.metrics({"test/iou": 0.7})
    report.table("confusion_matrix", {"truth": ["water"], "counts": [[1, 2]]})
    report.figure("roc", b"png")
    report.close("evaluate")
    journal.report("evaluate", str(tmp_path / "out"))

    run = ship(folder)

    assert run.data.metrics["test/iou"] == 0.7
    names = {
        entry.path for place in ("figures/evaluate", "tables/evaluate", "report") for entry in client.list_artifacts(run.info.run_id, place)
    }
    tables = {"tables/evaluate/confusion_matrix.csv", "tables/evaluate/confusion_matrix.parquet"}
    assert names == {"figures/evaluate/roc.png", "report/evaluate.html"} | tables
    csv = Path(client.download_artifacts(run.info.run_id, "tables/evaluate/confusion_matrix.csv"))
    assert csv.read_text() == '"truth","counts"\n"water","[1, 2]"\n'


def test_a_model_is_registered_once_with_its_alias(
    journal: Record, folder: Path, ship: Callable[[Path], Any], client: MlflowClient, tmp_path: Path
):
    (tmp_path / "bundle/deep").mkdir(parents=True)
    (tmp_path / "bundle/MLmodel").write_text("flavors: {}")
    (tmp_path / "bundle/deep/weights").write_bytes(b"123")
    journal.model(str(tmp_path / "bundle"), "roads", "champion")
    run = ship(folder)
    cursor = Cursor.read(folder, Delivery(folder).uri)
    cursor.next = 0
    cursor.save(folder, Delivery(folder).uri)
    ship(folder)

    (version,) = client.search_model_versions("name = 'roads'")
    assert version.run_id == run.info.run_id
    assert client.get_model_version_by_alias("roads", "champion").version == version.version
    assert Path(client.download_artifacts(run.info.run_id, "bundle/deep/weights")).read_bytes() == b"123"


def test_a_promotion_waits_until_all_of_the_job_has_arrived(
    tracking: MlflowTracking, outputs: Path, ship: Callable[[Path], Any], client: MlflowClient, tmp_path: Path
):
    above = outputs / "runs/2/journal"
    sweep = tracking.open(above, name="sweep", kind="sweep", config=CONFIG)
    job = tracking.open(above / "job", name="job", kind="job", config=CONFIG, number=0, parent=above)
    (tmp_path / "bundle").mkdir()
    job.model(str(tmp_path / "bundle"), "roads")
    job.end("FINISHED")
    sweep.promote(above / "job", str(tmp_path / "bundle"), "roads", "champion")
    sweep.end("FINISHED")

    assert ship(above).info.status == "RUNNING"
    child = ship(above / "job")
    parent = ship(above)

    assert parent.info.status == "FINISHED"
    assert client.get_model_version_by_alias("roads", "champion").run_id == child.info.run_id
    assert parent.data.tags["geohydra.promoted"] == "roads@champion is version 1"


def test_a_model_that_was_refused_cannot_be_promoted(tracking: MlflowTracking, outputs: Path, ship: Callable[[Path], Any]):
    above = outputs / "runs/2/journal"
    sweep = tracking.open(above, name="sweep", kind="sweep", config=CONFIG)
    sweep.promote(above / "gone", "/no/such/folder", "roads", "champion")
    sweep.end("FINISHED")

    assert ship(above).info.status == "FINISHED"
    assert "no version holds" in Cursor.read(above, Delivery(above).uri).refused[0]


def test_latest_needs_no_alias(journal: Record, folder: Path, ship: Callable[[Path], Any], client: MlflowClient, tmp_path: Path):
    (tmp_path / "bundle").mkdir()
    journal.model(str(tmp_path / "bundle"), "roads", "latest")

    ship(folder)

    assert len(client.search_model_versions("name = 'roads'")) == 1


def test_a_job_lies_below_its_sweep(tracking: MlflowTracking, outputs: Path, ship: Callable[[Path], Any]):
    above = outputs / "runs/2/journal"
    tracking.open(above, name="sweep", kind="sweep", config=CONFIG)
    tracking.open(above / "0", name="job", kind="job", config=CONFIG, number=0, parent=above)
    assert not Delivery(above / "0").ready

    parent, child = ship(above), ship(above / "0")

    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_a_sweep_links_to_its_jobs_sorted_by_score(
    tracking: MlflowTracking, outputs: Path, ship: Callable[[Path], Any], client: MlflowClient
):
    journal = tracking.open(outputs / "j", name="sweep", kind="sweep", config=CONFIG)
    journal.view(sort="val/iou", columns=["val/iou", "hp/train.lr", "model"])
    journal.end("FAILED", "1 of 6 jobs failed")

    run = ship(outputs / "j")

    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("**failed**: 1 of 6 jobs failed")
    key = f"geohydra-{run.info.run_id[:12]}"
    assert f"(#/experiments/{run.info.experiment_id}/runs?viewStateShareKey={key}&" in note
    state = json.loads(client.get_experiment(run.info.experiment_id).tags[f"mlflow.sharedViewState.{key}"])
    assert state["orderByKey"] == "metrics.`val/iou`"
    assert state["selectedColumns"] == ["metrics.`val/iou`", "metrics.`hp/train.lr`", "params.`model`"]


def test_the_note_of_a_sweep_shows_its_jobs_without_another_click(
    tracking: MlflowTracking, outputs: Path, ship: Callable[[Path], Any], client: MlflowClient
):
    journal = tracking.open(outputs / "j", name="sweep", kind="sweep", config=CONFIG)
    table = "| job |\n| --- |\n| a |"
    journal.view(sort="val/iou", columns=["val/iou"], table=table, page="comparison/comparison.html", picture="comparison/lines.png")

    run = ship(outputs / "j")

    note = run.data.tags["mlflow.note.content"]
    place = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/comparison/comparison.html"
    assert f"[compared on one page]({place}?workflowType=machine_learning)" in note.splitlines()[0]
    assert f"\n\n{table}\n\n" in note
    assert f"![](get-artifact?path=comparison%2Flines.png&run_uuid={run.info.run_id})" in note


def test_an_attached_run_is_filled_and_left_open(
    tracking: MlflowTracking,
    outputs: Path,
    ship: Callable[[Path], Any],
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
):
    theirs = client.create_run("0", run_name="theirs")
    client.log_param(theirs.info.run_id, "train.lr", "taken")
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.info.run_id)
    journal = tracking.open(outputs / "j", name="ours", kind="run", config=CONFIG)
    journal.metrics({"val/iou": 0.5})
    journal.end("FINISHED")

    run = ship(outputs / "j")

    assert run.info.run_id == theirs.info.run_id
    assert (run.info.run_name, run.info.status) == ("theirs", "RUNNING")
    assert run.data.params == {
        "train.lr": "taken",
        **{
            f"geo/{key}": value
            for key, value in {"task._target_": "geohydra.tasks.x.X", "task.classes": "water, road", "train.lr": "0.1"}.items()
        },
    }
    assert len(all_runs(client)) == 1


def test_jobs_of_an_attached_sweep_stand_below_it_and_no_experiment_is_made(
    tracking: MlflowTracking,
    outputs: Path,
    ship: Callable[[Path], Any],
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
):
    theirs = client.create_run(client.create_experiment("theirs"), run_name="opened by the engine")
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.info.run_id)
    above = outputs / "runs/2/journal"
    tracking.open(above, name="sweep", kind="sweep", config=CONFIG)
    tracking.open(above / "0", name="job", kind="job", config=CONFIG, number=0, parent=above)

    parent, child = ship(above), ship(above / "0")

    assert parent.info.run_id == theirs.info.run_id
    assert child.info.experiment_id == theirs.info.experiment_id
    assert child.data.tags["mlflow.parentRunId"] == theirs.info.run_id
    assert child.data.params["train.lr"] == "0.1"
    assert client.get_experiment_by_name("fields") is None


def test_the_page_of_the_engine_stands_in_the_note_once(journal: Record, folder: Path, ship: Callable[[Path], Any]):
    place = "https://kubeflow.example.org/#/runs/details/abc"
    journal.tags({"kubeflow.run_id": "abc", "kubeflow.url": place})
    journal.tags({"kubeflow.url": place, "other": "1"})

    run = ship(folder)

    assert run.data.tags["kubeflow.url"] == place
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith(f"[The run on Kubeflow]({place})\n\n")
    assert note.count(place) == 1


def test_one_refused_parameter_costs_no_other(journal: Record, folder: Path, ship: Callable[[Path], Any]):
    ship(folder)
    journal.params({"train.lr": "0.2", "new": "1"})

    run = ship(folder)

    assert run.data.params["train.lr"] == "0.1"
    assert run.data.params["new"] == "1"
    assert "train.lr" in Cursor.read(folder, Delivery(folder).uri).refused[0]


def test_an_artefact_that_is_gone_is_noted_and_the_rest_arrives(journal: Record, folder: Path, ship: Callable[[Path], Any]):
    journal.model("/no/such/folder", "roads")
    journal.end("FINISHED")

    assert ship(folder).info.status == "FINISHED"
    assert Cursor.read(folder, Delivery(folder).uri).refused


def test_a_deleted_experiment_comes_back(journal: Record, folder: Path, ship: Callable[[Path], Any], client: MlflowClient):
    client.delete_experiment(client.create_experiment("fields"))

    assert ship(folder).info.lifecycle_stage == "active"


def test_a_killed_run_is_marked_as_killed(journal: Journal, folder: Path, client: MlflowClient):
    import os

    delivery = Delivery(folder)
    delivery.claim()
    delivery.ship(client)
    delivery.close_abandoned(client)
    assert client.get_run(delivery.cursor.run_id).info.status == "RUNNING"

    os.close(journal._file)
    delivery.close_abandoned(client)
    assert client.get_run(delivery.cursor.run_id).info.status == "KILLED"


def test_two_processes_do_not_ship_the_same_journal(journal: Record, folder: Path):
    first, second = Delivery(folder), Delivery(folder)

    assert first.claim()
    assert not second.claim()
    first.release()
    assert second.claim()
