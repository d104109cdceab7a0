"""The table of runs, and MLflow's pages on the right store."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from geohydra.errors import ConfigError, StoreError
from geohydra.tracking.delivery import Delivery
from geohydra.tracking.mlflow import MlflowTracking
from geohydra.tracking.runs import runs_table, serve_ui, ui_command


@pytest.fixture
def filled(tracking: MlflowTracking, outputs: Path, client: object) -> MlflowTracking:
    """A sweep of three jobs, the last without a score, and a run beside it."""
    above = outputs / "sweep"
    folders = [above]
    tracking.open(above, name="lr", kind="sweep", config={}).end("FINISHED")
    for place, (lr, iou) in enumerate([("1e-05", 0.5), ("0.001", 0.7), ("0.0001", None)]):
        folder = above / str(place)
        config = {"train": {"lr": lr}, "name": "x"}
        journal = tracking.open(
            folder, name=f"job-{place}", kind="job", config=config, overrides=[f"train.lr={lr}"], number=place, parent=above
        )
        if iou is not None:
            journal.metrics({"val/iou": iou, "val/iou/water": iou, "train/loss": 1 - iou})
        journal.end("FAILED" if iou is None else "FINISHED")
        folders.append(folder)
    tracking.open(outputs / "single", name="single", kind="run", config={"train": {"lr": 10}}).end("FINISHED")
    for folder in [*folders, outputs / "single"]:
        delivery = Delivery(folder)
        delivery.claim()
        delivery.ship(client)  # type: ignore[arg-type]
        delivery.release()
    return tracking


def names(table: object) -> list[str]:
    return [row["run"] for row in json.loads(table.json())]  # type: ignore[attr-defined]


def test_runs_are_sorted_by_a_metric_and_those_without_it_come_last(filled: MlflowTracking):
    assert names(runs_table(filled, sort="val/iou"))[:2] == ["job-1", "job-0"]
    assert names(runs_table(filled, sort="val/iou", ascending=True))[:2] == ["job-0", "job-1"]
    assert set(names(runs_table(filled, sort="val/iou"))[2:]) == {"job-2", "single"}


def test_parameters_are_sorted_as_numbers(filled: MlflowTracking):
    assert names(runs_table(filled, sort="train.lr")) == ["single", "job-1", "job-2", "job-0"]


def test_without_a_wish_the_newest_is_first_and_the_telling_columns_are_shown(filled: MlflowTracking):
    table = runs_table(filled)

    assert names(table)[0] == "single"
    assert table.columns == ("run", "status", "started", "minutes", "val/iou", "train.lr")


def test_columns_may_be_chosen(filled: MlflowTracking):
    table = runs_table(filled, sort="val/iou", columns=["train.lr", "train/loss", "geohydra.kind"], limit=1)

    assert [row[-3:] for row in table.rows] == [(0.001, pytest.approx(0.3), "job")]


def test_the_jobs_of_one_sweep_are_found_by_its_name_or_its_id(filled: MlflowTracking):
    assert names(runs_table(filled, parent="lr", sort="val/iou")) == ["job-1", "job-0", "job-2"]
    assert names(runs_table(filled, parent="no such sweep")) == []


def test_machines_get_json_and_csv(filled: MlflowTracking):
    table = runs_table(filled, sort="val/iou", columns=["val/iou"])

    assert json.loads(table.json())[0]["val/iou"] == 0.7
    assert json.loads(table.json())[-1]["val/iou"] is None
    assert table.csv().splitlines()[0] == "id,run,status,started,minutes,val/iou"
    assert len(table.csv().splitlines()) == 5


def test_a_terminal_gets_a_table(filled: MlflowTracking):
    from rich.console import Console

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(runs_table(filled, sort="val/iou").rich())
    console.file.close()

    assert "job-1" in console.export_text()


def test_a_key_that_no_run_has_gets_a_hint(filled: MlflowTracking):
    with pytest.raises(ConfigError, match="did you mean 'val/iou'"):
        runs_table(filled, sort="val/iuo")


def test_an_experiment_that_is_not_there_gets_a_hint(filled: MlflowTracking):
    with pytest.raises(ConfigError, match="did you mean 'fields'"):
        runs_table(filled, experiment="feilds")


def test_all_experiments_can_be_shown(filled: MlflowTracking):
    assert len(runs_table(filled, experiment="*").rows) == 4


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path):
    with pytest.raises(StoreError, match="there are no runs here yet"):
        runs_table(MlflowTracking(folder=str(tmp_path)))

    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_down_is_told_in_a_sentence():
    with pytest.raises(StoreError, match="nothing listens there"):
        runs_table(MlflowTracking(uri="http://127.0.0.1:9"))


def test_the_pages_stand_on_the_same_store_and_are_for_this_machine_only(tracking: MlflowTracking):
    command, environment = ui_command(tracking, host="127.0.0.1", port=5000)

    assert command[command.index("--backend-store-uri") + 1] == tracking.uri
    assert command[command.index("--artifacts-destination") + 1] == tracking.artifacts
    assert command[command.index("--workers") + 1] == "1"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_a_port_that_is_taken_is_told_before_anything_starts(tracking: MlflowTracking):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="choose another port"):
        serve_ui(tracking, port=taken.getsockname()[1])


def test_a_server_shows_its_runs_itself(capsys: pytest.CaptureFixture[str]):
    serve_ui(MlflowTracking(uri="http://somewhere:5000"))

    assert "http://somewhere:5000" in capsys.readouterr().out
