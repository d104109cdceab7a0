"""Maps of several labels held against the ground: tables, pictures, headline metrics. Streams tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.evaluation import examples
from geohydra.evaluation.curves import LEVELS
from geohydra.evaluation.dense import by_cell, report_curves
from geohydra.evaluation.label_scores import LabelTally
from geohydra.evaluation.streaming import levels_of, opened, read_band, read_overview, tiles
from geohydra.types import IGNORE, PIXEL, Shape, Window

if TYPE_CHECKING:
    from geohydra.evaluation.settings import Evaluation
    from geohydra.task import Ground, Pair
    from geohydra.work import Work

Layers = Callable[[Window], NDArray[np.uint8]]
"""True labels `(class, row, col)` of a window: 0, 1, or IGNORE."""

_TILE = Shape(512, 2048)
_MAP = 600


class LabelTask(Protocol):
    """A task that answers with several labels for every pixel, or every cell."""

    classes: tuple[str, ...]
    colors: Mapping[str, str]

    def truth(self, ground: Ground, window: Window) -> NDArray[np.uint8]:
        """True labels `(class, row, col)` of a window of pixels or cells."""


@dataclass(frozen=True, slots=True)
class LabelComparison:
    """Label rasters held against the ground; of cells, those that lie within a window.

    Metrics have short names; thresholds are, of each class, the probability of the best F1. Scenes without labels do not count.
    """

    task: LabelTask
    cell: Shape = PIXEL

    def count(self, pair: Pair, *, settings: Evaluation) -> Mapping[str, NDArray[Any]]:
        """Labels by truth and answer, and by level of probability."""
        from geohydra.ground import open_ground

        ground = open_ground(pair.scene)
        if ground is None:
            return {}
        truth = partial(self.task.truth, ground)
        return compare_labels(by_cell(pair, self.cell), truth, len(self.task.classes), curves=settings.curves).arrays()

    def conclude(
        self, pairs: Sequence[Pair], counts: Sequence[Mapping[str, NDArray[Any]]], *, split: str, settings: Evaluation, work: Work
    ) -> dict[str, Any]:
        """Tables, pictures, metrics and thresholds."""
        task, prefix = self.task, "" if split == settings.splits[-1] else f"{split}_"
        total, rows, shown = LabelTally.none(len(task.classes)), [], 0
        for pair, found in zip(pairs, counts, strict=True):
            if not found:
                continue
            tally = LabelTally.of(found)
            total += tally
            if tally.answers.any():
                rows.append({"scene": pair.scene.id, **tally.headline(task.classes)})
            if shown < settings.maps:
                work.report.figure(f"{prefix}map_{pair.scene.id}", _map(by_cell(pair, self.cell), task))
                shown += 1
        if not total.answers.any():
            work.say(f"{split}: no pixel has both a label and a prediction, so it has no scores")
            return {"metrics": {}, "thresholds": {}}
        metrics = total.headline(task.classes)
        _report(work, task, rows, total, prefix=prefix, split=split)
        line = f"{split}: mean F1 {metrics['f1']:.3f}, subset accuracy {metrics['subset_accuracy']:.3f}"
        work.report.note(f"{line}; every class everywhere gives a mean F1 of {metrics['baseline_f1']:.3f}.")
        work.say(f"{line} (every class everywhere gives a mean F1 of {metrics['baseline_f1']:.3f})")
        return {"metrics": metrics, "thresholds": total.thresholds(task.classes)}


def compare_labels(pair: Pair, truth: Layers, classes: int, *, curves: bool) -> LabelTally:
    """Count over the windows of a scene. What is IGNORE in truth or prediction does not count."""
    shape = pair.scene.grid.coarse(pair.cell).shape
    total = LabelTally.none(classes)
    levels_file = pair.file("probabilities") if curves else None
    with opened(_classes_file(pair), shape) as predicted, opened(levels_file, shape) as probabilities:
        for box, region in tiles(shape, pair.windows, _TILE):
            labels = truth(box)
            if region is not None:
                labels = np.where(region, labels, np.uint8(IGNORE))
            answers = np.stack([read_band(predicted, place + 1, box) for place in range(classes)])
            total += tally_of(labels, answers, None if probabilities is None else _levels(probabilities, classes, box))
    return total


def _levels(probabilities: Any, classes: int, box: Window) -> NDArray[np.uint8]:
    """Levels `(class, row, col)`."""
    return np.stack([levels_of(read_band(probabilities, place + 1, box)) for place in range(classes)])


def tally_of(truth: NDArray[np.uint8], answers: NDArray[np.uint8], levels: NDArray[np.uint8] | None) -> LabelTally:
    """Counts of labels `(class, ...)` of 0, 1 and IGNORE, and levels of probability."""
    classes = len(truth)
    known = (truth != IGNORE) & (answers != IGNORE)
    codes = [np.bincount(2 * t[k].astype(np.int64) + a[k], minlength=4) for t, a, k in zip(truth, answers, known, strict=True)]
    counted = np.zeros((classes, 2, LEVELS + 1), np.int64)
    for place in range(classes if levels is not None else 0):
        if levels is not None:
            chosen = known[place] & (levels[place] <= LEVELS)
            code = (1 - truth[place][chosen].astype(np.int64)) * (LEVELS + 1) + levels[place][chosen]
            counted[place] = np.bincount(code, minlength=2 * (LEVELS + 1)).reshape(2, LEVELS + 1)
    whole = known.all(0)
    right = int(((truth == answers).all(0) & whole).sum())
    return LabelTally(np.stack(codes).reshape(classes, 2, 2), counted, right, int(whole.sum()))


def _classes_file(pair: Pair) -> Path:
    file = pair.file("classes")
    if file is None:
        raise KeyError(f"the prediction of {pair.scene.id} names no label raster")
    return file


def _report(work: Work, task: LabelTask, rows: Sequence[dict[str, Any]], total: LabelTally, *, prefix: str, split: str) -> None:
    names = task.classes
    work.report.table(f"{prefix}per_class", total.table(names))
    keys = [key for key in rows[0] if all(key in row for row in rows)]
    work.report.table(f"{prefix}per_scene", {key: [row[key] for row in rows] for key in keys})
    shades = dict(zip(names, pictures.palette(names, task.colors), strict=True))
    shown = {name: float(value) for name, value in zip(names, total.ratios["f1"], strict=True) if np.isfinite(value)}
    work.report.figure(f"{prefix}f1_by_class", pictures.bars(shown, title=f"F1 by class, {split}", colors=shades))
    report_curves(work.report, total.curves(names), prefix=prefix, split=split)


def _map(pair: Pair, task: LabelTask) -> bytes:
    """Image and prediction of a whole scene."""
    colors = pictures.palette(task.classes, task.colors)
    panels = [(f"{pair.scene.id} {title}".rstrip(), image) for title, image in examples.read_images(pair, longest=_MAP)]
    labels = read_overview(_classes_file(pair), _MAP, list(range(1, len(task.classes) + 1)))
    panels.append(("prediction", pictures.labels_rgb(labels, colors)))
    return pictures.side_by_side([panels], legend=dict(zip(task.classes, colors, strict=True)))
