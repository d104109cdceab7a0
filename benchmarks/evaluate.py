"""Evaluation against a streaming `numpy.bincount` over both rasters, and its peak memory at two sizes.

`python benchmarks/evaluate.py [--small]`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from _measure import measure_in_turn, report
from rasterio.windows import Window as Box

from geohydra.evaluation.streaming import compare
from geohydra.raster.labels import RasterGround
from geohydra.raster.write import CogWriter
from geohydra.types import Grid, Shape, Window

CLASSES = 6
SLACK = 2.0
SLACK_MB = 60


def make(path: Path, size: int, seed: int) -> Path:
    """A raster of classes in patches."""
    if path.exists():
        return path
    draw = np.random.default_rng(seed)
    with CogWriter(path, grid=grid(size), bands=1, dtype="uint8", nodata=255, names=dict(enumerate("abcdef"))) as writer:
        for row in range(0, size, 512):
            rows = min(512, size - row)
            patches = draw.integers(0, CLASSES, (1, -(-rows // 16), -(-size // 16)), np.uint8)
            writer.write(row, patches.repeat(16, 1).repeat(16, 2)[:, :rows, :size])
    return path


def grid(size: int) -> Grid:
    """A square of pixels of one metre."""
    return Grid("EPSG:32633", (1, 0, 500_000, 0, -1, 5_000_000), Shape(size, size))


def bare(truth: Path, prediction: Path) -> Callable[[], None]:
    """What a careful person would write by hand."""

    def run() -> None:
        counts = np.zeros(CLASSES * CLASSES, np.int64)
        with rasterio.open(truth) as first, rasterio.open(prediction) as second:
            for row in range(0, first.height, 512):
                box = Box(0, row, first.width, min(512, first.height - row))
                codes = first.read(1, window=box) * CLASSES + second.read(1, window=box)
                counts += np.bincount(codes.ravel(), minlength=CLASSES * CLASSES)

    return run


def ours(truth: Path, prediction: Path, size: int) -> Callable[[], None]:
    """The same counts as the evaluate step takes them."""
    ids = {name: place for place, name in enumerate("abcdef")}

    def run() -> None:
        ground = RasterGround(str(truth), grid(size), dict(enumerate("abcdef")))
        whole = [Window(0, 0, Shape(size, size))]
        compare(
            prediction,
            None,
            shape=Shape(size, size),
            windows=whole,
            truth=lambda window: ground.mask(window, ids=ids, background=255),
            classes=CLASSES,
        )

    return run


def peak(folder: Path, size: int) -> float:
    """Peak memory in MB of a process that compares two rasters that are there already."""
    make(folder / f"truth{size}.tif", size, 0)
    make(folder / f"prediction{size}.tif", size, 1)
    command = [sys.executable, __file__, "--folder", str(folder), "--size", str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def highest() -> float:
    """Peak memory of this process in MB; what it was started from does not count, as it would in `getrusage`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    """Print a line for speed and a line for memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="1 million pixels, memory at 1,024 and 2,048 px")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--size", type=int, default=0)
    options = parser.parse_args()
    if options.size:
        ours(options.folder / f"truth{options.size}.tif", options.folder / f"prediction{options.size}.tif", options.size)()
        print(highest())
        return
    sizes, repeats = ((1024, 2048), 2) if options.small else ((8192, 16_384), 5)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        low, high = (peak(folder, size) for size in sizes)
        files = folder / f"truth{sizes[0]}.tif", folder / f"prediction{sizes[0]}.tif"
        limit, own = measure_in_turn([bare(*files), ours(*files, sizes[0])], repeats=repeats)
        report(f"evaluate {sizes[0]} px", own, limit, SLACK, by="cpu")
        print(
            f"evaluate memory: {high:.0f} MB at {sizes[1]} px, {low:.0f} MB at {sizes[0]} px;"
            f" difference {high - low:.0f} MB (target <= {SLACK_MB})"
        )


if __name__ == "__main__":
    main()
