"""The services of docker/compose.yaml as processes of this machine: what runs, and with which options, is read from that file."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker" / "compose.yaml"
WITH_LOGIN = ROOT / "docker" / "compose.auth.yaml"

_WORD = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def resolved(text: str, values: Mapping[str, str]) -> str:
    """`${NAME:?why}` and `${NAME:-default}` as compose reads them."""

    def value(found: re.Match[str]) -> str:
        name, sign, rest = found.groups()
        if not values.get(name) and sign == "?":
            raise AssertionError(f"{name}: {rest}")
        return values.get(name) or (rest if sign == "-" else "")

    return _WORD.sub(value, text)


def service(name: str, *files: Path, values: Mapping[str, str]) -> dict[str, Any]:
    """A service with its environment filled in; later files win, as with `docker compose -f A -f B`."""
    known: dict[str, Any] = {"environment": {}}
    for file in files:
        given = yaml.safe_load(file.read_text())["services"].get(name, {})
        environment = {key: resolved(str(text), values) for key, text in given.get("environment", {}).items()}
        known = {**known, **given, "environment": {**known["environment"], **environment}}
    return known


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def postgres_programs() -> Path:
    """Where initdb and postgres are; a test without them is skipped, except in CI."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: float(place.parent.name))
    found = next((place for place in reversed(places) if (place / "initdb").exists()), None)
    if found is None and (program := shutil.which("initdb")):
        found = Path(program).resolve().parent
    if found is None and os.environ.get("GEOHYDRA_CI"):
        pytest.fail("PostgreSQL is not installed: CI must install the Debian package postgresql")
    if found is None:
        pytest.skip("PostgreSQL is not installed here: apt-get install postgresql")
    return found


@contextmanager
def running(command: Sequence[str], *, log: Path, ready: Callable[[], bool], seconds: float, **options: Any) -> Iterator[int]:
    """A process that answers; ended by its own process group."""
    with log.open("ab") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True, **options)
    try:
        deadline = time.monotonic() + seconds
        while not ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def postgres(user: str, password: str) -> Iterator[int]:
    """A PostgreSQL server with a database of the user's name; its port. It does not run as root, so that root lends it another name."""
    import psycopg

    programs, folder, port = postgres_programs(), Path(tempfile.mkdtemp(prefix="geohydra-postgres-")), free_port()
    runs_as: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        account = pwd.getpwnam("nobody")
        os.chown(folder, account.pw_uid, account.pw_gid)
        runs_as |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    word = folder / "word"
    word.write_text(password)
    word.chmod(0o644)
    made = [
        programs / "initdb",
        "--pgdata=data",
        f"--username={user}",
        "--auth=scram-sha-256",
        "--pwfile=word",
        "--encoding=UTF8",
        "--no-sync",
    ]
    subprocess.run(made, check=True, capture_output=True, **runs_as)
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
    command = [str(programs / "postgres"), "-D", "data", *(part for key, value in settings.items() for part in ("-c", f"{key}={value}"))]

    def connected() -> bool:
        try:
            with psycopg.connect(host="127.0.0.1", port=port, user=user, password=password, dbname="postgres", autocommit=True) as door:
                door.execute(f"create database {user}")  # type: ignore[arg-type]
        except psycopg.OperationalError:
            return False
        return True

    try:
        with running(command, log=folder / "log", ready=connected, seconds=60, **runs_as):
            yield port
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Stack:
    """Database, object store and tracking server, as docker/compose.yaml puts them together."""

    folder: Path
    values: Mapping[str, str]
    database: int
    objects: str
    uri: str = ""
    log: Path = field(default_factory=Path)

    @contextmanager
    def serving(self, *files: Path, **more: str) -> Iterator[Stack]:
        """The tracking server of these files. Only addresses differ from theirs."""
        port, moved = free_port(), {"@database:5432/": f"@127.0.0.1:{self.database}/", "http://objects:8333": self.objects}
        told = service("tracking", *files, values={**self.values, **more})
        for text, here in moved.items():
            told["environment"] = {key: value.replace(text, here) for key, value in told["environment"].items()}
        told["environment"] |= {"MLFLOW_HOST": "127.0.0.1", "MLFLOW_PORT": str(port)}
        for name, place in ((one.split(":")[0], one.split(":")[1]) for one in told.get("volumes", ())):
            text = (ROOT / "docker" / name).read_text().replace("@database:5432/", f"@127.0.0.1:{self.database}/")
            (self.folder / Path(place).name).write_text(text)
            told["environment"] = {
                key: value.replace(place, str(self.folder / Path(place).name)) for key, value in told["environment"].items()
            }
        command = [sys.executable, "-m", *told["command"]]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "AWS_", "PG"))}
        self.uri, self.log = f"http://127.0.0.1:{port}", self.folder / f"server-{port}.log"
        environment = {**clean, **told["environment"]}
        with running(command, log=self.log, ready=self.answers, seconds=180, env=environment, cwd=self.folder):
            yield self

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A database and an object store, ready for a tracking server."""
    import boto3
    from moto.server import ThreadedMotoServer

    names = ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY")
    values = {name: secrets.token_hex(16) for name in names}
    known = service("database", COMPOSE, values=values)["environment"]
    bucket = service("objects", COMPOSE, values=values)["environment"]["S3_BUCKET"]
    objects = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with postgres(known["POSTGRES_USER"], known["POSTGRES_PASSWORD"]) as port:
        objects.start()
        host, at = objects.get_host_and_port()
        keys = {"aws_access_key_id": values["S3_ACCESS_KEY"], "aws_secret_access_key": values["S3_SECRET_KEY"], "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=f"http://{host}:{at}", **keys).create_bucket(Bucket=bucket)
        yield Stack(tmp_path_factory.mktemp("services"), values, port, f"http://{host}:{at}")
        objects.stop()


@pytest.fixture(scope="module")
def tracking_server(stack: Stack) -> Iterator[Stack]:
    """The server of docker/compose.yaml."""
    with stack.serving(COMPOSE):
        yield stack


@pytest.fixture(scope="module")
def guarded(stack: Stack) -> Iterator[Stack]:
    """The server with a login, of docker/compose.auth.yaml on top, on the same database."""
    with stack.serving(COMPOSE, WITH_LOGIN):
        yield stack
