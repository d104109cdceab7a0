"""Scores of a million found boxes in one scene against as many true ones: time, and memory above what the boxes take.

Also the whole of evaluate from the files, and memory by the number of scenes. `python benchmarks/object_scores.py [--small]`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import shapely

from geohydra.evaluation.object_scenes import Meeting
from geohydra.evaluation.objects import ObjectTallies, evaluate
from geohydra.evaluation.overlaps import Found, Truth
from geohydra.evaluation.settings import Evaluation
from geohydra.task import Detections, Pair
from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape, Window
from geohydra.vector.found import files_of, found_files
from geohydra.work import Resources, Work

NAMES = ("car", "ship", "tree", "tank", "plane")
SECONDS, GIGABYTES = 60.0, 2.0
BYTES = 120
"""What a found object may leave behind, at most, in a tally of many scenes."""


class Objects:
    """A task that finds five kinds of objects."""

    classes = NAMES


def side(count: int) -> int:
    """Pixels of a scene in which boxes are as dense as in a car park."""
    return int(30 * count**0.5)


def boxes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """True boxes and classes; found boxes a little off, and their scores."""
    draw = np.random.default_rng(seed)
    start = draw.random((count, 2)) * (side(count) - 50)
    truth = np.hstack([start, start + draw.uniform(10, 40, (count, 2))])
    found = truth + draw.normal(0, 2, truth.shape)
    return truth, draw.integers(0, len(NAMES), count), found, draw.random(count).astype(np.float32)


def grid(count: int) -> Grid:
    """Pixels of a metre."""
    return Grid("EPSG:32633", (1, 0, 500_000, 0, -1, 5_000_000), Shape(side(count), side(count)))


def make(folder: Path, count: int) -> None:
    """Labels and found objects as files."""
    truth, classes, found, scores = boxes(count)
    top, left, bottom, right = truth.T
    polygons = shapely.box(500_000 + left, 5_000_000 - bottom, 500_000 + right, 5_000_000 - top)
    geopandas.GeoDataFrame({"class": np.array(NAMES)[classes]}, geometry=polygons, crs="EPSG:32633").to_parquet(folder / "labels.parquet")
    with found_files(folder, grid=grid(count), classes=NAMES) as writer:
        for start in range(0, count, 1 << 16):
            part = slice(start, start + (1 << 16))
            writer.write(Detections(found[part], scores[part], classes[part]))


def of_arrays(count: int) -> Callable[[], object]:
    """All metrics of boxes that are in memory."""
    truth, classes, found, scores = boxes(count)
    seen = Meeting(Found.of(found, classes, scores), Truth.of(truth, classes), np.zeros(count))
    windows = (Window(0, 0, grid(count).shape),)

    def run() -> object:
        tallies = ObjectTallies(NAMES, Evaluation())
        tallies.add("scene", seen, windows)
        return tallies.metrics(np.array([tallies.best[name] for name in NAMES]))

    return run


def of_files(folder: Path, count: int) -> Callable[[], object]:
    """The same from files, with tables and curves."""
    shape = grid(count)
    image = Asset("none.tif", ("red", "green", "blue"), (1, 2, 3), "uint8")
    scene = Scene("scene", shape, (image,), LabelAsset(str(folder / "labels.parquet"), "vector"))
    pair = Pair(scene, folder, files_of(folder), (Window(0, 0, shape.shape),))
    work = Work({}, folder / "work", Resources())
    return lambda: evaluate(Objects(), [pair], split="test", settings=Evaluation(maps=0, examples=0), work=work)


def of_scenes(scenes: int, count: int) -> Callable[[], object]:
    """Many scenes of a few boxes each, one after the other."""
    windows = (Window(0, 0, grid(count).shape),)

    def run() -> object:
        tallies = ObjectTallies(NAMES, Evaluation())
        for place in range(scenes):
            truth, classes, found, scores = boxes(count, place)
            tallies.add(str(place), Meeting(Found.of(found, classes, scores), Truth.of(truth, classes), np.zeros(count)), windows)
        return tallies.metrics(np.full(len(NAMES), 0.5))

    return run


def memory(name: str) -> float:
    """MB that this process has (VmRSS) or had at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def alone(*options: str) -> list[float]:
    """Seconds of the clock and of the processor, and peak memory above the start in MB, of a process of its own."""
    command = [sys.executable, __file__, *options]
    return [float(word) for word in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-3:]]


def told(call: Callable[[], object]) -> None:
    """Run once, and print what it took."""
    before, wall, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    call()
    print(time.perf_counter() - wall, time.process_time() - cpu, memory("VmHWM") - before)


def line(name: str, wall: float, cpu: float, peak: float) -> None:
    """One figure against its limits."""
    met = cpu <= SECONDS and peak <= 1000 * GIGABYTES
    limit = f"limit {SECONDS:.0f} s CPU and {1000 * GIGABYTES:.0f} MB"
    print(f"{name}: {wall:.1f} s wall, {cpu:.1f} s CPU, {peak:.0f} MB above its input ({limit}){'' if met else ' MISSED'}", flush=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="20,000 boxes: shows that the benchmark works")
    parser.add_argument("--run", choices=["arrays", "files", "scenes"])
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=0)
    options = parser.parse_args()
    if options.run:
        calls = {
            "arrays": lambda: of_arrays(options.count),
            "files": lambda: of_files(options.folder, options.count),
            "scenes": lambda: of_scenes(options.scenes, options.count),
        }
        told(calls[options.run]())
        return
    count, few, each = (20_000, 20, 1000) if options.small else (1_000_000, 100, 1000)
    line(f"object scores, {count:,} boxes in memory", *alone("--run", "arrays", "--count", str(count)))
    with tempfile.TemporaryDirectory() as place:
        make(Path(place), count)
        line(f"evaluate, {count:,} boxes from files", *alone("--run", "files", "--count", str(count), "--folder", place))
    low, high = (alone("--run", "scenes", "--count", str(each), "--scenes", str(scenes))[2] for scenes in (few, 5 * few))
    growth = (high - low) * 1e6 / (4 * few * each)
    print(
        f"object scores by scene: {low:.0f} MB with {few} scenes of {each:,} boxes, {high:.0f} MB with {5 * few}; "
        f"{growth:.0f} bytes a box (target <= {BYTES}){'' if growth <= BYTES else ' MISSED'}"
    )


if __name__ == "__main__":
    main()
