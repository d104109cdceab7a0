"""A tracking server that asks for a login: docker/compose.auth.yaml on top of docker/compose.yaml, as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from geohydra.tracking.client import connect, reason
from geohydra.tracking.mlflow import MlflowTracking
from geohydra.tracking.shipper import start_shipper, sync

if TYPE_CHECKING:
    from tests.services.conftest import Stack

pytestmark = pytest.mark.slow

INGEST = ["experiment=quick", "pipeline=short", "source.size=64", "source.scenes=1", "bundle.registered_name=null", "name=secret"]


@pytest.fixture
def login(guarded: Stack, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with the right login."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", guarded.values["MLFLOW_ADMIN_PASSWORD"])
    return monkeypatch


def told(uri: str, folder: Path) -> Path:
    """A run that has ended, in a journal that waits to be sent."""
    journal = folder / "runs" / "1" / "journal"
    record = MlflowTracking(uri=uri, experiment=folder.name, folder=str(folder)).open(journal, name="one", kind="run", config={"a": 1})
    record.metrics({"val/iou": 0.5}, step=1)
    record.text("note.txt", "kept")
    record.end("FINISHED")
    return journal


def test_a_login_in_the_environment_is_enough(guarded: Stack, login: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shipped = start_shipper([told(guarded.uri, tmp_path)]).wait(90)

    assert (shipped.whole, shipped.waiting, shipped.problem) == (1, 0, "")
    client = connect(guarded.uri)
    (run,) = client.search_runs([client.get_experiment_by_name(tmp_path.name).experiment_id])
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["config.yaml", "note.txt"]


@pytest.mark.parametrize(
    ("environment", "remedy"),
    [
        ({"MLFLOW_TRACKING_PASSWORD": "not this one"}, "it does not take this login: correct MLFLOW_TRACKING_USERNAME and"),
        ({"MLFLOW_TRACKING_TOKEN": "older", "MLFLOW_TRACKING_USERNAME": ""}, "the token has expired, or is not one of this server"),
        ({"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}, "it asks for a login: set MLFLOW_TRACKING_USERNAME and"),
    ],
)
def test_a_wrong_login_is_a_sentence_and_costs_nothing(
    guarded: Stack, login: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], remedy: str
) -> None:
    right = {name: os.environ.get(name, "") for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")}
    for name, value in environment.items():
        login.setenv(name, value) if value else login.delenv(name, raising=False)

    shipped = start_shipper([told(guarded.uri, tmp_path)], log=tmp_path / "ship.log").wait(90)

    assert (shipped.whole, shipped.waiting) == (0, 1)
    assert shipped.problem.startswith(f"MLflow at {guarded.uri} cannot be reached: {remedy}")
    login.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    for name, value in right.items():
        login.setenv(name, value)
    again = sync(tmp_path)
    assert (again.whole, again.waiting, again.problem) == (1, 0, "")


def test_who_may_only_read_is_told_so(guarded: Stack, login: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mlflow.server import get_app_client

    start_shipper([told(guarded.uri, tmp_path)]).wait(90)
    get_app_client("basic-auth", guarded.uri).create_user("reader", "a password to read with")
    login.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    login.setenv("MLFLOW_TRACKING_PASSWORD", "a password to read with")

    client = connect(guarded.uri)
    (run,) = client.search_runs([client.get_experiment_by_name(tmp_path.name).experiment_id])
    with pytest.raises(Exception) as refused:  # noqa: PT011
        client.log_metric(run.info.run_id, "val/iou", 1.0)

    assert reason(refused.value) == "this login may not do that: ask for the right to edit the experiment"


def test_the_password_stands_nowhere_but_in_the_environment(guarded: Stack, login: pytest.MonkeyPatch, tmp_path: Path) -> None:
    login.setenv("MLFLOW_TRACKING_URI", guarded.uri)
    (tmp_path / "conf" / "pipeline").mkdir(parents=True)
    (tmp_path / "conf" / "pipeline" / "short.yaml").write_text("steps: {ingest: {uses: [source, lock, seed], role: io}}\nparameters: []\n")
    password = guarded.values["MLFLOW_ADMIN_PASSWORD"]

    ran = _geohydra(tmp_path, *INGEST)
    compiled = _geohydra(tmp_path, "compile", *INGEST, "+cluster.secret_env={MLFLOW_TRACKING_PASSWORD: mlflow/password}", "-o", "p.yaml")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    assert f"in MLflow: {guarded.uri}" in ran.stdout
    assert "mlflow" in (tmp_path / "p.kubernetes.yaml").read_text()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert [path for path in written if password.encode() in path.read_bytes()] == []
    assert password not in ran.stdout + ran.stderr + compiled.stdout + compiled.stderr + guarded.log.read_text()
    assert _rows_with(guarded, password) == []


def _geohydra(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "geohydra", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


def _rows_with(stack: Stack, text: str) -> list[Any]:
    """Tables of the server's database that hold a text."""
    import psycopg

    door = {"host": "127.0.0.1", "port": stack.database, "user": "mlflow", "dbname": "mlflow"}
    found = []
    with psycopg.connect(**door, password=stack.values["POSTGRES_PASSWORD"]) as connection:  # type: ignore[arg-type]
        tables = connection.execute("select table_name from information_schema.tables where table_schema = 'public'").fetchall()
        for (table,) in tables:
            words = f'select 1 from "{table}" as one where one::text like %s limit 1'
            found += [table] if connection.execute(words, [f"%{text}%"]).fetchall() else []  # type: ignore[arg-type]
    return found
