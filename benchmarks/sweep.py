"""A grid over settings of training, against what it has to take (shared steps once, trainings side by side) and against separate runs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from _measure import small

TARGET = 1.1
PARALLEL = 2
SHARED = ("ingest", "analyze", "chip")
WORDS = (
    "experiment=quick",
    "pipeline=train",
    "tracking=none",
    "source.size=256",
    "chip.size=64",
    "model.encoder=resnet18",
    "bundle.registered_name=null",
    "hardware.gpu.cpu=1",
    "hardware.cpu.cpu=1",
    f"runner.parallel={PARALLEL}",
)
"""One core a step, so that two trainings share this machine fairly."""

EPOCHS = {"small": 8, "full": 45}
"""Trainings of half a minute: what starts only once should not be most of what is measured."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Overrides that are swept, and each of the jobs that they make."""

    words: tuple[str, ...]
    jobs: tuple[tuple[str, ...], ...]
    epochs: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds of one sweep: in all, of the steps that all share, of the trainings; CPU seconds in all."""

    wall: float
    cpu: float
    shared: float
    trains: float

    @property
    def needed(self) -> float:
        """What it has to take."""
        return self.shared + self.trains / PARALLEL


def main() -> int:
    """Print the figures as medians; 0 when the target is met. Small trainings are too short to meet it."""
    quick = small(__doc__ or "")
    rates = ("1e-3", "3e-3") if quick else ("3e-4", "1e-3", "2e-3", "5e-3")
    found = grid(rates, ("1e-4", "1e-2"), epochs=EPOCHS["small" if quick else "full"])
    repeats = 1 if quick else 3
    with tempfile.TemporaryDirectory() as folder:
        sweeps = [swept(found, Path(folder) / f"sweep-{number}") for number in range(repeats)]
        alone = separate(found, Path(folder), most=1 if quick else len(found.jobs))
    wall, cpu, needed = (statistics.median(values) for values in zip(*((one.wall, one.cpu, one.needed) for one in sweeps), strict=True))
    shared, trains = (statistics.median(values) for values in zip(*((one.shared, one.trains) for one in sweeps), strict=True))
    ratio = wall / needed
    count = len(found.jobs)
    print(f"shared steps {shared:.1f} s, {count} trainings {trains:.1f} s together, {PARALLEL} side by side: needed {needed:.1f} s")
    missed = "" if ratio <= TARGET else " MISSED"
    print(f"sweep of {count}: {wall:.1f} s wall, {cpu:.1f} s CPU; ratio {ratio:.2f} to what is needed (target <= {TARGET:.2f}){missed}")
    print(f"{count} separate runs: {alone[0]:.1f} s wall, {alone[1]:.1f} s CPU; the sweep takes {wall / alone[0]:.2f} of the wall time")
    return 0 if quick or ratio <= TARGET else 1


def grid(rates: Sequence[str], decays: Sequence[str], *, epochs: int) -> Grid:
    """Every rate with every decay."""
    words = (f"train.lr={','.join(rates)}", f"train.weight_decay={','.join(decays)}")
    return Grid(words, tuple((f"train.lr={rate}", f"train.weight_decay={decay}") for rate in rates for decay in decays), epochs)


def swept(found: Grid, outputs: Path) -> Taken:
    """One sweep into an empty store."""
    wall, cpu = _geohydra("-m", *found.words, f"train.epochs={found.epochs}", outputs=outputs)
    seconds = _seconds(outputs)
    return Taken(wall, cpu, sum(seconds[step] for step in SHARED), seconds["train"])


def separate(found: Grid, folder: Path, *, most: int) -> tuple[float, float]:
    """Wall and CPU seconds of each job by itself, one after the other, each with a store of its own; `most` are run and stand for all."""
    chosen = list(enumerate(found.jobs[:most]))
    used = [_geohydra(*job, f"train.epochs={found.epochs}", outputs=folder / f"alone-{place}") for place, job in chosen]
    times = len(found.jobs) / len(used)
    return times * sum(wall for wall, _ in used), times * sum(cpu for _, cpu in used)


def _geohydra(*words: str, outputs: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command with all that it starts: what a user waits and pays for."""
    command = [sys.executable, "-m", "geohydra", *words, *WORDS, f"outputs={outputs}"]
    started, cpu = time.perf_counter(), 0.0
    with (outputs.parent / "log.txt").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        while process.poll() is None:
            cpu = max(cpu, _cpu_of(process.pid))
            time.sleep(0.1)
        log.seek(0)
        if process.returncode:
            raise SystemExit(log.read())
    return time.perf_counter() - started, cpu


def _cpu_of(pid: int) -> float:
    """CPU seconds of a process, of what it started, and of what those have waited for: steps end before their server does."""
    total = 0.0
    with suppress(psutil.Error):
        top = psutil.Process(pid)
        for process in [top, *top.children(recursive=True)]:
            with suppress(psutil.Error):
                used = process.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
    return total


def _seconds(outputs: Path) -> dict[str, float]:
    """What the steps of each kind took together, by their manifests."""
    found: dict[str, float] = {}
    for path in outputs.glob("store/*/*/manifest.json"):
        manifest = json.loads(path.read_text())
        found[manifest["step"]] = found.get(manifest["step"], 0.0) + manifest["seconds"]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
