"""A server of Kubeflow Pipelines on loopback: a real one for every client, with no cluster behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).parents[1] / "kfp_server.py"


class Kubeflow:
    """The stand-in, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        errors = (folder / "server.log").open("w")
        self._process = subprocess.Popen([sys.executable, str(SERVER), str(folder)], stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self._process.stdout is not None
        self.host = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def go_wrong(self, **faults: Any) -> None:
        """From now on; see the stand-in."""
        draft = self.folder / "faults.draft"
        draft.write_text(json.dumps(faults))
        draft.replace(self.folder / "faults.json")

    def requests(self) -> list[str]:
        """All that it was asked, in order."""
        place = self.folder / "requests.log"
        return place.read_text().splitlines() if place.exists() else []

    def asked(self, word: str) -> int:
        """How many requests hold this word."""
        return sum(word in line for line in self.requests())

    def stop(self) -> None:
        """Ends it, and all that it runs."""
        self._process.terminate()
        self._process.communicate(timeout=20)


@pytest.fixture
def kubeflow(steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubeflow]:
    """A running server, which knows the package `plugged`; no setting of this machine leads elsewhere."""
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Kubeflow(tmp_path / "kubeflow")
    yield server
    server.stop()
