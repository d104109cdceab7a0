"""Curves that reach MLflow while the step still runs, in the run that the engine opened for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

LEARN = '''
"""Tells two epochs, and ends only when somebody else reads the first one in MLflow."""
import sqlite3, time
VERSION = 1

def run(config, work):
    work.report.curve({"val/iou": 0.25}, step=0)
    deadline = time.monotonic() + config["patience"]
    seen = []
    while not seen and time.monotonic() < deadline:
        with sqlite3.connect(config["database"], timeout=20) as door:
            seen = door.execute("select value from metrics where key = 'val/iou'").fetchall()
        time.sleep(0.3)
    (work.out / "seen.txt").write_text(str(seen))
    work.report.metrics({"val/iou": 0.5})
'''


def perform(folder: Path, database: Path, **environment: str) -> tuple[str, str]:
    """What the step saw of itself, and what it printed as an error."""
    package = folder / "packages" / "learning"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "learn.py").write_text(LEARN)
    patience = 90 if environment["MLFLOW_TRACKING_URI"].startswith("sqlite") else 1
    config = json.dumps({"database": str(database), "patience": patience})
    artifacts = {name: {"artifacts": [{"name": name, "uri": f"{folder}/{name}"}]} for name in ("report", "metrics")}
    outputs: dict[str, Any] = {"parameters": {"uri": {"outputFile": f"{folder}/uri"}}, "artifacts": artifacts}
    outputs["outputFile"] = f"{folder}/out.json"
    given = {"inputs": {"parameterValues": {"config": config, "store": f"{folder}/store"}}, "outputs": outputs}
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    paths = os.pathsep.join([str(package.parent), str(Path(__file__).parents[2])])
    clean |= {"PYTHONPATH": paths, "GEOHYDRA_PLUGINS": "learning", **environment}
    command = [sys.executable, "-m", "geohydra.steps", "learning.learn", "--executor-input", json.dumps(given)]
    done = subprocess.run(command, env=clean, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (Path((folder / "uri").read_text()) / "seen.txt").read_text(), done.stderr


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared store of MLflow."""
    from geohydra.tracking.client import connect

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


def test_an_epoch_stands_in_the_engines_run_before_the_step_ends(database: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    theirs = client.create_run("0", run_name="train").info.run_id

    seen, _ = perform(tmp_path, database, MLFLOW_TRACKING_URI=f"sqlite:///{database}", MLFLOW_RUN_ID=theirs)

    run = client.get_run(theirs)
    assert seen == "[(0.25,)]"
    assert run.info.status == "RUNNING"
    assert run.data.tags["geohydra.step"] == "learning.learn"
    assert run.data.params == {}


def test_without_a_run_nothing_is_told(database: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    before = len(MlflowClient(f"sqlite:///{database}").search_runs(["0"]))

    perform(tmp_path, database, MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    assert len(MlflowClient(f"sqlite:///{database}").search_runs(["0"])) == before


def test_a_server_that_is_away_costs_the_step_nothing_but_a_word(database: Path, tmp_path: Path) -> None:
    _, said = perform(tmp_path, database, MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_RUN_ID="abc")

    assert "curves were not told live: MLflow at http://127.0.0.1:9 cannot be reached: nothing listens there" in said
