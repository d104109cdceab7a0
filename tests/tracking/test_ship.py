"""The shipper as a process: early, bounded, resumable, and never alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from geohydra.errors import ConfigError
from geohydra.tracking.client import connect
from geohydra.tracking.delivery import is_whole
from geohydra.tracking.mlflow import MlflowTracking
from geohydra.tracking.shipper import find_journals, start_shipper, sync

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tests.tracking.conftest import Crowd

EPOCHS = 40


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    except FileNotFoundError:
        return True


def runs(client: MlflowClient) -> list[Any]:
    experiment = client.get_experiment_by_name("fields")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def test_a_run_is_shipped_while_it_goes_on(tracking: MlflowTracking, outputs: Path, client: MlflowClient):
    journal = tracking.open(outputs / "runs/1/journal", name="live", kind="run", config={})
    shipper = tracking.start_shipper([outputs / "runs/1/journal"], log=outputs / "ship.log")
    journal.metrics({"train/loss": 0.5}, step=0)
    until(lambda: bool(runs(client)) and "train/loss" in runs(client)[0].data.metrics)
    assert runs(client)[0].info.status == "RUNNING"

    journal.end("FINISHED")
    shipped = shipper.wait(30)

    assert (shipped.whole, shipped.waiting, shipped.problem) == (1, 0, "")
    assert runs(client)[0].info.status == "FINISHED"
    assert (outputs / "ship.log").read_text() == ""


def test_a_copy_of_the_sqlite_file_alone_is_complete(tracking: MlflowTracking, outputs: Path):
    import sqlite3

    tracking.open(outputs / "j", name="one", kind="run", config={}).end("FINISHED")
    tracking.start_shipper([outputs / "j"]).wait(30)

    (outputs / "copy.db").write_bytes((outputs / "mlflow.db").read_bytes())
    assert sqlite3.connect(outputs / "copy.db").execute("select status from runs").fetchall() == [("FINISHED",)]


def test_an_interrupt_of_the_terminal_does_not_end_the_shipper(tracking: MlflowTracking, outputs: Path):
    shipper = start_shipper()
    assert os.getpgid(shipper.pid) != os.getpgid(0)
    shipper.stop()
    assert gone(shipper.pid)


@pytest.mark.slow
def test_killed_at_any_time_it_goes_on_and_tells_nothing_twice(tracking: MlflowTracking, outputs: Path, client: MlflowClient):
    folder = outputs / "runs/1/journal"
    journal = tracking.open(folder, name="long", kind="run", config={"a": 1})
    for epoch in range(EPOCHS):
        journal.metrics({"train/loss": 1.0 / (epoch + 1)}, step=epoch)
        journal.text(f"note-{epoch}.txt", "text")
    journal.end("FINISHED")
    for pause in (0.0, 0.05, 0.1):
        shipper = start_shipper([folder])
        until(lambda: bool(list(folder.glob("cursor-*.json"))))
        time.sleep(pause)
        os.kill(shipper.pid, signal.SIGKILL)
        shipper.stop()

    shipped = sync(outputs)

    assert shipped.waiting == 0
    assert is_whole(folder)
    (run,) = runs(client)
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")] == list(range(EPOCHS))
    assert len(client.list_artifacts(run.info.run_id)) == EPOCHS + 1


@pytest.mark.slow
def test_when_the_run_is_killed_the_shipper_ships_the_rest_and_ends(tracking: MlflowTracking, outputs: Path, client: MlflowClient):
    code = (
        "import sys, time; from pathlib import Path; from geohydra.tracking.mlflow import MlflowTracking\n"
        "out = Path(sys.argv[1]); t = MlflowTracking(folder=str(out), experiment='fields')\n"
        "s = t.start_shipper([out / 'j']); j = t.open(out / 'j', name='killed', kind='run', config={})\n"
        "j.metrics({'val/iou': 0.25}); print(s.pid, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    run = subprocess.Popen([sys.executable, "-c", code, str(outputs)], stdout=subprocess.PIPE, cwd=root)
    assert run.stdout is not None
    with run.stdout:
        shipper = int(run.stdout.readline())
    os.kill(run.pid, signal.SIGKILL)
    run.wait()

    until(lambda: gone(shipper))
    (found,) = runs(client)
    assert (found.info.status, found.data.metrics["val/iou"]) == ("KILLED", 0.25)


@pytest.mark.slow
def test_a_store_that_cannot_be_reached_keeps_the_journal_and_says_so_once(outputs: Path, tracking: MlflowTracking):
    down = MlflowTracking(uri="http://127.0.0.1:9", experiment="fields", folder=str(outputs))
    journal = down.open(outputs / "j", name="alone", kind="run", config={})
    shipper = down.start_shipper([outputs / "j"])
    heard: list[str] = []
    until(lambda: bool(heard.extend(shipper.notices()) or heard))
    journal.metrics({"val/iou": 0.5})
    journal.end("FINISHED")

    started = time.monotonic()
    shipped = shipper.wait(30)

    assert time.monotonic() - started < 10
    assert (shipped.whole, shipped.waiting) == (0, 1)
    assert "nothing listens there" in shipped.problem
    assert [text for text in [*heard, *shipper.notices()] if "geohydra sync" in text] == heard
    assert sync(outputs, uri=tracking.uri).whole == 1


@pytest.mark.slow
def test_a_store_that_hangs_holds_the_end_of_a_run_no_longer_than_asked(outputs: Path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        hanging = MlflowTracking(uri=f"http://127.0.0.1:{mute.getsockname()[1]}", experiment="fields", folder=str(outputs))
        hanging.open(outputs / "j", name="alone", kind="run", config={}).end("FINISHED")
        shipper = start_shipper([outputs / "j"])

        shipped = shipper.wait(6)

    assert shipped.waiting == 1
    assert "not done within 6 s" in shipped.problem
    assert gone(shipper.pid)


@pytest.mark.slow
def test_eight_jobs_that_write_into_a_new_sqlite_file_at_once_lose_no_row(tmp_path: Path, crowd: Crowd):
    assert crowd.write(tmp_path) == [0] * crowd.jobs

    crowd.check(connect(f"sqlite:///{tmp_path}/mlflow.db"))


def test_journals_are_found_parents_first(tmp_path: Path):
    for place in ("runs/b/journal", "runs/a/journal/0", "runs/a/journal", "runs/a/journal/files/x", "store/chip"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "events.jsonl").touch()

    assert [str(place.relative_to(tmp_path)) for place in find_journals(tmp_path)] == [
        "runs/a/journal",
        "runs/b/journal",
        "runs/a/journal/0",
    ]


def test_nothing_to_sync_needs_no_process(tmp_path: Path):
    started = time.monotonic()

    assert sync(tmp_path).waiting == 0
    assert time.monotonic() - started < 1


def test_a_password_is_not_taken_for_a_sync_either(tmp_path: Path):
    with pytest.raises(ConfigError, match="in the environment"):
        sync(tmp_path, uri="http://me:secret@host")
