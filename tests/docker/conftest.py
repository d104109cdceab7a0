"""A real container engine with the image of the steps, and plans to run on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from geohydra import __version__

IMAGE = f"geohydra:{__version__}"

LONGEST = 900.0
"""Seconds that an engine may take which is started while other tests run."""


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """The client of an engine that has the image.

    GEOHYDRA_ENGINE names a folder in which `scripts/engine start` makes one: then a missing one is a failure, as it is in CI.
    Else it is the engine of this machine, and a test is skipped where that has no such image.
    """
    folder = os.environ.get("GEOHYDRA_ENGINE")
    before = os.environ.get("DOCKER_HOST")
    if folder:
        _await(Path(folder))
        os.environ["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
    try:
        client = docker.from_env(timeout=120)
        client.images.get(IMAGE)
    except docker.errors.DockerException as error:
        if folder:
            pytest.fail(f"the engine in {folder} cannot be used: {error}")
        pytest.skip(f"no engine with the image {IMAGE}: `scripts/engine start FOLDER` makes one, then set GEOHYDRA_ENGINE=FOLDER")
    yield client
    client.close()
    os.environ.pop("DOCKER_HOST")
    if before is not None:
        os.environ["DOCKER_HOST"] = before


Shell = Callable[..., str]


@pytest.fixture(scope="session")
def inside(engine: Any) -> Shell:
    """Runs a command in a container that may write nowhere but below /tmp and reaches nothing; what it printed."""

    def call(*words: str, **settings: Any) -> str:
        asked = {"network_mode": "none", "read_only": True, "tmpfs": {"/tmp": ""}, "remove": True, "stderr": True, **settings}
        return str(engine.containers.run(IMAGE, list(words), **asked).decode())

    return call


def _await(folder: Path) -> None:
    deadline = time.monotonic() + LONGEST
    while not (folder / "ready").exists():
        log = folder / "start.log"
        if (folder / "failed").exists() or time.monotonic() > deadline:
            end = log.read_text(errors="replace")[-3000:] if log.exists() else "its log is not in its folder"
            pytest.fail(f"no container engine in {folder}:\n{end}")
        time.sleep(0.5)
