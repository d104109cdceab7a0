"""The config of tracking with MLflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from geohydra.build import build
from geohydra.errors import ConfigError, GeohydraError
from geohydra.tracking.journal import read_events
from geohydra.tracking.mlflow import MlflowTracking

NODE = {"_target_": "geohydra.tracking.mlflow.MlflowTracking"}


@pytest.mark.parametrize("uri", ["http://me:secret@host:5000", "https://me@host", "postgresql://me:secret@host/db"])
def test_a_password_in_the_address_is_refused_and_not_repeated(uri: str):
    with pytest.raises(GeohydraError) as caught:
        build({**NODE, "uri": uri}, where="tracking")

    assert caught.value.where == "tracking.uri"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "mlruns"])
def test_a_folder_is_no_tracking_uri(uri: str):
    with pytest.raises(ConfigError):
        MlflowTracking(uri=uri)


def test_without_a_uri_runs_go_to_an_sqlite_file_in_the_folder(tmp_path: Path):
    tracking = MlflowTracking(folder=str(tmp_path))

    assert tracking.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking.artifacts == (tmp_path / "mlartifacts").as_uri()


def test_a_server_decides_on_artefacts_itself():
    assert MlflowTracking(uri="http://localhost:5000").artifacts == ""


def test_opening_tells_params_config_and_swept_numbers(tmp_path: Path):
    tracking = MlflowTracking(folder=str(tmp_path))

    tracking.open(tmp_path / "j", name="r", kind="job", config={"train": {"lr": 0.1}}, overrides=["train.lr=0.1"], number=2)

    begin, params, metrics, config = read_events(tmp_path / "j")
    assert begin["tags"]["geohydra.kind"] == "job"
    assert params["values"] == {"train.lr": "0.1"}
    assert metrics["values"] == {"hp/train.lr": 0.1}
    assert (tmp_path / "j" / config["path"]).read_text() == "train:\n  lr: 0.1\n"


def test_a_run_attaches_to_the_one_in_the_environment_and_a_child_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    tracking = MlflowTracking(folder=str(tmp_path))

    tracking.open(tmp_path / "j", name="r", kind="sweep", config={})
    tracking.open(tmp_path / "j" / "0", name="r", kind="job", config={}, parent=tmp_path / "j")

    assert read_events(tmp_path / "j")[0]["attach"] == "abc"
    assert read_events(tmp_path / "j" / "0")[0]["attach"] == ""
    assert read_events(tmp_path / "j" / "0")[0]["parent"] == ".."


def test_the_config_class_imports_no_mlflow(repository: Path):
    code = "import sys, geohydra.tracking.mlflow; sys.exit('mlflow' in sys.modules or 'pandas' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=repository, check=False).returncode == 0


def test_a_credential_in_a_config_is_never_told(tmp_path: Path):
    tracking = MlflowTracking(uri=f"sqlite:///{tmp_path}/m.db", folder=str(tmp_path))

    with pytest.raises(ConfigError, match=r"source\.images: this looks like a password in an address"):
        tracking.open(tmp_path / "j", name="r", kind="run", config={"source": {"images": "https://me:geheim@example.org/*.tif"}})

    assert not (tmp_path / "j").exists()
