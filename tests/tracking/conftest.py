"""An sqlite store for tests of tracking: made once, copied for each test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from geohydra.tracking.client import connect
from geohydra.tracking.mlflow import MlflowTracking

ROOT = Path(__file__).resolve().parents[2]

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared sqlite file without runs."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def outputs(tmp_path: Path, empty_store: Path) -> Path:
    """A folder of outputs with a prepared store; its name is not a simple one."""
    folder = tmp_path / "my outputs"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture
def tracking(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowTracking:
    """Tracking into that store."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return MlflowTracking(folder=str(outputs), experiment="fields")


@pytest.fixture
def client(tracking: MlflowTracking) -> MlflowClient:
    """A client of that store."""
    return connect(tracking.uri)


WRITER = """
import sys
from pathlib import Path
from geohydra.tracking.mlflow import MlflowTracking
out, job = Path(sys.argv[1]), sys.argv[2]
tracking = MlflowTracking(uri=sys.argv[4] if len(sys.argv) > 4 else None, folder=str(out), experiment="fields")
folder = out / "runs" / job / "journal"
shipper = tracking.start_shipper([folder], log=folder / "ship.log")
journal = tracking.open(folder, name=f"job-{job}", kind="run", config={"job": job, "many": {str(i): i for i in range(60)}})
for epoch in range(int(sys.argv[3])):
    journal.metrics({f"train/{name}": epoch + int(job) for name in ("loss", "iou", "f1")}, step=epoch)
journal.text("plan.txt", job)
journal.end("FINISHED")
shipped = shipper.wait(120)
sys.exit(0 if (shipped.whole, shipped.waiting) == (1, 0) else f"{shipped}")
"""


class Crowd:
    """Eight real processes that all write into one store at the same time, and what must stand there afterwards."""

    jobs = 8
    epochs = 40

    def write(self, outputs: Path, uri: str = "") -> list[int]:
        """Exit codes of all."""
        arguments = [[str(outputs), str(job), str(self.epochs), *([uri] if uri else [])] for job in range(self.jobs)]
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, *given], cwd=ROOT) for given in arguments]
        return [writer.wait(240) for writer in writers]

    def check(self, client: MlflowClient) -> None:
        """Every run, parameter, point of a curve and file, once."""
        found = self.runs(client)
        assert sorted(run.info.run_name for run in found) == [f"job-{job}" for job in range(self.jobs)]
        for run in found:
            assert run.info.status == "FINISHED"
            assert len(run.data.params) == 61
            assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {"config.yaml", "plan.txt"}
            job = int(run.data.params["job"])
            for name in ("loss", "iou", "f1"):
                history = client.get_metric_history(run.info.run_id, f"train/{name}")
                assert [(point.step, point.value) for point in history] == [(epoch, epoch + job) for epoch in range(self.epochs)]

    @staticmethod
    def runs(client: MlflowClient) -> list[Any]:
        """All runs of the experiment."""
        experiment = client.get_experiment_by_name("fields")
        return list(client.search_runs([experiment.experiment_id])) if experiment else []


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()
