"""A small project with a pipeline of its own: real steps and parts, but nothing that takes time."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PARTS = '''
"""Parts of the small project."""
from __future__ import annotations
from typing import Annotated, Literal
from pydantic import Field
from geohydra.errors import ConfigError
from geohydra.types import LockEntry


class Numbers:
    """A source of numbers."""

    def __init__(self, *, count: Annotated[int, Field(ge=1)] = 3, path: str | None = None, bands: list[str] | None = None) -> None:
        self.count, self.path, self.bands, self.classes = count, path, tuple(bands or ()), ("odd", "even")

    def lock(self):
        return [LockEntry("numbers", size=self.count)]

    def scenes(self, lock, folder, progress):
        return iter(())


class Power:
    """A model."""

    def __init__(self, *, exponent: Annotated[float, Field(gt=0)], kind: Literal["plain", "fancy"] = "plain", stride: int = 32,
                 bands: list[str] | None = None) -> None:
        self.exponent, self.kind, self.stride, self.bands = exponent, kind, stride, bands

    def check(self, parts):
        if self.exponent == 13:
            yield ConfigError("model.exponent", "13 brings bad luck", "take 12")


class Chips:
    """Chips."""

    def __init__(self, *, size: Annotated[int, Field(ge=1)] = 64) -> None:
        self.size = size


class Training:
    """Training settings."""

    def __init__(self, *, lr: Annotated[float, Field(gt=0)], epochs: int = 1, batch_size: int = 4) -> None:
        self.lr, self.epochs, self.batch_size = lr, epochs, batch_size
'''

INGEST = '''
"""Write the numbers."""
import json
VERSION = 1


def run(config, work):
    work.say("counting")
    (work.out / "numbers.json").write_text(json.dumps(list(range(config["source"]["count"]))))
'''

TRAIN = '''
"""Add powers up."""
import json
from geohydra.errors import DataError
VERSION = 1


def run(config, work):
    numbers = json.loads((work.input("ingest") / "numbers.json").read_text())
    exponent = config["model"]["exponent"]
    if exponent == 7:
        raise DataError("model.exponent", "seven does not train", "take another")
    if exponent == 8:
        raise RuntimeError("the network exploded")
    total = sum(number ** exponent for number in numbers) * config["train"]["lr"]
    work.report.metrics({"val/total": total})
    (work.out / "total.json").write_text(json.dumps(total))
'''

CONF = {
    "geohydra": """
        defaults:
          - source: numbers
          - model: power
          - chip: small
          - train: quick
          - pipeline: toy
          - hardware: cpu
          - runner: local
          - tracking: none
          - sweep: grid
          - _self_
          - experiment: null
        name: toy
        seed: 0
        outputs: outputs
        store: ${outputs}/store
        lock: []
        """,
    "source/numbers": "{_target_: toyparts.Numbers, count: 3, path: null, bands: [red, green]}",
    "source/needy": "{_target_: toyparts.Numbers, path: '???'}",
    "source/wrong": "{_target_: toyparts.Power, exponent: 2}",
    "model/power": "{_target_: toyparts.Power, exponent: 2, kind: plain}",
    "model/cube": "{_target_: toyparts.Power, exponent: 3}",
    "chip/small": "{_target_: toyparts.Chips, size: 64}",
    "train/quick": "{_target_: toyparts.Training, lr: 0.5, epochs: 1, batch_size: 4}",
    "runner/local": "{_target_: geohydra.pipeline.runners.local.LocalRunner, parallel: 2, retries: 0}",
    "experiment/big": """
        # @package _global_
        defaults:
          - override /model: cube
        train: {lr: 2.0}
        """,
    "pipeline/toy": """
        steps:
          ingest: {step: toysteps.ingest, uses: [source, lock, seed], role: io}
          train: {step: toysteps.train, needs: [ingest], uses: [model, chip, train, seed], role: cpu}
        """,
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the small project, which is also where the user stands."""
    for name, text in CONF.items():
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    library = tmp_path / "library"
    for name, text in {"toyparts.py": PARTS, "toysteps/__init__.py": "", "toysteps/ingest.py": INGEST, "toysteps/train.py": TRAIN}.items():
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOHYDRA_PLUGINS", "toyparts,toysteps")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(library), str(Path(__file__).resolve().parents[2])]))
    monkeypatch.syspath_prepend(str(library))
    yield tmp_path
    for module in [name for name in sys.modules if name.partition(".")[0] in ("toyparts", "toysteps")]:
        del sys.modules[module]


@pytest.fixture
def geohydra(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process of its own, standing in the small project."""

    def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "geohydra", *words],
            cwd=project,
            capture_output=True,
            text=True,
            env=os.environ | environment,
            timeout=120,
        )

    return call
