"""The evaluate step: predictions of each split held against the ground."""

from __future__ import annotations

import json
import math
from typing import Any

from geohydra.build import build
from geohydra.work import Config, Work

VERSION = 1

SHOWS = ("classification",)
"""What an engine's pages show of it beside scalars: the confusion matrix and a ROC curve."""


def run(config: Config, work: Work) -> None:
    """Needs ingest, chip and predict; writes `metrics.json`: metrics by `split/name`, and the best thresholds of each split."""
    task = build(config["task"], where="task")
    settings = build(config["evaluate"], where="evaluate")
    metrics: dict[str, float] = {}
    thresholds: dict[str, dict[str, float]] = {}
    for split in settings.splits:
        found = task.evaluate(_pairs(work, task, split), split=split, settings=settings, work=work)
        metrics |= {f"{split}/{name}": float(value) for name, value in found["metrics"].items() if math.isfinite(value)}
        thresholds[split] = found["thresholds"]
    work.report.metrics(metrics)
    (work.out / "metrics.json").write_text(json.dumps({"metrics": metrics, "thresholds": thresholds}, indent=1, sort_keys=True))


def _pairs(work: Work, task: Any, split: str) -> list[Any]:
    """Every predicted scene that has a part in the split."""
    from geohydra import catalogue
    from geohydra.chips.index import read_splits
    from geohydra.task import Pair, Parted, parted, viewed

    folder = work.input("predict")
    rows = {row["scene"]: row for row in json.loads((folder / "index.json").read_text())}
    windows: dict[str, list[Any]] = {}
    for region in read_splits(work.input("chip")):
        if region.split == split:
            windows.setdefault(region.scene, []).append(region.window)
    scenes = viewed(task, catalogue.read(work.input("ingest")))
    pairs = []
    for scene in scenes:
        here = {part.id: tuple(windows[part.id]) for part in parted(task, [scene]) if part.id in windows}
        if here and scene.id in rows:
            parts = here if isinstance(task, Parted) else {}
            pairs.append(Pair(scene, folder, rows[scene.id], tuple(window for part in here.values() for window in part), parts=parts))
    return pairs
