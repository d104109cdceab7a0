"""Plans and compiled files as they were last looked at: a change of either is seen in a review. scripts/golden writes them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
RUNS = {"default": (), "quick": ("experiment=quick",)}
SWEEP = ("-m", "train.lr=1e-2,1e-3", "model=unet,fpn")


def geohydra(folder: Path, *words: str) -> str:
    """What a command prints, run in an empty folder."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "GEOHYDRA", "KFP"))}
    ended = subprocess.run([sys.executable, "-m", "geohydra", *words], cwd=folder, env=known, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def compare(name: str, text: str) -> None:
    """Hold a text against the golden one; or write that, where the environment asks for it."""
    path = GOLDEN / name
    if os.environ.get("GEOHYDRA_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", RUNS)
def test_the_plan_of_a_run_is_the_golden_one(name: str, tmp_path: Path) -> None:
    compare(f"{name}.plan", geohydra(tmp_path, "plan", *RUNS[name]))


def test_the_plan_of_a_sweep_is_the_golden_one(tmp_path: Path) -> None:
    compare("sweep.plan", geohydra(tmp_path, "plan", *SWEEP))


def test_the_compiled_default_is_the_golden_one(tmp_path: Path) -> None:
    geohydra(tmp_path, "compile", "-o", "pipeline.yaml", "--image", "geohydra:0.1.0", "store=s3://bucket/geohydra", "tracking=none")

    compare("default.pipeline.yaml", re.sub(r"sdkVersion: .*", "sdkVersion: kfp", (tmp_path / "pipeline.yaml").read_text()))
