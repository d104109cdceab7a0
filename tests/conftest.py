"""What every test may ask for."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from geohydra.pipeline.runners import StepOutcome

ROOT = Path(__file__).resolve().parents[1]

# Started in the background, a shell may have us ignore Ctrl-C, and all that tests start with us.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that is under test."""
    return ROOT


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real imagery; a test that asks for it is skipped where it is absent."""
    folder = Path(os.environ.get("GEOHYDRA_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real imagery is not here: set GEOHYDRA_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a real S3 protocol server on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh bucket, as `s3://name`; the environment leads there, as it does with Amazon's own tools."""
    import s3fs

    settings = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"geohydra-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem().mkdir(bucket)
    yield f"s3://{bucket}"
    s3fs.S3FileSystem.clear_instance_cache()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `task_option` runs once for every file in conf/task; likewise for every group."""
    for fixture in metafunc.fixturenames:
        group, _, kind = fixture.partition("_")
        if kind == "option":
            metafunc.parametrize(fixture, sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml")))


class Watch:
    """Remembers all that it is told."""

    def __init__(self) -> None:
        self.steps: list[StepOutcome] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.notices: list[str] = []

    def on_step(self, identity: str, outcome: StepOutcome) -> None:
        assert identity == outcome.id
        self.steps.append(outcome)

    def on_event(self, identity: str, event: Mapping[str, Any]) -> None:
        self.events.append((identity, dict(event)))

    def on_notice(self, text: str) -> None:
        self.notices.append(text)

    def statuses(self, identity: str) -> list[str]:
        return [step.status for step in self.steps if step.id == identity]


@pytest.fixture
def watch() -> Watch:
    """A listener."""
    return Watch()
