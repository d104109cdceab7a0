"""Parcels held against what is known of them: each counts once, however large it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.evaluation import counting
from geohydra.evaluation.scores import Counts, accuracy, class_scores, class_table, confusion_table, majority, mean

if TYPE_CHECKING:
    from geohydra.evaluation.settings import Evaluation
    from geohydra.task import Pair
    from geohydra.types import Window
    from geohydra.work import Work

_MOST = 0.5
"""Share of a parcel that lies in a split, from which on it belongs to it."""


class ParcelTask(Protocol):
    """What must be known of a task whose predictions have a table of parcels."""

    classes: tuple[str, ...]
    colors: Mapping[str, str]
    background: str | None


def compare_parcels(task: ParcelTask, pairs: Sequence[Pair], *, split: str, settings: Evaluation, work: Work) -> dict[str, float]:
    """The metrics of parcels, see ParcelComparison."""
    found: dict[str, float] = counting.evaluate(ParcelComparison(task), pairs, split=split, settings=settings, work=work)["metrics"]
    return found


@dataclass(frozen=True, slots=True)
class ParcelComparison:
    """Parcels that lie in a split for the most part: `parcel_accuracy`, `parcel_f1` (the mean over classes) and a trivial answer.

    Nothing where no prediction has a table of labelled parcels. Writes tables and pictures, among them what classes looked like.
    """

    task: ParcelTask

    def count(self, pair: Pair, *, settings: Evaluation) -> Mapping[str, NDArray[Any]]:  # noqa: ARG002 (every comparison is given them)
        """Parcels by truth and answer."""
        matrix = np.zeros((len(self.task.classes),) * 2, np.int64)
        np.add.at(matrix, tuple(_pairs_of_classes(pair, self.task.classes).T), 1)
        return {"matrix": matrix}

    def conclude(
        self, pairs: Sequence[Pair], counts: Sequence[Mapping[str, NDArray[Any]]], *, split: str, settings: Evaluation, work: Work
    ) -> dict[str, Any]:
        """Tables, pictures and metrics."""
        classes = self.task.classes
        matrix = sum((found["matrix"] for _, found in zip(pairs, counts, strict=True)), np.zeros((len(classes),) * 2, np.int64))
        prefix = "" if split == settings.splits[-1] else f"{split}_"
        _show_curves(self.task, pairs, prefix=prefix, split=split, work=work)
        if not matrix.any():
            return {"metrics": {}, "thresholds": {}}
        metrics = parcel_scores(matrix)
        work.report.table(f"{prefix}parcel_confusion_matrix", confusion_table(matrix, classes))
        work.report.table(f"{prefix}per_class_parcels", _renamed(class_table(matrix, classes)))
        picture = pictures.confusion(matrix, classes, title=f"Confusion matrix of parcels, {split}")
        work.report.figure(f"{prefix}parcel_confusion_matrix", picture)
        ours = f"{split}: {metrics['parcel_accuracy']:.3f} of {int(matrix.sum())} parcels are right, mean F1 {metrics['parcel_f1']:.3f}"
        trivial = f"{metrics['baseline_parcel_accuracy']:.3f}, {metrics['baseline_parcel_f1']:.3f}"
        told = f"{ours} (the most frequent class everywhere: {trivial})"
        work.say(told)
        work.report.note(f"{told}.")
        return {"metrics": metrics, "thresholds": {}}


def parcel_scores(matrix: Counts) -> dict[str, float]:
    """Metrics of counts of parcels `(truth, prediction)`; definitions are those of `geohydra.evaluation.scores`."""
    trivial = majority(matrix)
    return {
        "parcel_accuracy": accuracy(matrix),
        "parcel_f1": mean(class_scores(matrix).f1),
        "baseline_parcel_accuracy": accuracy(trivial),
        "baseline_parcel_f1": mean(class_scores(trivial).f1),
    }


def parcels_of_split(pair: Pair) -> NDArray[np.int64]:
    """Ids (from 1) of the labelled parcels of a scene that lie in its windows for the most part."""
    from geohydra.ground import open_ground

    ground = open_ground(pair.scene)
    shares: dict[int, float] = {}
    for window in _apart(pair.windows):
        objects = ground.objects(window) if ground is not None else None
        if objects is not None:
            for number, share in zip(objects.numbers.tolist(), objects.shares.tolist(), strict=True):
                shares[number] = shares.get(number, 0.0) + share
    return np.array([number + 1 for number, share in sorted(shares.items()) if share >= _MOST], np.int64)


def _apart(windows: Sequence[Window]) -> tuple[Window, ...]:
    """Regions of one split do not overlap; the same one twice counts once."""
    return tuple(dict.fromkeys(windows))


def _pairs_of_classes(pair: Pair, classes: Sequence[str]) -> NDArray[np.int64]:
    """True and predicted class ids of each parcel that has both `(parcel, 2)`."""
    import pandas
    import pyarrow.parquet as pq

    none = np.empty((0, 2), np.int64)
    file = pair.file("parcels")
    if file is None or pair.scene.labels is None or pair.scene.labels.kind != "vector":
        return none
    names = set(pq.read_schema(file).names)
    if not {"label", "class"} <= names:
        return none
    table = pandas.read_parquet(file, columns=["id", "class", "label"])
    places = {name: place for place, name in enumerate(classes)}
    kept = table[table["id"].isin(parcels_of_split(pair)) & table["class"].isin(list(places)) & table["label"].isin(list(places))]
    return np.column_stack([kept[key].map(places).to_numpy(np.int64) for key in ("label", "class")]) if len(kept) else none


def _show_curves(task: ParcelTask, pairs: Sequence[Pair], *, prefix: str, split: str, work: Work) -> None:
    """A picture of what the classes of the maps looked like through the year."""
    import pyarrow.parquet as pq

    from geohydra.chips.class_curves import ClassCurves

    files = [file for pair in pairs if (file := pair.file("class_curves")) is not None]
    if not files:
        return
    tables = [pq.read_table(file).to_pydict() for file in files]
    bands = list(dict.fromkeys(band for table in tables for band in table["band"]))
    curves = ClassCurves(bands, task.classes)
    for table in tables:
        curves.restore(table)
    if curves:
        title = f"What the predicted classes look like through the year, scenes of {split}"
        work.report.figure(f"{prefix}class_curves", curves.picture(title=title))


def _renamed(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"parcels" if key == "pixels" else key: values for key, values in table.items()}
