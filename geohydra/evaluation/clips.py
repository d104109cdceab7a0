"""Classes of clips held against the labels: tables, a picture, headline metrics."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra.types import IGNORE, Scene, Window

if TYPE_CHECKING:
    from geohydra.evaluation.settings import Evaluation
    from geohydra.task import Ground, Pair, Target
    from geohydra.work import Work


class ClipTask(Protocol):
    """What is asked of a task that answers for clips."""

    classes: tuple[str, ...]

    def parts(self, scene: Scene) -> Sequence[Scene]:
        """The clips of a sequence."""

    def target(self, ground: Ground, window: Window) -> Target:
        """`label`: the class id of a clip, IGNORE where it is unknown."""


@dataclass(frozen=True, slots=True)
class ClipComparison:
    """Clips of a split held against their labels; a clip counts once, whatever windows of it are in the split."""

    task: ClipTask

    def count(self, pair: Pair, *, settings: Evaluation) -> Mapping[str, NDArray[Any]]:  # noqa: ARG002 (every comparison is given them)
        """Name, true class, answer and score of each clip."""
        found = _compared(self.task, pair)
        if not found:
            return {}
        clips, truth, answer, score = zip(*found, strict=True)
        return {"clip": np.array(clips), "truth": np.array(truth), "answer": np.array(answer), "score": np.array(score)}

    def conclude(
        self, pairs: Sequence[Pair], counts: Sequence[Mapping[str, NDArray[Any]]], *, split: str, settings: Evaluation, work: Work
    ) -> dict[str, Any]:
        """Tables, a picture and metrics."""
        from geohydra import pictures
        from geohydra.evaluation.scores import class_table, confusion_table, headline

        classes, prefix = self.task.classes, "" if split == settings.splits[-1] else f"{split}_"
        matrix = np.zeros((len(classes),) * 2, np.int64)
        told: dict[str, list[Any]] = {"clip": [], "truth": [], "prediction": [], "score": []}
        for _, found in zip(pairs, counts, strict=True):
            if found:
                np.add.at(matrix, (found["truth"], found["answer"]), 1)
                told["clip"] += found["clip"].tolist()
                told["truth"] += [classes[place] for place in found["truth"].tolist()]
                told["prediction"] += [classes[place] for place in found["answer"].tolist()]
                told["score"] += found["score"].tolist()
        if not matrix.any():
            work.say(f"{split}: no clip has a label, so it has no scores")
            return {"metrics": {}, "thresholds": {}}
        work.report.table(f"{prefix}clips", told)
        work.report.table(f"{prefix}confusion_matrix", confusion_table(matrix, classes))
        work.report.table(f"{prefix}per_class", class_table(matrix, classes))
        work.report.figure(f"{prefix}confusion_matrix", pictures.confusion(matrix, classes, title=f"Confusion matrix, {split}"))
        metrics = headline(matrix, classes)
        text = f"{split}: accuracy {metrics['accuracy']:.3f} of {int(matrix.sum())} clips, F1 {metrics['f1']:.3f}"
        trivial = f"the most frequent class everywhere gives {metrics['baseline_accuracy']:.3f}"
        work.say(f"{text} ({trivial})")
        work.report.note(f"{text}; {trivial}.")
        return {"metrics": metrics, "thresholds": {}}


def _compared(task: ClipTask, pair: Pair) -> list[tuple[str, int, int, float]]:
    """Clips of a sequence that have a label: id, true class, answer, and its score."""
    from geohydra.ground import open_ground

    path = pair.file("clips_csv")
    if path is None:
        raise KeyError(f"the prediction of {pair.scene.id} names no clips_csv")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = {row["clip"]: row for row in csv.DictReader(stream)}
    found = []
    for clip in task.parts(pair.scene):
        ground = open_ground(clip) if clip.id in pair.parts else None
        if ground is None:
            continue
        label = task.target(ground, Window(0, 0, clip.grid.shape))["label"]
        truth = int(np.asarray(label)[0])
        if truth != IGNORE:
            found.append((clip.id, truth, task.classes.index(rows[clip.id]["class"]), float(rows[clip.id]["score"])))
    return found
