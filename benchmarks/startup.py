"""How long a user waits before anything happens: help, and composing, checking and planning the default, in fresh processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from _measure import Measured, measure, report, small

ROOT = Path(__file__).resolve().parents[1]
FIGURES = (
    ("--help", ["--help"], 1.0),
    ("--version", ["--version"], 1.0),
    ("compose + check + plan of the default", ["plan"], 2.0),
    ("compose + check of config and data of the default", ["check"], 2.0),
    ("the plan of a sweep of four jobs", ["plan", "-m", "train.lr=1e-2,1e-3", "model=unet,fpn"], 3.0),
)


def main() -> int:
    """Print a line a figure; 0 when all are within their limits."""
    repeats = 1 if small(__doc__ or "") else 5
    with tempfile.TemporaryDirectory() as folder:
        ratios = [figure(name, command(words, folder), seconds, repeats) for name, words, seconds in FIGURES]
    return 0 if max(ratios) <= 1.0 else 1


def figure(name: str, call: Callable[[], object], seconds: float, repeats: int) -> float:
    """One line; its limit is a number of seconds, not another program."""
    return report(name, measure(call, repeats=repeats), Measured(seconds, seconds), 1.0)


def command(words: list[str], folder: str) -> Callable[[], object]:
    """A fresh process, started in an empty folder."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from geohydra.cli import main; sys.exit(main({words!r}))"
    return lambda: subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
