"""The compiled file of the whole pipeline, run by kfp's own local runner, makes what geohydra's runner makes."""

from __future__ import annotations

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
    *("model.encoder=mobilenet_v2", "tracking=none", "bundle.registered_name=null"),
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


def test_both_runners_make_the_same_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geohydra(tmp_path, *SMALL, f"outputs={tmp_path}/ours")
    geohydra(tmp_path, "compile", "-o", "pipeline.yaml", "--image", "geohydra-python", *SMALL, f"store={tmp_path}/theirs")

    run_with_kfp(tmp_path / "pipeline.yaml", tmp_path / "root", monkeypatch)

    ours, theirs = outputs(tmp_path / "ours" / "store"), outputs(tmp_path / "theirs")
    assert set(ours) == set(theirs)
    assert len(ours) == 7
    for place, manifest in ours.items():
        assert content(manifest) == content(theirs[place]), place


def run_with_kfp(path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Execute a compiled file with kfp's local runner, on this machine's Python instead of in containers."""
    from kfp import components, local
    from kfp.local.subprocess_task_handler import SubprocessTaskHandler

    monkeypatch.setattr(SubprocessTaskHandler, "validate_not_container_component", lambda *_: None)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
    components.load_component_from_file(str(path))()
