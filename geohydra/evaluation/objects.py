"""Found objects held against the ground, scene by scene: tables, pictures, headline metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.evaluation import counting, object_pictures
from geohydra.evaluation.average_precision import Line
from geohydra.evaluation.counting import below, led
from geohydra.evaluation.instances import InstanceTally, panoptic_quality
from geohydra.evaluation.object_scenes import Form, Meeting, Terms, meeting
from geohydra.evaluation.object_tally import AREAS, COCO_OVERLAPS, AtThreshold, Measure, Tally, coco_measures
from geohydra.evaluation.overlaps import Floats, Found, Truth, overlapping
from geohydra.evaluation.scores import mean

if TYPE_CHECKING:
    from geohydra.evaluation.settings import Evaluation
    from geohydra.report import Report
    from geohydra.task import Pair
    from geohydra.types import Window
    from geohydra.work import Work


class ObjectTask(Protocol):
    """What is asked of a task that finds objects."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""


_POINTS = 1000
"""Points of a curve that are kept for the page."""


class ObjectTallies:
    """All that is counted of a split, scene by scene or frame by frame; memory grows with the number of found objects alone.

    `main` compares in the form that is asked for; `boxes` compares upright boxes where that form is the outline; `grid` is the
    trivial answer: boxes of the median size of a class on a regular grid, as many as there are true ones.
    """

    def __init__(self, classes: Sequence[str], settings: Evaluation, *, form: Form = "box") -> None:
        self.classes = tuple(classes)
        self.form = form
        self.scenes: list[str] = []
        self._rule = None if settings.rule == "coco" else settings.rule
        first = Measure(settings.min_overlap)
        others = () if self._rule is None else (Measure(settings.min_overlap, self._rule),)
        main = dict.fromkeys((first, *coco_measures(tuple(AREAS)), *others))
        self.main = Tally(len(self.classes), tuple(main), most=settings.max_detections)
        self.grid = Tally(len(self.classes), (first, Measure(0.5)) if first.overlap != 0.5 else (first,))
        self.boxes = Tally(len(self.classes), coco_measures(tuple(AREAS)), most=settings.max_detections) if form == "outline" else None
        self.instances = InstanceTally(len(self.classes), min_area=settings.min_area) if form == "outline" else None
        self._least = min(measure.overlap for measure in self.main.measures)

    def add(self, name: str, seen: Meeting, windows: Sequence[Window]) -> None:
        """Count a scene by its name."""
        self.scenes.append(name)
        pairs = overlapping(seen.found, seen.truth, least=self._least)
        self.main.add(seen.found, seen.truth, pairs)
        self.grid.add(regular(seen.truth, windows, len(self.classes)), seen.truth)
        if self.instances is not None:
            self.instances.add(seen, pairs)
        if self.boxes is not None:
            self.boxes.add(_upright(seen.found), _upright(seen.truth))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was counted so far, to be kept; `join` takes it up again."""
        names = {"scenes": np.array(self.scenes, dtype=str)}
        return names | {key: values for name, tally in self._tallies.items() for key, values in led(name, tally.arrays()).items()}

    def join(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Count scenes that others have counted, in their order."""
        self.scenes += arrays["scenes"].tolist()
        for name, tally in self._tallies.items():
            tally.join(below(name, arrays))

    @property
    def _tallies(self) -> dict[str, Tally | InstanceTally]:
        every = {"main": self.main, "grid": self.grid, "boxes": self.boxes, "instances": self.instances}
        return {name: tally for name, tally in every.items() if tally is not None}

    @property
    def best(self) -> dict[str, float]:
        """The score of the best F1 of each class that is there and was found."""
        lines = {name: self.main.line(place).best[0] for place, name in enumerate(self.classes)}
        return {name: float(value) for name, value in lines.items() if np.isfinite(value)}

    def metrics(self, thresholds: Floats) -> dict[str, float]:
        """Metrics by their short names, at these thresholds where they need some."""
        chosen, led = self.main.at(thresholds), "mask_" if self.boxes is not None else ""
        values = {} if self.boxes is None else _average_scores(self.boxes, self.classes, "")
        values |= _average_scores(self.main, self.classes, led) | _threshold_scores(chosen, self.classes)
        values |= {} if self.instances is None else self.instances.scores(thresholds)
        if self._rule is not None:
            by_class = self.main.average(len(self.main.measures) - 1)
            values |= {f"{self._rule}_map": mean(by_class)} | _named(f"{self._rule}_ap", self.classes, by_class)
        trivial = self.grid.at(np.zeros(len(self.classes)))
        return values | {f"baseline_{led}map50": mean(self.grid.averages()[0.5]), "baseline_f1": mean(trivial.f1)}


def evaluate(
    task: ObjectTask,
    pairs: Sequence[Pair],
    *,
    split: str,
    settings: Evaluation,
    work: Work,
    form: Form = "box",
    ignored: Sequence[str] = (),
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Compare the objects that predict wrote with the ground over the windows of a split; see ObjectComparison."""
    comparison = ObjectComparison(task, form, tuple(ignored), thresholds)
    return counting.evaluate(comparison, pairs, split=split, settings=settings, work=work)


@dataclass(frozen=True, slots=True)
class ObjectComparison:
    """Objects that predict wrote (`objects_parquet` of each row) held against the ground.

    `form`: what is compared of an object. `ignored`: labels that are neither hit nor missed. `thresholds` by class are those of F1,
    counts and pictures: where none is given, those that the rows of the prediction tell (`threshold/class`, else `otherwise`), else the
    best of this split. The thresholds that come out are the scores of the best F1 of each class. Scenes without labels do not count.
    """

    task: ObjectTask
    form: Form = "box"
    ignored: tuple[str, ...] = ()
    thresholds: Mapping[str, float] | None = None
    otherwise: float | None = None

    def count(self, pair: Pair, *, settings: Evaluation) -> Mapping[str, NDArray[Any]]:
        """What each found object is, by every measure."""
        seen = meeting(pair, self._terms(settings))
        if seen is None:
            return {}
        tallies = ObjectTallies(self.task.classes, settings, form=self.form)
        tallies.add(pair.scene.id, seen, pair.windows)
        return tallies.arrays()

    def conclude(
        self, pairs: Sequence[Pair], counts: Sequence[Mapping[str, NDArray[Any]]], *, split: str, settings: Evaluation, work: Work
    ) -> dict[str, Any]:
        """Tables, pictures, metrics and thresholds."""
        classes = self.task.classes
        tallies = ObjectTallies(classes, settings, form=self.form)
        known: dict[str, Pair] = {}
        for pair, found in zip(pairs, counts, strict=True):
            if found:
                tallies.join(found)
                known[pair.scene.id] = pair
        if not tallies.main.truths[0].any():
            work.say(f"{split}: no labelled object lies in the windows of this split, so it has no scores")
            return {"metrics": {}, "thresholds": {}}
        told = self.thresholds or _told(pairs, classes, self.otherwise)
        cuts = _cuts(told or tallies.best, classes)
        write_report(work.report, tallies, cuts, split=split, settings=settings)
        _draw(work.report, tallies, known, self._terms(settings), cuts, split=split, settings=settings)
        metrics = tallies.metrics(cuts)
        say(work, split, metrics)
        work.report.note(f"F1, counts and pictures: at {'the thresholds of the model' if told else 'the best thresholds of this split'}.")
        return {"metrics": metrics, "thresholds": tallies.best}

    def _terms(self, settings: Evaluation) -> Terms:
        return Terms(tuple(self.task.classes), self.ignored, self.form, settings.min_share)


def regular(truth: Truth, windows: Sequence[Window], classes: int) -> Found:
    """The trivial answer of a scene: for each class boxes of the median size on a square grid in the windows, as many as are true."""
    boxes, numbers = [np.empty((0, 4))], [np.empty(0, np.int64)]
    size = sum(window.shape.size for window in windows)
    for number in range(classes):
        own = truth.boxes[(truth.classes == number) & ~truth.aside & ~truth.crowd]
        if len(own) and size:
            half = np.median(own[:, 2:] - own[:, :2], axis=0) / 2
            step = np.sqrt(size / len(own))
            centres = np.concatenate([_lattice(window, step) for window in windows])
            boxes.append(np.hstack([centres - half, centres + half]))
            numbers.append(np.full(len(centres), number))
    placed = np.concatenate(boxes)
    return Found.of(placed, np.concatenate(numbers), np.ones(len(placed), np.float32))


def _lattice(window: Window, step: float) -> Floats:
    """Points `(row, col)` every so many pixels, in the middle of a window."""
    axes = []
    for start, length in ((window.row, window.shape.rows), (window.col, window.shape.cols)):
        count = max(1, round(length / step))
        axes.append(start + (np.arange(count) + 0.5) * length / count)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def _upright(things: Any) -> Any:
    """The same objects as their upright boxes."""
    boxes = things.boxes
    return replace(things, outlines=None, areas=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def _told(pairs: Sequence[Pair], classes: Sequence[str], otherwise: float | None) -> dict[str, float]:
    """The scores from which on predict wrote an object of each class, where its rows tell them."""
    row = pairs[0].prediction if pairs else {}
    told = {name: row.get(f"threshold/{name}", otherwise) for name in classes}
    return {name: float(value) for name, value in told.items() if value is not None}


def _cuts(thresholds: Mapping[str, float], classes: Sequence[str]) -> Floats:
    return np.array([float(thresholds.get(name, 0.5)) for name in classes])


def _average_scores(tally: Tally, classes: Sequence[str], led: str) -> dict[str, float]:
    """COCO's numbers, each name led by what is compared."""
    whole = tally.averages()
    by_class = np.mean([whole[overlap] for overlap in COCO_OVERLAPS], axis=0)
    values = {f"{led}map": mean(by_class), f"{led}map50": mean(whole[0.5]), f"{led}map75": mean(whole[0.75])}
    for area in list(AREAS)[1:]:
        parts = tally.averages(area=area)
        values[f"{led}map_{area}"] = mean(np.concatenate([parts[overlap] for overlap in COCO_OVERLAPS]))
    return values | _named(f"{led}ap", classes, by_class) | _named(f"{led}ap50", classes, whole[0.5])


def _threshold_scores(chosen: AtThreshold, classes: Sequence[str]) -> dict[str, float]:
    means = {name: mean(getattr(chosen, name)) for name in ("f1", "precision", "recall")}
    counts = {"count_error": chosen.count_error, "count_mae": chosen.count_mae, "match_iou": chosen.mean_overlap}
    return means | counts | _named("f1", classes, chosen.f1)


def _named(kind: str, classes: Sequence[str], values: Floats) -> dict[str, float]:
    return {f"{kind}/{name}": float(value) for name, value in zip(classes, values, strict=True)}


def write_report(report: Report, tallies: ObjectTallies, cuts: Floats, *, split: str, settings: Evaluation) -> None:
    """Tables by class and by scene, thresholds, and the curves of precision and recall; `cuts` are the thresholds of the classes."""
    prefix = "" if split == settings.splits[-1] else f"{split}_"
    chosen, averages = tallies.main.at(cuts), tallies.main.averages()
    lines = {name: tallies.main.line(place) for place, name in enumerate(tallies.classes)}
    report.table(f"{prefix}per_class", _class_table(tallies, chosen, cuts))
    report.table(f"{prefix}per_scene", _scene_table(tallies, chosen))
    report.table(f"{prefix}thresholds", _threshold_table(lines, averages[0.5]))
    known = {name: line.thinned(_POINTS) for name, line in lines.items() if np.isfinite(line.recall).all() and line.recall.size}
    if settings.curves:
        report.table(f"{prefix}pr_curve", _curve_table(known))
        report.figure(f"{prefix}curves", _curve_figure(known, tallies, averages, split))


def _curve_figure(lines: Mapping[str, Line], tallies: ObjectTallies, averages: Mapping[float, Floats], split: str) -> bytes:
    places = {name: tallies.classes.index(name) for name in lines}
    rates = {f"{name} (AP50 {averages[0.5][places[name]]:.3f})": (line.recall, line.precision) for name, line in lines.items()}
    steps = {name: (COCO_OVERLAPS, [float(averages[overlap][place]) for overlap in COCO_OVERLAPS]) for name, place in places.items()}
    return pictures.precision_recall(rates, steps, title=f"Found objects by class, {split}")


def _class_table(tallies: ObjectTallies, chosen: AtThreshold, cuts: Floats) -> dict[str, list[Any]]:
    """A row a class."""
    averages = tallies.main.averages()
    columns: dict[str, Any] = {
        "ap": np.mean([averages[overlap] for overlap in COCO_OVERLAPS], axis=0),
        "ap50": averages[0.5],
        "ap75": averages[0.75],
        "threshold": cuts,
        "precision": chosen.precision,
        "recall": chosen.recall,
        "f1": chosen.f1,
        "objects": chosen.truths.sum(0),
        "found": (chosen.hits + chosen.false).sum(0),
        "hits": chosen.hits.sum(0),
    }
    if tallies.instances is not None:
        columns |= panoptic_quality(tallies.instances.panoptic.at(cuts))
    return {"class": list(tallies.classes)} | {name: values.tolist() for name, values in columns.items()}


def _scene_table(tallies: ObjectTallies, chosen: AtThreshold) -> dict[str, list[Any]]:
    """A row a scene, all classes together."""
    own = chosen.of_images()
    columns = {
        "objects": chosen.truths.sum(1),
        "found": (chosen.hits + chosen.false).sum(1),
        "hits": chosen.hits.sum(1),
        "precision": own.precision,
        "recall": own.recall,
        "f1": own.f1,
    }
    return {"scene": list(tallies.scenes)} | {name: values.tolist() for name, values in columns.items()}


def _threshold_table(lines: Mapping[str, Line], ap50: Floats) -> dict[str, list[Any]]:
    best = [line.best for line in lines.values()]
    return {
        "class": list(lines),
        "ap50": ap50.tolist(),
        "best_threshold": [threshold for threshold, _ in best],
        "best_f1": [f1 for _, f1 in best],
    }


def _curve_table(lines: Mapping[str, Line]) -> dict[str, list[Any]]:
    owners: list[Any] = [name for name, line in lines.items() for _ in line.scores]
    parts = {"threshold": "scores", "precision": "precision", "recall": "recall"}
    return {"class": owners} | {name: [float(v) for line in lines.values() for v in getattr(line, part)] for name, part in parts.items()}


def _draw(
    report: Report, tallies: ObjectTallies, pairs: Mapping[str, Pair], terms: Terms, cuts: Floats, *, split: str, settings: Evaluation
) -> None:
    """Maps of the first scenes, and windows of the worst and the best ones; these scenes are read a second time."""
    prefix = "" if split == settings.splits[-1] else f"{split}_"
    f1 = np.nan_to_num(tallies.main.at(cuts).of_images().f1, nan=1.0)
    order, worst = np.argsort(f1, kind="stable").tolist(), (settings.examples + 1) // 2
    shown = order[:worst] + order[max(worst, len(order) - (settings.examples - worst)) :] if settings.examples else []
    maps = range(min(settings.maps, len(tallies.scenes)))
    examples: list[object_pictures.Example] = []
    for place in sorted({*shown, *maps}):
        marked = mark(pairs[tallies.scenes[place]], terms, cuts, settings.min_overlap)
        if marked is not None and place in maps:
            report.figure(f"{prefix}map_{marked.pair.scene.id}", object_pictures.scene_map(marked))
        if marked is not None and place in shown:
            examples += object_pictures.examples(marked, settings.examples)
    chosen = object_pictures.choose(examples, settings.examples)
    if chosen:
        report.figure(f"{prefix}examples", object_pictures.draw_examples(chosen, title=f"{split}: from the worst to the best"))


def mark(pair: Pair, terms: Terms, cuts: Floats, overlap: float) -> object_pictures.Marked | None:
    """What the objects of a scene are at these thresholds, to be drawn."""
    seen = meeting(pair, terms)
    if seen is None:
        return None
    found = seen.found.take(seen.found.scores >= cuts.astype(np.float32)[seen.found.classes])
    judged = Tally(len(terms.classes), (Measure(overlap),)).add(found, seen.truth)
    return object_pictures.Marked(pair, found, seen.truth, judged)


def say(work: Work, split: str, metrics: Mapping[str, float]) -> None:
    """One line: ours beside the trivial answer."""
    led, what = ("mask_", "outlines") if "mask_map50" in metrics else ("", "boxes")
    ours = f"{split}: AP50 of {what} {metrics[f'{led}map50']:.3f}, F1 {metrics['f1']:.3f}"
    trivial = f"boxes of the median size on a grid as dense as the truth give {metrics[f'baseline_{led}map50']:.3f}"
    text = f"{trivial} and {metrics['baseline_f1']:.3f}"
    work.say(f"{ours} ({text})")
    work.report.note(f"{ours}; {text}.")
