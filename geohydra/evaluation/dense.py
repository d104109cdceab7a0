"""Class maps held against the ground, pixel by pixel or cell by cell: tables, pictures, headline metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.evaluation import counting, examples
from geohydra.evaluation.curves import LEVELS, Curve, calibration_error, curve
from geohydra.evaluation.scores import Counts, accuracy, class_scores, class_table, confusion_table, headline, mean
from geohydra.evaluation.streaming import Tally, Truth, compare, read_overview
from geohydra.types import IGNORE, PIXEL, Shape, Window

if TYPE_CHECKING:
    from geohydra.evaluation.settings import Evaluation
    from geohydra.report import Report
    from geohydra.task import Ground, Pair
    from geohydra.work import Work


Headline = Callable[[Counts, Sequence[str]], dict[str, float]]
"""Metrics of a split by their short names, from a confusion matrix and the names of its classes."""


class Show(Protocol):
    """Tells more of the confusion matrices of all scenes."""

    def __call__(self, pairs: Sequence[Pair], matrices: Mapping[str, Counts], prefix: str, work: Work) -> None:
        """`pairs` are the scenes with labels; names of tables are led by `prefix`."""


class DenseTask(Protocol):
    """What is asked of a task that answers with a class for every pixel, or for every cell of several pixels."""

    classes: tuple[str, ...]
    colors: Mapping[str, str]
    background: str | None

    def truth(self, ground: Ground, window: Window) -> NDArray[np.uint8]:
        """True class ids `(row, col)` of a window of pixels or cells; IGNORE where nothing is known."""


_MAP = 600


@dataclass(frozen=True, slots=True)
class _Legend:
    names: tuple[str, ...]
    colors: tuple[pictures.Color, ...]


def evaluate(
    task: DenseTask,
    pairs: Sequence[Pair],
    *,
    split: str,
    settings: Evaluation,
    work: Work,
    cell: Shape = PIXEL,
    headline: Headline = headline,
) -> dict[str, Any]:
    """Compare class rasters with the ground over the windows of a split, in bounded memory; see MapComparison."""
    return counting.evaluate(MapComparison(task, cell, headline), pairs, split=split, settings=settings, work=work)


@dataclass(frozen=True, slots=True)
class MapComparison:
    """Class rasters held against the ground; of cells, those that lie within a window.

    `show` adds to the report. Metrics have short names; thresholds are, for each class,
    the probability of the best F1, where probabilities exist. Scenes without labels do not count.
    """

    task: DenseTask
    cell: Shape = PIXEL
    headline: Headline = headline
    show: Show | None = None

    def count(self, pair: Pair, *, settings: Evaluation) -> Mapping[str, NDArray[Any]]:
        """Pixels by truth and answer, by level of probability, a small picture of the truth, and what lies near edges."""
        pair = by_cell(pair, self.cell)
        truth = _truth(pair, self.task)
        if truth is None:
            return {}
        tally = _compare(pair, truth, len(self.task.classes), curves=settings.curves)
        found: dict[str, NDArray[Any]] = {"matrix": tally.matrix, "levels": tally.levels, "sure": tally.sure, "overview": tally.overview}
        if settings.boundary is not None:
            found["boundary"] = _boundary(pair, truth, len(self.task.classes), settings.boundary)
        return found

    def conclude(
        self, pairs: Sequence[Pair], counts: Sequence[Mapping[str, NDArray[Any]]], *, split: str, settings: Evaluation, work: Work
    ) -> dict[str, Any]:
        """Tables, pictures, metrics and thresholds."""
        classes = self.task.classes
        legend = _Legend(tuple(classes), pictures.palette(classes, self.task.colors, background=self.task.background))
        prefix = "" if split == settings.splits[-1] else f"{split}_"
        sums = _Sums.none(len(classes))
        known: list[Pair] = []
        for pair, found in zip(pairs, counts, strict=True):
            if found:
                known.append(by_cell(pair, self.cell))
                sums.add(pair.scene.id, found)
                if len(known) <= settings.maps:
                    work.report.figure(f"{prefix}map_{pair.scene.id}", _map(known[-1], found["overview"], legend))
        if not sums.matrix.any():
            work.say(f"{split}: no pixel has both a label and a prediction, so it has no scores")
            return {"metrics": {}, "thresholds": {}}
        _tables(work.report, sums, legend, prefix=prefix, split=split)
        if self.show is not None:
            self.show(known, sums.matrices, prefix, work)
        if settings.examples and self.cell == PIXEL:
            _examples(self.task, known, legend, settings.examples, work.report, prefix=prefix, split=split)
        return self._scored(sums, legend, settings, work, prefix=prefix, split=split)

    def _scored(self, sums: _Sums, legend: _Legend, settings: Evaluation, work: Work, *, prefix: str, split: str) -> dict[str, Any]:
        lines = _curves(sums, legend) if settings.curves else {}
        metrics = self.headline(sums.matrix, legend.names) | report_curves(work.report, lines, prefix=prefix, split=split)
        if lines:
            metrics["ece"] = calibration_error(sums.sure)
            metrics |= _area_means(lines)
        if settings.boundary is not None:
            metrics |= _report_boundary(sums.boundary, legend.names, settings.boundary, work, prefix=prefix)
        _say(work, split, metrics)
        return {"metrics": metrics, "thresholds": {name: line.best[0] for name, line in lines.items() if np.isfinite(line.best[0])}}


@dataclass(slots=True)
class _Sums:
    """Counts of all scenes together, and the confusion matrix of each."""

    matrix: Counts
    levels: NDArray[np.int64]
    sure: NDArray[np.int64]
    boundary: Counts
    matrices: dict[str, Counts] = field(default_factory=dict)

    @classmethod
    def none(cls, classes: int) -> _Sums:
        """Of no scene."""
        shapes = (classes, classes), (classes, 2, LEVELS + 1), (2, LEVELS + 1), (classes + 1, classes + 1)
        matrix, levels, sure, boundary = (np.zeros(shape, np.int64) for shape in shapes)
        return cls(matrix, levels, sure, boundary)

    def add(self, scene: str, found: Mapping[str, NDArray[Any]]) -> None:
        """One more scene."""
        self.matrices[scene] = found["matrix"]
        self.matrix += found["matrix"]
        self.levels += found["levels"]
        self.sure += found["sure"]
        if "boundary" in found:
            self.boundary += found["boundary"]


class _Truths:
    """The truth of any scene, with one of them open at a time."""

    def __init__(self, task: DenseTask) -> None:
        self._task = task
        self._open: tuple[str, Truth | None] = ("", None)

    def of(self, pair: Pair) -> Truth:
        """Of one scene; it is opened when a window is asked for."""
        return partial(self._read, pair)

    def _read(self, pair: Pair, window: Window) -> NDArray[np.uint8]:
        if self._open[0] != pair.scene.id:
            self._open = (pair.scene.id, _truth(pair, self._task))
        truth = self._open[1]
        return np.full((window.shape.rows, window.shape.cols), IGNORE, np.uint8) if truth is None else truth(window)


def _examples(task: DenseTask, pairs: Sequence[Pair], legend: _Legend, count: int, report: Report, *, prefix: str, split: str) -> None:
    """The worst and the best windows."""
    truths = _Truths(task)
    chosen = examples.choose([(pair, truths.of(pair)) for pair in pairs], classes=len(legend.names), count=count)
    title = f"{split}: from the worst to the best"
    report.figure(f"{prefix}examples", examples.draw(chosen, names=legend.names, colors=legend.colors, title=title))


def _area_means(lines: Mapping[str, Curve]) -> dict[str, float]:
    """Unweighted means over classes that have the score."""
    found = {name: np.array([getattr(line, name) for line in lines.values()], float) for name in ("average_precision", "auroc")}
    return {name: mean(values) for name, values in found.items()}


def _boundary(pair: Pair, truth: Truth, classes: int, width: int) -> Counts:
    """Pixels near the edges of classes, of one scene."""
    from geohydra.evaluation.boundary import compare_boundaries

    shape = pair.scene.grid.coarse(pair.cell).shape
    return compare_boundaries(_class_file(pair), shape=shape, windows=pair.windows, truth=truth, classes=classes, width=width)


def _report_boundary(total: Counts, classes: Sequence[str], width: int, work: Work, *, prefix: str) -> dict[str, float]:
    """The boundary IoU over all scenes, with a table by class."""
    from geohydra.evaluation.boundary import boundary_ious, boundary_scores

    ious: list[Any] = boundary_ious(total).tolist()
    work.report.table(f"{prefix}boundary", {"class": list(classes), "boundary_iou": ious, "pixels": [width] * len(classes)})
    return boundary_scores(total, classes)


def _class_file(pair: Pair) -> Path:
    file = pair.file("classes")
    if file is None:
        raise KeyError(f"the prediction of {pair.scene.id} names no class raster")
    return file


def _truth(pair: Pair, task: DenseTask) -> Truth | None:
    from geohydra.ground import open_ground

    ground = open_ground(pair.scene)
    return None if ground is None else partial(task.truth, ground)


def by_cell(pair: Pair, cell: Shape) -> Pair:
    """Windows of cells instead of pixels: of the cells that lie wholly in a window, or end with the scene."""
    if cell == PIXEL:
        return pair
    found = []
    for window in pair.windows:
        row, rows = _whole_cells(window.row, window.row_stop, cell.rows, pair.scene.grid.shape.rows)
        col, cols = _whole_cells(window.col, window.col_stop, cell.cols, pair.scene.grid.shape.cols)
        if rows > 0 and cols > 0:
            found.append(Window(row, col, Shape(rows, cols)))
    return replace(pair, windows=tuple(found), cell=cell)


def _whole_cells(start: int, stop: int, cell: int, length: int) -> tuple[int, int]:
    """First cell and number of cells."""
    first = -(-start // cell)
    return first, (-(-stop // cell) if stop >= length else stop // cell) - first


def _compare(pair: Pair, truth: Truth, classes: int, *, curves: bool) -> Tally:
    file = _class_file(pair)
    levels = pair.file("probabilities") if curves else None
    return compare(
        file, levels, shape=pair.scene.grid.coarse(pair.cell).shape, windows=pair.windows, truth=truth, classes=classes, longest=_MAP
    )


def _map(pair: Pair, overview: NDArray[np.uint8], legend: _Legend) -> bytes:
    """Image, truth and prediction of a whole scene; truth only where it was compared."""
    file = pair.file("classes")
    panels = [(f"{pair.scene.id} {title}".rstrip(), image) for title, image in examples.read_images(pair, longest=_MAP)]
    panels.append(("truth of the split", pictures.classes_rgb(overview, legend.colors)))
    if file is not None:
        panels.append(("prediction", pictures.classes_rgb(read_overview(file, _MAP), legend.colors)))
    return pictures.side_by_side([panels], legend=dict(zip(legend.names, legend.colors, strict=True)))


def _tables(report: Report, sums: _Sums, legend: _Legend, *, prefix: str, split: str) -> None:
    names, matrix = legend.names, sums.matrix
    report.table(f"{prefix}confusion_matrix", confusion_table(matrix, names))
    report.table(f"{prefix}per_class", class_table(matrix, names))
    report.table(f"{prefix}per_scene", _scene_table(sums.matrices, names))
    report.figure(f"{prefix}confusion_matrix", pictures.confusion(matrix, names, title=f"Confusion matrix, {split}"))
    scores = class_scores(matrix)
    shown = {name: float(value) for name, value in zip(names, scores.iou, strict=True) if np.isfinite(value)}
    shades = dict(zip(names, legend.colors, strict=True))
    report.figure(f"{prefix}iou_by_class", pictures.bars(shown, title=f"IoU by class, {split}", colors=shades))


def _scene_table(matrices: Mapping[str, Counts], names: Sequence[str]) -> dict[str, list[Any]]:
    """A row a scene that has pixels to compare."""
    rows = []
    for scene, matrix in matrices.items():
        if matrix.any():
            scores = class_scores(matrix)
            means = {"iou": mean(scores.iou), "f1": mean(scores.f1), "precision": mean(scores.precision), "recall": mean(scores.recall)}
            by_class = {f"{kind}/{name}": float(getattr(scores, kind)[place]) for place, name in enumerate(names) for kind in _KINDS}
            rows.append({"scene": scene, "pixels": int(matrix.sum()), "accuracy": accuracy(matrix)} | means | by_class)
    return {key: [row[key] for row in rows] for key in rows[0]}


_KINDS = ("iou", "f1", "precision", "recall")


def _curves(sums: _Sums, legend: _Legend) -> dict[str, Curve]:
    """A curve for each class that has pixels with probabilities."""
    return {name: curve(*sums.levels[place]) for place, name in enumerate(legend.names) if sums.levels[place, 0].any()}


def report_curves(report: Report, lines: Mapping[str, Curve], *, prefix: str, split: str) -> dict[str, float]:
    """Write curves by class as tables and a figure; returns their areas."""
    if not lines:
        return {}
    table: dict[str, list[Any]] = {name: _rows(lines, name) for name in ("thresholds", "precision", "recall", "false_positive_rate")}
    owners = [name for name, line in lines.items() for _ in line.thresholds]
    first: dict[str, list[Any]] = {"class": owners, "threshold": table["thresholds"]}
    report.table(f"{prefix}pr_curve", first | {"precision": table["precision"], "recall": table["recall"]})
    rates: dict[str, list[Any]] = {"false_positive_rate": table["false_positive_rate"], "true_positive_rate": table["recall"]}
    report.table(f"{prefix}roc_curve", first | rates)
    best = {name: line.best for name, line in lines.items()}
    summary: dict[str, list[Any]] = {
        "class": list(lines),
        "average_precision": [line.average_precision for line in lines.values()],
        "auroc": [line.auroc for line in lines.values()],
        "best_threshold": [best[name][0] for name in lines],
        "best_f1": [best[name][1] for name in lines],
    }
    report.table(f"{prefix}thresholds", summary)
    precision = {f"{name} (AP {line.average_precision:.3f})": (line.recall, line.precision) for name, line in lines.items()}
    roc = {f"{name} (area {line.auroc:.3f})": (line.false_positive_rate, line.recall) for name, line in lines.items()}
    report.figure(f"{prefix}curves", pictures.pr_roc(precision, roc, title=f"Precision, recall and ROC by class, {split}"))
    values = {f"average_precision/{name}": line.average_precision for name, line in lines.items()}
    return values | {f"auroc/{name}": line.auroc for name, line in lines.items()}


def _rows(lines: Mapping[str, Curve], name: str) -> list[float]:
    return [float(value) for line in lines.values() for value in getattr(line, name)]


def _say(work: Work, split: str, metrics: Mapping[str, float]) -> None:
    ours = f"{split}: mean IoU {metrics['iou']:.3f}, accuracy {metrics['accuracy']:.3f}"
    trivial = f"the most frequent class everywhere gives {metrics['baseline_iou']:.3f} and {metrics['baseline_accuracy']:.3f}"
    work.say(f"{ours} ({trivial})")
    work.report.note(f"{ours}; {trivial}.")
