"""A run that the store serves as a whole: `geohydra` twice in an empty folder, the second time with nothing to compute."""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

LIMIT = 5.0
QUICK = ["train.epochs=1", "source.scenes=3", "source.size=256"]


def main() -> int:
    """Print the median of several stored runs, with tracking and without; 0 when it is within the limit."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--small", action="store_true", help="a smaller first run, fewer stored ones")
    small = options.parse_args().small
    with tempfile.TemporaryDirectory() as folder:
        _, first = timed(QUICK if small else [], Path(folder))
        tracked = [timed(QUICK if small else [], Path(folder)) for _ in range(2 if small else 5)]
        alone = [timed([*(QUICK if small else []), "tracking=none"], Path(folder)) for _ in range(2 if small else 5)]
    print(f"first run: {first:.1f} s wall")
    wall = told("stored run with tracking", tracked)
    told("stored run without tracking", alone)
    return 0 if wall <= LIMIT else 1


def told(name: str, found: Sequence[tuple[float, float]]) -> float:
    """Print the medians; return the one of wall seconds."""
    cpu, wall = (statistics.median(values) for values in zip(*found, strict=True))
    print(f"{name}: ours {cpu:.2f} s CPU, {wall:.2f} s wall; limit {LIMIT:.0f} s wall; ratio {wall / LIMIT:.2f} (target <= 1)")
    return wall


def timed(overrides: Sequence[str], folder: Path) -> tuple[float, float]:
    """CPU and wall seconds of one command, with all the processes that it waits for."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    wall, cpu = time.perf_counter(), children_cpu()
    subprocess.run([sys.executable, "-m", "geohydra", *overrides], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return children_cpu() - cpu, time.perf_counter() - wall


def children_cpu() -> float:
    """CPU seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
