"""Looking costs little: help, plan and check import nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch", "torchvision", "pytorch_lightning", "mlflow", "kfp", "albumentations", "cv2", "segmentation_models_pytorch", "timm",
    "matplotlib", "geopandas", "rasterio", "pandas", "sklearn", "torchmetrics",
)  # fmt: skip
PROGRAM = """
import json, sys
from geohydra.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print(json.dumps([code, sorted(name for name in sys.modules if "." not in name)]), file=sys.stderr)
"""


def imported(*words: str, cwd: Path) -> tuple[int, set[str], str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], cwd=cwd, capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules), done.stdout + done.stderr


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["plan", "--help"], ["run", "--help"]], ids=" ".join)
def test_help_imports_neither_hydra_nor_anything_heavy(repository: Path, words: list[str]) -> None:
    code, modules, _ = imported(*words, cwd=repository)
    assert code == 0
    assert not modules & {*HEAVY, "hydra", "omegaconf", "pydantic", "numpy"}


@pytest.mark.parametrize("words", [["plan"], ["check"]], ids=" ".join)
def test_plan_and_check_of_the_default_import_nothing_heavy(repository: Path, words: list[str]) -> None:
    code, modules, text = imported(*words, cwd=repository)
    assert code == 0, text
    assert not modules & set(HEAVY)
