"""Boxes of overlapping windows become those of the scene: a million of them, in seconds and memory.

`python benchmarks/unite.py [--small]`. Objects stand all over a scene; each window tells those that it sees, cut at its edges, with boxes
and scores of its own. Targets: a million boxes in 60 s and 2 GB, and memory that does not grow with the scene.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from geohydra.prediction.uniting import Uniter
from geohydra.raster.windows import WindowPlan
from geohydra.task import Detections
from geohydra.types import Shape, Window

WINDOW = Shape(512, 512)
STRIDE = Shape(384, 384)
SECONDS, GIGABYTES = 60.0, 2.0


def told(rng: np.random.Generator, window: Window, seed: int, each: int) -> Detections:
    """What a window shows of a scene full of objects, about `each` of them, a little moved."""
    parts = [_cell(row, col, seed, each) for row in _cells(window.row, window.row_stop) for col in _cells(window.col, window.col_stop)]
    boxes = np.concatenate(parts) + rng.normal(0, 0.5, (sum(map(len, parts)), 4))
    top = np.maximum(boxes[:, :2], [window.row, window.col])
    bottom = np.minimum(boxes[:, 2:], [window.row_stop, window.col_stop])
    seen = (bottom - top > 2).all(axis=1)
    boxes = np.concatenate([top, bottom], axis=1)[seen]
    return Detections(boxes, rng.uniform(0.1, 1, len(boxes)).astype(np.float32), (boxes.sum(axis=1) * 0).astype(np.int64))


def _cells(start: int, stop: int) -> range:
    return range(start // 128 - 1, stop // 128 + 1)


def _cell(row: int, col: int, seed: int, each: int) -> np.ndarray:
    """Objects of a square of 128 pixels, whatever window shows it."""
    rng = np.random.default_rng([seed, row + 10, col + 10])
    count = max(1, each // 16)
    corner = rng.uniform(0, 128, (count, 2)) + np.array([row * 128, col * 128])
    return np.concatenate([corner, corner + rng.uniform(5, 30, (count, 2))], axis=1)


def unite(boxes: int, each: int) -> tuple[int, int, float]:
    """Unite about so many; returns boxes in, objects out, and seconds in the uniting alone."""
    side = int(np.sqrt(boxes / (each * 1.2)) * STRIDE.rows) + WINDOW.rows
    plan = WindowPlan(Shape(side, side), WINDOW, STRIDE)
    rng, uniter = np.random.default_rng(0), Uniter(plan)
    given, found, seconds = 0, 0, 0.0
    for row, top in enumerate(plan.row_starts):
        for left in plan.col_starts:
            window = Window(top, left, WINDOW)
            part = told(rng, window, 1, each)
            given += len(part)
            started = time.perf_counter()
            uniter.add(part, window)
            seconds += time.perf_counter() - started
        started = time.perf_counter()
        found += len(uniter.settled(row))
        seconds += time.perf_counter() - started
    return given, found + len(uniter.rest()), seconds


def main() -> None:
    """Print a line for a scene and for one four times as large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="twenty thousand boxes")
    options = parser.parse_args()
    for boxes in (5_000, 20_000) if options.small else (250_000, 1_000_000):
        given, found, seconds = unite(boxes, each=400)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        missed = "" if seconds <= SECONDS and peak <= GIGABYTES else " MISSED"
        limits = f"(targets <= {SECONDS:.0f} s, <= {GIGABYTES:.0f} GB)"
        print(f"unite {given} boxes: {found} objects, {seconds:.1f} s, {peak:.2f} GB {limits}{missed}", flush=True)


if __name__ == "__main__":
    main()
