"""A run's test scores beside those of a pixel-wise random forest that learns and is tested on the same regions.

python benchmarks/random_forest.py outputs/runs/latest
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from geohydra import catalogue
from geohydra.build import build
from geohydra.chips.index import read_splits
from geohydra.ground import open_ground
from geohydra.raster.read import SceneReader
from geohydra.types import IGNORE

TREES, DEPTH, LEARNT = 60, 18, 400_000


def main() -> None:
    """Print IoU of each class, for both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run")
    run: Path = parser.parse_args().run
    config = yaml.safe_load((run / "config.yaml").read_text())
    task = build(config["task"], where="task")
    matrix, seconds = forest_matrix(run / "results", task)
    ours = json.loads((run / "results" / "evaluate" / "report" / "metrics.json").read_text())
    print(f"random forest: {TREES} trees of depth {DEPTH} on {LEARNT:,} pixels, {seconds:.0f} s")
    for name, theirs in zip((*task.classes, "mean"), (*iou(matrix), np.nanmean(iou(matrix))), strict=True):
        key = "test/iou" if name == "mean" else f"test/iou/{name}"
        print(f"IoU {name:<14} random forest {theirs:.3f}   geohydra {ours.get(key, float('nan')):.3f}")


def forest_matrix(results: Path, task: Any) -> tuple[NDArray[np.int64], float]:
    """The confusion matrix (truth, prediction) over the test regions, and the seconds it took."""
    started = time.monotonic()
    random = np.random.default_rng(0)
    pixels, truth = (np.concatenate(parts) for parts in zip(*_samples(results, task, "train"), strict=True))
    chosen = random.choice(len(truth), min(LEARNT, len(truth)), replace=False)
    forest = RandomForestClassifier(TREES, max_depth=DEPTH, n_jobs=2, random_state=0).fit(pixels[chosen], truth[chosen])
    count = len(task.classes)
    matrix = np.zeros((count, count), np.int64)
    for seen, known in _samples(results, task, "test"):
        matrix += np.bincount(known.astype(np.int64) * count + forest.predict(seen), minlength=count * count).reshape(count, count)
    return matrix, time.monotonic() - started


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of each class; not a number where a class is neither there nor predicted."""
    found = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - found
    return np.where(union > 0, found / np.maximum(union, 1), np.nan)


def _samples(results: Path, task: Any, split: str) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Labelled, valid pixels `(n, band)` and their class ids, region by region."""
    scenes = {scene.id: scene for scene in catalogue.read(results / "ingest")}
    for region in read_splits(results / "chip"):
        ground = open_ground(scenes[region.scene])
        if region.split != split or ground is None:
            continue
        with SceneReader(scenes[region.scene]) as reader:
            image = reader.read(region.window)
        mask = task.target(ground, region.window)["mask"]
        known = image.valid & (mask != IGNORE)
        yield image.pixels[:, known].T, mask[known]


if __name__ == "__main__":
    main()
