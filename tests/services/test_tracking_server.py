"""A run and a sweep that tell the tracking server of docker/compose.yaml, made of real processes: PostgreSQL, MLflow, an S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tests.services.conftest import Stack

pytestmark = pytest.mark.slow

SMALL = ["experiment=quick", "source.size=256", "chip.size=64", "predict.window=64", "train.epochs=2", "model.encoder=mobilenet_v2"]


def geohydra(folder: Path, uri: str, *words: str, more: Mapping[str, str] | None = None) -> str:
    """What it prints. It has no key of the object store: the server hands files on."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "AWS_", "PG"))}
    environment = {**clean, "MLFLOW_TRACKING_URI": uri, **(more or {})}
    command = [sys.executable, "-m", "geohydra", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs stand: they share a store."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def client(tracking_server: Stack) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_server.uri, registry_uri=tracking_server.uri)


def keys_below(stack: Stack, prefix: str) -> list[str]:
    """What the object store holds, asked with its own keys."""
    import boto3

    keys = {"aws_access_key_id": stack.values["S3_ACCESS_KEY"], "aws_secret_access_key": stack.values["S3_SECRET_KEY"]}
    door = boto3.client("s3", endpoint_url=stack.objects, region_name="us-east-1", **keys)
    pages = door.get_paginator("list_objects_v2").paginate(Bucket="geohydra", Prefix=prefix)
    return [one["Key"] for page in pages for one in page.get("Contents", ())]


def rows_of(stack: Stack, words: str) -> list[tuple[Any, ...]]:
    """What the database holds."""
    import psycopg

    door = {"host": "127.0.0.1", "port": stack.database, "user": "mlflow", "dbname": "mlflow"}
    with psycopg.connect(**door, password=stack.values["POSTGRES_PASSWORD"]) as connection:  # type: ignore[arg-type]
        return connection.execute(words).fetchall()  # type: ignore[arg-type]


def test_a_run_arrives_whole_in_the_database_and_the_object_store(tracking_server: Stack, client: MlflowClient, folder: Path) -> None:
    told = geohydra(folder, tracking_server.uri, *SMALL, "name=alone")

    assert f"in MLflow: {tracking_server.uri}/#/experiments/" in told
    (run,) = client.search_runs([client.get_experiment_by_name("alone").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "2"
    assert 0 <= run.data.metrics["test/iou"] <= 1
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 2
    version = client.get_model_version_by_alias("alone", "latest")
    assert version.run_id == run.info.run_id
    place = f"mlflow/{run.info.experiment_id}/{run.info.run_id}/artifacts"
    held = keys_below(tracking_server, place)
    assert {f"{place}/bundle/MLmodel", f"{place}/config.yaml"} <= set(held)
    assert any(key.startswith(f"{place}/figures/") and key.endswith(".png") for key in held)
    assert rows_of(tracking_server, f"select status from runs where run_uuid = '{run.info.run_id}'") == [("FINISHED",)]
    assert not (folder / "mlflow.db").exists()


def test_a_sweep_is_a_parent_with_its_jobs_and_its_best_model(tracking_server: Stack, client: MlflowClient, folder: Path) -> None:
    geohydra(folder, tracking_server.uri, *SMALL, "name=two", "sweep.promote=champion", "-m", "train.lr=0.0003,0.003")

    runs = client.search_runs([client.get_experiment_by_name("two").experiment_id])
    kinds = {run.data.tags["geohydra.kind"]: run for run in runs}
    (parent,) = (run for run in runs if run.data.tags["geohydra.kind"] == "sweep")
    jobs = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert set(kinds) == {"sweep", "job"}
    assert [run.info.status for run in (parent, *jobs)] == ["FINISHED"] * 3
    assert {run.data.metrics["hp/train.lr"] for run in jobs} == {0.0003, 0.003}
    assert {"comparison.html", "comparison.csv", "parallel_coordinates.png"} <= {
        Path(one.path).name for one in client.list_artifacts(parent.info.run_id, "comparison")
    }
    assert "is version" in parent.data.tags["geohydra.promoted"]


def test_a_name_that_is_not_allowed_is_refused(tracking_server: Stack) -> None:
    def status(host: str) -> int:
        request = urllib.request.Request(f"{tracking_server.uri}/api/2.0/mlflow/experiments/search?max_results=1", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status("tracking:5000") == 200
    assert status("elsewhere.example.org") == 403
