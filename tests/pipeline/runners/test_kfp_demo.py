"""`geohydra runner=kfp` with the real client, against a server that executes: the demo, from source to bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SMALL = (
    *("experiment=quick", "source.size=256", "chip.size=64", "predict.window=64", "train.epochs=1", "train.batch_size=4"),
    *("model.encoder=mobilenet_v2", "tracking=none", "bundle.registered_name=null", "runner=kfp", "runner.poll=0.3"),
)


def geohydra(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "geohydra", *words], cwd=folder, capture_output=True, text=True, check=False)


def test_the_demo_runs_on_a_cluster_to_results_in_the_store(kubeflow: Any, tmp_path: Path) -> None:
    words = (*SMALL, f"runner.host={kubeflow.host}", f"store={tmp_path}/store", f"+cluster.volumes={{{tmp_path}: claim}}")

    first = geohydra(tmp_path, *words)
    again = geohydra(tmp_path, *words)

    assert first.returncode == 0, first.stdout + first.stderr
    assert "submitted: quick" in first.stdout
    assert f"{kubeflow.host}/#/runs/details/" in first.stdout
    assert all(f"{step} " in first.stdout for step in ("ingest", "train", "bundle"))
    assert "test/iou" in first.stdout
    assert len(list((tmp_path / "store").glob("*/*/manifest.json"))) == 7
    assert again.returncode == 0
    assert "7 from the store" in again.stdout
    assert kubeflow.asked("POST /apis/v2beta1/runs") == 1


def test_what_pods_could_not_tell_mlflow_is_sent_from_here(kubeflow: Any, tmp_path: Path, notes: Path) -> None:
    (tmp_path / "conf" / "pipeline").mkdir(parents=True)
    (tmp_path / "conf" / "pipeline" / "short.yaml").write_text("steps: {ingest: {uses: [source, lock, seed], role: io}}\nparameters: []\n")
    words = [word for word in SMALL if not word.startswith("tracking")]
    words += ["pipeline=short", "tracking.uri=http://127.0.0.1:9", f"runner.host={kubeflow.host}", f"store={tmp_path}/store"]

    ran = geohydra(tmp_path, *words, f"+cluster.volumes={{{tmp_path}: claim}}")
    sent = geohydra(tmp_path, "sync", "--to", f"sqlite:///{tmp_path}/mlflow.db")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "MLflow could not be reached from the pods" in ran.stdout
    assert "1 run sent, 0 waiting" in sent.stdout, sent.stdout + sent.stderr


def test_a_clone_with_another_value_does_what_it_says(kubeflow: Any, tmp_path: Path) -> None:
    (tmp_path / "conf" / "pipeline").mkdir(parents=True)
    steps = "steps: {ingest: {uses: [source, lock, seed], role: io}}\nparameters: [seed]\n"
    (tmp_path / "conf" / "pipeline" / "short.yaml").write_text(steps)
    there = f"runner.host={kubeflow.host}"
    words = (*SMALL, "pipeline=short", there, f"store={tmp_path}/store", f"+cluster.volumes={{{tmp_path}: claim}}")

    first = geohydra(tmp_path, *words)
    identity = first.stdout.partition("/#/runs/details/")[2].split()[0]
    clone = geohydra(tmp_path, "remote", "clone", identity, "--set", "seed=5", there)
    watched = geohydra(tmp_path, "remote", "watch", clone.stdout.partition(":")[0], there, "runner.poll=0.3")

    assert [first.returncode, clone.returncode, watched.returncode] == [0, 0, 0], clone.stderr + watched.stderr
    assert len(list((tmp_path / "store" / "ingest").glob("*/manifest.json"))) == 2
