"""Links both ways between a run on a cluster and its run in MLflow, with a real MLflow server and pods that execute."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SMALL = ("experiment=quick", "pipeline=short", "source.size=64", "source.scenes=1", "bundle.registered_name=null", "name=linked")
SHORT = "steps: {ingest: {uses: [source, lock, seed], role: io}}\nparameters: []\n"


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; ended by its own process group."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    options = {"--backend-store-uri": f"sqlite:///{folder}/mlflow.db", "--artifacts-destination": str(folder / "files"), "--workers": "1"}
    words = [part for pair in options.items() for part in pair]
    command = [sys.executable, "-m", "mlflow", "server", *words, "--port", uri.rpartition(":")[2]]
    quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=quiet, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    deadline = time.monotonic() + 180
    while not _answers(uri):
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.3)
    yield uri
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


def _answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def geohydra(kubeflow: Any, folder: Path, *words: str) -> str:
    (folder / "conf" / "pipeline").mkdir(parents=True, exist_ok=True)
    (folder / "conf" / "pipeline" / "short.yaml").write_text(SHORT)
    there = (
        f"runner.host={kubeflow.host}",
        "runner=kfp",
        "runner.poll=0.3",
        f"store={folder}/store",
        f"+cluster.volumes={{{folder}: claim}}",
    )
    command = [sys.executable, "-m", "geohydra", *SMALL, *there, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_of(client: Any, name: str) -> Any:
    (run,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    return run


def shown(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """The page of the last task, and what the engine was told of it."""
    answers = [json.loads(path.read_text()) for path in folder.rglob("executor_output.json")]
    (told,) = (answer["artifacts"]["report"]["artifacts"][0] for answer in answers if "report" in answer["artifacts"])
    return Path(told["uri"].removeprefix("file://")).read_text(), told["metadata"]


def test_either_run_leads_to_the_other(kubeflow: Any, mlflow_server: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    told = geohydra(kubeflow, tmp_path, f"tracking.uri={mlflow_server}")

    run = run_of(MlflowClient(mlflow_server), "linked")
    there = next(word for line in told.splitlines() if line.startswith("submitted: ") for word in line.split() if "/#/runs/" in word)
    here = f"{mlflow_server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
    assert run.data.tags["kubeflow.url"] == there
    assert there.endswith(run.data.tags["kubeflow.run_id"])
    assert run.data.tags["mlflow.note.content"].startswith(f"[The run on Kubeflow]({there})")
    assert f"in MLflow: {here}" in told
    page, metadata = shown(tmp_path)
    assert f"<a href='{here}' target='_blank' rel='noopener'>" in page
    assert metadata == {"mlflow": here, "kubeflow": there}


def test_a_run_that_the_engine_opened_is_filled_without_a_clash(kubeflow: Any, mlflow_server: str, tmp_path: Path) -> None:
    """As Kubeflow's plug-in for MLflow does it: a run for the task, its address in the environment, the task's inputs as parameters."""
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server)
    theirs = client.create_run(client.create_experiment("theirs"), run_name="how-it-ended").info
    for name in ("plan", "store", "run_id", "run_name", "tracking_run", "config_ingest"):
        client.log_param(theirs.run_id, name, "theirs")
    plugged = f"MLFLOW_RUN_ID: {theirs.run_id}, MLFLOW_EXPERIMENT_ID: '{theirs.experiment_id}', MLFLOW_TRACKING_URI: '{mlflow_server}'"

    told = geohydra(kubeflow, tmp_path, f"+cluster.env={{{plugged}}}", "tracking.uri=http://127.0.0.1:9", "name=ours")

    run = client.get_run(theirs.run_id)
    assert f"in MLflow: {mlflow_server}/#/experiments/{theirs.experiment_id}/runs/{theirs.run_id}" in told
    assert run.info.status == "RUNNING"
    assert run.data.tags["kubeflow.run_id"]
    assert run.data.params["geo/source.size"] == "64"
    assert {value for key, value in run.data.params.items() if not key.startswith("geo/")} == {"theirs"}
    assert client.get_experiment_by_name("ours") is None


def test_a_run_that_is_told_from_here_leads_there_too(kubeflow: Any, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    told = geohydra(kubeflow, tmp_path, f"tracking.folder={tmp_path}")

    run = run_of(MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"), "linked")
    assert run.data.tags["kubeflow.url"] in told
    assert run.info.status == "FINISHED"
