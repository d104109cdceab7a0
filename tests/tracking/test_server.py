"""Against a real MLflow server: the same promises over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from geohydra.tracking.client import connect
from geohydra.tracking.mlflow import MlflowTracking
from geohydra.tracking.shipper import start_shipper, sync

if TYPE_CHECKING:
    from tests.tracking.conftest import Crowd

pytestmark = pytest.mark.slow


class Server:
    """`mlflow server` with one worker on a free loopback port, ended by its own process group."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = f"sqlite:///{self.folder}/mlflow.db"
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1", "--port", str(self.port)]
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--artifacts-destination", str(self.folder / "artifacts")],
                env={**os.environ, **settings},
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 15)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, 9)
                self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    server = Server(folder)
    yield server
    server.stop()


def test_a_server_that_is_down_gets_everything_later_and_once(server: Server, tmp_path: Path, crowd: Crowd):
    tracking = MlflowTracking(uri=server.uri, experiment="fields", folder=str(tmp_path))
    folder = tmp_path / "runs/1/journal"
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/MLmodel").write_text("flavors: {}")
    journal = tracking.open(folder, name="while down", kind="run", config={"a": 1})
    for epoch in range(5):
        journal.metrics({"train/loss": epoch}, step=epoch)
    journal.model(str(tmp_path / "bundle"), "fields", "champion")
    journal.end("FINISHED")
    shipper = start_shipper([folder])
    assert shipper.wait(30).waiting == 1

    server.start()
    first, second = sync(tmp_path), sync(tmp_path)

    assert (first.whole, first.waiting, first.problem) == (1, 0, "")
    assert (second.whole, second.waiting) == (0, 0)
    assert first.address.startswith(f"{server.uri}/#/experiments/")
    client = connect(server.uri)
    (run,) = crowd.runs(client)
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "train/loss")] == [0, 1, 2, 3, 4]
    assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {"bundle", "config.yaml"}
    assert client.get_model_version_by_alias("fields", "champion").run_id == run.info.run_id


def test_a_server_that_goes_down_and_comes_back_during_a_run(server: Server, tmp_path: Path, crowd: Crowd):
    server.start()
    tracking = MlflowTracking(uri=server.uri, experiment="fields", folder=str(tmp_path))
    folder = tmp_path / "runs/1/journal"
    journal = tracking.open(folder, name="through it all", kind="run", config={"a": 1})
    shipper = start_shipper([folder])
    client = connect(server.uri)
    started = time.monotonic()
    while not crowd.runs(client):
        assert time.monotonic() - started < 60
        time.sleep(0.2)
    server.stop()
    journal.metrics({"val/iou": 0.5}, step=1)
    notices: list[str] = []
    deadline = time.monotonic() + 60
    while not notices and time.monotonic() < deadline:
        notices += shipper.notices()
        time.sleep(0.1)
    server.start()
    journal.metrics({"val/iou": 0.6}, step=2)
    journal.end("FINISHED")

    shipped = shipper.wait(60)

    assert "geohydra sync" in notices[0]
    assert (shipped.whole, shipped.waiting, shipped.problem) == (1, 0, "")
    assert any("answers again" in text for text in shipper.notices())
    (run,) = crowd.runs(client)
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "val/iou")] == [0.5, 0.6]


def test_eight_jobs_that_write_to_a_server_at_once_lose_no_row(server: Server, tmp_path: Path, crowd: Crowd):
    server.start()

    assert crowd.write(tmp_path, server.uri) == [0] * crowd.jobs

    crowd.check(connect(server.uri))
