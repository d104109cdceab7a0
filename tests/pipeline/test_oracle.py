"""The compiled file of the whole pipeline, run by kfp's own local runner, makes what geohydra's runner makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from geohydra.work import read_manifest

pytestmark = pytest.mark.slow

SMALL = (
    *("experiment=quick", "source.size=256", "chip.size=64", "predict.window=64", "train.epochs=1", "train.batch_size=4"),
    "model.encoder=mobilenet_v2",
)
TIMED = ("report/curves.jsonl", "report/report.html", "/model.json", "report/metrics.json")
"""Files that tell of seconds or of the day, or of files that do."""


def geohydra(folder: Path, *words: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "geohydra", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def outputs(store: Path) -> dict[str, dict[str, Any]]:
    """The manifest of every output in a store, by its place."""
    found = {path.parent.relative_to(store).as_posix(): read_manifest(str(path.parent)) for path in store.glob("*/*/manifest.json")}
    return {place: manifest for place, manifest in found.items() if manifest is not None}


def content(manifest: dict[str, Any]) -> dict[str, str]:
    """Digests of the files that are the same every time."""
    return {file["path"]: file["sha256"] for file in manifest["files"] if not file["path"].endswith((*TIMED, ".png", "MLmodel", ".md"))}


DEPLOYED = ("train.lr=0.003", "deploy.when='test/accuracy >= 0'", "bundle.registered_name=oracle", "bundle.alias=champion")
"""What is run here; the compiled file gets the learning rate when it is started."""


def test_both_runners_make_the_same_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geohydra(tmp_path, *SMALL, *DEPLOYED, f"outputs={tmp_path}/ours", "tracking=none")
    database = f"sqlite:///{tmp_path}/mlflow.db"
    shared = tuple(f"pipeline.shards.{stage}=2" for stage in ("ingest", "chip", "predict", "evaluate"))
    engine = (*shared, "pipeline.parameters=[train.lr]", f"store={tmp_path}/theirs", "tracking=mlflow")
    tracked = (f"tracking.uri={database}", f"tracking.folder={tmp_path}")
    words = (*SMALL, *DEPLOYED[1:], *engine, *tracked)
    geohydra(tmp_path, "compile", "-o", "pipeline.yaml", "--image", "geohydra-python", *words)

    run_with_kfp(tmp_path / "pipeline.yaml", tmp_path / "root", monkeypatch, train_lr=0.003)

    ours, theirs = outputs(tmp_path / "ours" / "store"), outputs(tmp_path / "theirs")
    shards = {place for place, manifest in theirs.items() if "shard" in manifest}
    assert set(ours) == set(theirs) - shards
    assert (len(ours), len(shards)) == (8, 8)
    for place, manifest in ours.items():
        assert content(manifest) == content(theirs[place]), place
    told_to_mlflow(database)
    shown_by_kubeflow(tmp_path / "root")


def told_to_mlflow(database: str) -> None:
    """The last task has told of the run as if it had been here: its values, its scores, its model."""
    import mlflow

    client = mlflow.MlflowClient(database)
    (run,) = client.search_runs([client.get_experiment_by_name("quick").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == run.data.params["optimizer.lr"] == "0.003"
    assert run.data.tags["kubeflow.run_id"]
    assert "test/iou" in run.data.metrics
    assert client.get_model_version_by_alias("oracle", "champion").run_id == run.info.run_id


def shown_by_kubeflow(root: Path) -> None:
    """Pages, scalars and curves stand where the engine looks for them."""
    answers = [json.loads(path.read_text())["artifacts"] for path in root.rglob("executor_output.json")]
    shown = [answer["classification"]["artifacts"][0]["metadata"] for answer in answers if "classification" in answer]
    assert [set(metadata) for metadata in shown] == [{"confusionMatrix", "confidenceMetrics"}]
    assert any("test/iou" in answer["metrics"]["artifacts"][0]["metadata"] for answer in answers if "metrics" in answer)
    assert len(list(root.rglob("report/report"))) + len(list(root.rglob("report"))) > 8


def run_with_kfp(path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> None:
    """Execute a compiled file with kfp's local runner, on this machine's Python instead of in containers."""
    from kfp import components, local
    from kfp.local.subprocess_task_handler import SubprocessTaskHandler

    monkeypatch.setattr(SubprocessTaskHandler, "validate_not_container_component", lambda *_: None)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
    components.load_component_from_file(str(path))(**arguments)
