"""The evaluate step: predictions of each split held against the ground."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra import storage
from geohydra.build import build
from geohydra.errors import ConfigError, StepError
from geohydra.task import Comparing, Pair, Parted, parted, viewed
from geohydra.work import Config, Work

if TYPE_CHECKING:
    from geohydra.evaluation.settings import Evaluation

VERSION = 1

SHOWS = ("classification",)
"""What an engine's pages show of it beside scalars: the confusion matrix and a ROC curve."""

Asked = Mapping[str, Sequence[Pair]]
"""Every predicted scene that has a part in a split, by split."""


def undivided(config: Config) -> str | None:
    """Why this evaluation cannot be done in shards, if it cannot."""
    task = build(config["task"], where="task")
    if isinstance(task, Comparing):
        return None
    return f"the task {type(task).__name__} compares all scenes at once: it has no `comparison`"


def run(config: Config, work: Work) -> None:
    """Needs ingest, chip and predict; writes `metrics.json`: metrics by `split/name`, and the best thresholds of each split.

    Each scene is counted by itself, and what is counted is kept if the step is stopped. A shard leaves only its counts.
    """
    task, settings = build(config["task"], where="task"), build(config["evaluate"], where="evaluate")
    asked = {split: _pairs(work, task, split) for split in settings.splits}
    if not isinstance(task, Comparing):
        if not work.is_whole:
            raise ConfigError("pipeline.shards.evaluate", str(undivided(config)), "leave it at 1")
        return _write({split: task.evaluate(asked[split], split=split, settings=settings, work=work) for split in asked}, work)
    counted = work.share([(split, pair) for split, pairs in asked.items() for pair in pairs])
    _count(task, counted, settings, work)
    if work.is_whole:
        return _conclude(task, asked, [work.state], settings, work)
    for split, pair in counted:
        place = _place(work.out, split, pair)
        place.parent.mkdir(parents=True, exist_ok=True)
        storage.link(_place(work.state, split, pair), place)
    work.report.metrics({"evaluate/scenes": len(counted)})
    return None


def merge(config: Config, work: Work) -> None:
    """The scores of all scenes, from what shards counted in the order of the scenes: the same files as if one step had counted all."""
    task, settings = build(config["task"], where="task"), build(config["evaluate"], where="evaluate")
    asked = {split: _pairs(work, task, split) for split in settings.splits}
    if not isinstance(task, Comparing):
        raise ConfigError("pipeline.shards.evaluate", str(undivided(config)), "leave it at 1")
    _conclude(task, asked, work.made(), settings, work)


def _count(task: Comparing, counted: Sequence[tuple[str, Pair]], settings: Evaluation, work: Work) -> None:
    """Count each scene, less those that were counted before the step was stopped."""
    from geohydra.evaluation.counting import write_counts

    comparison = task.comparison()
    for place, (split, pair) in enumerate(counted):
        work.progress(place, len(counted), f"{split}: {pair.scene.id}")
        file = _place(work.state, split, pair)
        if not file.exists():
            write_counts(file, comparison.count(pair, settings=settings))
    work.progress(len(counted), len(counted), "")


def _conclude(task: Comparing, asked: Asked, folders: Sequence[Path], settings: Evaluation, work: Work) -> None:
    """Scores from counts: those of the n-th scene of all stand in the folder of the shard whose turn it was."""
    from geohydra.evaluation.counting import KeptCounts

    every = [(split, pair) for split, pairs in asked.items() for pair in pairs]
    files = [_place(folders[place % len(folders)], split, pair) for place, (split, pair) in enumerate(every)]
    if not all(file.exists() for file in files):
        raise StepError("evaluate", "the shards do not make a whole", "they are of different runs: run the evaluate step again")
    found, start = {}, 0
    for split, pairs in asked.items():
        counts = KeptCounts(files[start : start + len(pairs)])
        found[split] = task.comparison().conclude(pairs, counts, split=split, settings=settings, work=work)
        start += len(pairs)
    _write(found, work)


def _write(found: Mapping[str, Mapping[str, Any]], work: Work) -> None:
    told = {split: one["metrics"].items() for split, one in found.items()}
    metrics = {f"{split}/{name}": float(value) for split, items in told.items() for name, value in items if math.isfinite(value)}
    thresholds = {split: one["thresholds"] for split, one in found.items()}
    work.report.metrics(metrics)
    (work.out / "metrics.json").write_text(json.dumps({"metrics": metrics, "thresholds": thresholds}, indent=1, sort_keys=True))


def _place(folder: Path, split: str, pair: Pair) -> Path:
    return folder / "counts" / split / f"{pair.scene.id}.npz"


def _pairs(work: Work, task: Any, split: str) -> list[Pair]:
    """Every predicted scene that has a part in the split."""
    from geohydra import catalogue
    from geohydra.chips.index import read_splits

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
