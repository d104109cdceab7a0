"""Tracks of sequences held against true tracks: tables, pictures, headline metrics; and the detections of single frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation import counting
from geohydra.evaluation.counting import below, led
from geohydra.evaluation.tracking import ALPHAS, Counts, FramePair
from geohydra.types import Scene, Window

if TYPE_CHECKING:
    from geohydra.evaluation.objects import ObjectTallies
    from geohydra.evaluation.settings import Evaluation
    from geohydra.task import Ground, Pair
    from geohydra.work import Work

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HEADLINE = ("hota", "deta", "assa", "mota", "motp", "idf1", "precision", "recall", "switches", "fragments", "mostly_tracked", "mostly_lost")
_DETECTED = ("map", "map50")
"""Scores of single frames that stand among the headline ones."""


class TrackTask(Protocol):
    """What is asked of a task that finds tracks."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""

    def parts(self, scene: Scene) -> Sequence[Scene]:
        """The frames of a sequence, in order."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Objects of one frame, a row each: identity, class, box `(top, left, bottom, right)`, score."""

    ids: Ints
    classes: Ints
    boxes: Floats
    scores: NDArray[np.float32]

    @classmethod
    def none(cls) -> Boxes:
        """No object."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)), np.empty(0, np.float32))

    def take(self, places: NDArray[Any]) -> Boxes:
        """Some of them."""
        return Boxes(self.ids[places], self.classes[places], self.boxes[places], self.scores[places])

    def within(self, windows: Sequence[Window]) -> Boxes:
        """Those whose middle lies in a window."""
        return self.take(inside(self.boxes, windows))


@dataclass(frozen=True, slots=True)
class Met:
    """The frames of one sequence: its name, and what is true and what was found in each, by class."""

    name: str
    truth: list[Boxes]
    found: list[Boxes]

    def counts(self, kind: int) -> Counts:
        """Of one class."""
        return Counts.of(list(_framed(self.truth, self.found, kind)))

    def alone(self, kind: int) -> Counts:
        """The same where each found box is a track of its own: detection without association."""
        starts = np.cumsum([0, *(len(frame.ids) for frame in self.found)])
        single = [
            Boxes(np.arange(start, start + len(frame.ids)), frame.classes, frame.boxes, frame.scores)
            for start, frame in zip(starts.tolist(), self.found, strict=False)
        ]
        return Counts.of(list(_framed(self.truth, single, kind)))

    def still(self, kind: int) -> Counts:
        """The same where what was found in the first frame stands still in all others."""
        return Counts.of(list(_framed(self.truth, [self.found[0]] * len(self.found), kind)))


def evaluate(task: TrackTask, pairs: Sequence[Pair], *, split: str, settings: Evaluation, work: Work) -> dict[str, Any]:
    """Compare the tracks that predict wrote with the true ones over the frames and windows of a split; see TrackComparison."""
    return counting.evaluate(TrackComparison(task), pairs, split=split, settings=settings, work=work)


@dataclass(frozen=True, slots=True)
class TrackComparison:
    """Tracks that predict wrote held against the true ones. Boxes count where their middle lies in a window. Scores add up over sequences
    and classes; sequences without labels do not count. Thresholds are the scores of the best F1 of each class in single frames."""

    task: TrackTask

    def count(self, pair: Pair, *, settings: Evaluation) -> Mapping[str, NDArray[Any]]:
        """What each class comes to: tracks, boxes that are tracks of their own, boxes that stand still; and the detections of frames."""
        from geohydra.evaluation.objects import ObjectTallies

        frames = [frame for frame in self.task.parts(pair.scene) if frame.id in pair.parts and frame.labels is not None]
        if not frames:
            return {}
        met = _met(pair, frames, self.task.classes)
        tallies = ObjectTallies(self.task.classes, settings)
        _detected(pair, frames, self.task.classes, tallies)
        kinds = range(len(self.task.classes))
        told = {name: [getattr(met, name)(kind) for kind in kinds] for name in _KINDS}
        tracks = {f"{name}.{kind}.{key}": v for name, own in told.items() for kind in kinds for key, v in own[kind].arrays().items()}
        return {"true": np.array([sum(len(frame.ids) for frame in met.truth)]), **tracks, **led("frames", tallies.arrays())}

    def conclude(
        self, pairs: Sequence[Pair], counts: Sequence[Mapping[str, NDArray[Any]]], *, split: str, settings: Evaluation, work: Work
    ) -> dict[str, Any]:
        """Tables, a picture, metrics and thresholds."""
        from geohydra.evaluation.objects import ObjectTallies

        tallies = ObjectTallies(self.task.classes, settings)
        met, true = [], 0
        for pair, found in zip(pairs, counts, strict=True):
            if found:
                tallies.join(below("frames", found))
                met.append(_Told.of(pair.scene.id, found, len(self.task.classes)))
                true += int(found["true"][0])
        if not true:
            work.say(f"{split}: no labelled object lies in the windows of this split, so it has no scores")
            return {"metrics": {}, "thresholds": {}}
        return _reported(met, tallies, self.task.classes, split=split, settings=settings, work=work)


_KINDS = ("counts", "alone", "still")


@dataclass(frozen=True, slots=True)
class _Told:
    """A sequence by its name, and its counts by class, as Met tells them."""

    name: str
    counts: list[Counts]
    alone: list[Counts]
    still: list[Counts]

    @classmethod
    def of(cls, name: str, arrays: Mapping[str, NDArray[Any]], classes: int) -> _Told:
        """From what was kept."""
        return cls(name, *([Counts.of_arrays(below(f"{kind}.{place}", arrays)) for place in range(classes)] for kind in _KINDS))


def inside(boxes: Floats, windows: Sequence[Window]) -> NDArray[np.bool_]:
    """Which boxes have their middle in a window."""
    rows, cols = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    found = np.zeros(len(boxes), np.bool_)
    for window in windows:
        found |= (rows >= window.row) & (rows < window.row_stop) & (cols >= window.col) & (cols < window.col_stop)
    return found


def read_boxes(path: Path, classes: Sequence[str], *, identity: str | None) -> dict[int, Boxes]:
    """Objects of a file by frame; the column `identity` tells who is who, else all are alike."""
    import pyarrow.parquet as pq

    sides = ["top", "left", "bottom", "right"]
    table = pq.read_table(path, columns=["frame", "class", "score", *sides, *([identity] if identity else [])])
    known = {name: place for place, name in enumerate(classes)}
    kinds = np.array([known[name] for name in table["class"].to_pylist()], np.int64)
    boxes = np.column_stack([table[side].to_numpy() for side in sides]).reshape(-1, 4)
    ids = table[identity].to_numpy() if identity else np.zeros(len(kinds), np.int64)
    whole = Boxes(ids, kinds, boxes, table["score"].to_numpy().astype(np.float32))
    frames = table["frame"].to_numpy()
    order = np.argsort(frames, kind="stable")
    numbers, starts = np.unique(frames[order], return_index=True)
    stops = [*starts[1:].tolist(), len(order)][: len(starts)]
    return {int(number): whole.take(order[start:stop]) for number, start, stop in zip(numbers, starts.tolist(), stops, strict=True)}


def true_boxes(frame: Scene, ground: Ground, names: Mapping[str, int], classes: Sequence[str]) -> Boxes:
    """The labelled objects of one frame; `names` gives a number to each name of a track."""
    import pyarrow.parquet as pq

    from geohydra import storage

    objects = ground.objects(Window(0, 0, frame.grid.shape))
    labels = frame.labels
    rows = [(key, "==", value) for key, value in labels.where.items()] if labels else []
    tracks = pq.read_table(storage.fetch(labels.uri if labels else ""), columns=["track"], filters=rows or None)["track"].to_pylist()
    known = {name: place for place, name in enumerate(classes)}
    kept = np.array([place for place, name in enumerate(objects.classes) if name in known], np.int64)
    kinds = np.array([known[objects.classes[place]] for place in kept], np.int64)
    ids = np.array([names[str(tracks[objects.numbers[place]])] for place in kept], np.int64)
    return Boxes(ids, kinds, objects.boxes[kept], np.ones(len(kept), np.float32))


def _met(pair: Pair, frames: Sequence[Scene], classes: Sequence[str]) -> Met:
    from geohydra.ground import open_ground

    found = read_boxes(_file(pair, "objects_parquet"), classes, identity="track")
    names = _names(frames[0])
    truth = []
    for frame in frames:
        ground = open_ground(frame)
        truth.append(Boxes.none() if ground is None else true_boxes(frame, ground, names, classes).within(pair.parts[frame.id]))
    seen = [found.get(_number(frame), Boxes.none()).within(pair.parts[frame.id]) for frame in frames]
    return Met(pair.scene.id, truth, seen)


def _names(frame: Scene) -> dict[str, int]:
    """A number for each track of a sequence."""
    import pyarrow.parquet as pq

    from geohydra import storage
    from geohydra.errors import DataError

    uri = frame.labels.uri if frame.labels else ""
    path = storage.fetch(uri)
    if "track" not in pq.read_schema(path).names:
        raise DataError(uri, "tells no tracks: it has no column 'track'", "take source=frames with source.tracks")
    tracks = pq.read_table(path, columns=["track"])["track"].unique().to_pylist()
    return {str(track): place for place, track in enumerate(tracks)}


def _detected(pair: Pair, frames: Sequence[Scene], classes: Sequence[str], tallies: ObjectTallies) -> None:
    """Count the detections of each frame, before tracking."""
    from geohydra.evaluation.object_scenes import Meeting, Terms, read_truth
    from geohydra.evaluation.overlaps import Found
    from geohydra.ground import open_ground

    found = read_boxes(_file(pair, "candidates_parquet"), classes, identity=None)
    for frame in frames:
        ground, windows = open_ground(frame), pair.parts[frame.id]
        if ground is not None:
            here = found.get(_number(frame), Boxes.none()).within(windows)
            truth = read_truth(ground, windows, Terms(tuple(classes)))
            tallies.add(frame.id, Meeting(Found.of(here.boxes, here.classes, here.scores), truth, np.zeros(len(here.ids))), windows)


def _reported(
    met: Sequence[_Told], tallies: ObjectTallies, classes: Sequence[str], *, split: str, settings: Evaluation, work: Work
) -> dict[str, Any]:
    prefix = "" if split == settings.splits[-1] else f"{split}_"
    by_scene = {one.name: sum(one.counts, Counts.none()) for one in met}
    by_class = {name: sum((one.counts[kind] for one in met), Counts.none()) for kind, name in enumerate(classes)}
    total = sum(by_scene.values(), Counts.none())
    alone = sum((counts for one in met for counts in one.alone), Counts.none()).scores()
    still = sum((counts for one in met for counts in one.still), Counts.none()).scores()
    cuts = np.array([tallies.best.get(name, 0.5) for name in classes])
    frames = tallies.metrics(cuts)
    scores = total.scores()
    metrics = {name: scores[name] for name in HEADLINE} | {f"hota/{name}": one.scores()["hota"] for name, one in by_class.items()}
    metrics |= {name: frames[name] for name in _DETECTED} | {f"frame_{name}": frames[name] for name in ("f1", "precision", "recall")}
    metrics |= {f"baseline_{name}": alone[name] for name in ("hota", "idf1", "mota")}
    metrics |= {f"baseline_still_{name}": still[name] for name in ("hota", "idf1", "mota")}
    work.report.table(f"{prefix}tracks_by_sequence", _table("scene", by_scene))
    work.report.table(f"{prefix}tracks_by_class", _table("class", by_class))
    work.report.table(f"{prefix}hota_by_overlap", _by_overlap(total))
    work.report.figure(f"{prefix}hota", _figure(total, split))
    _say(work, split, metrics)
    return {"metrics": metrics, "thresholds": tallies.best}


def _framed(truth: Sequence[Boxes], found: Sequence[Boxes], kind: int) -> Iterator[FramePair]:
    for true, seen in zip(truth, found, strict=True):
        one, other = true.take(true.classes == kind), seen.take(seen.classes == kind)
        yield FramePair.of(one.ids, one.boxes, other.ids, other.boxes)


def _table(key: str, counts: Mapping[str, Counts]) -> dict[str, list[Any]]:
    scores = {name: one.scores() for name, one in counts.items()}
    names = ("objects", "tracks", *HEADLINE)
    return {key: list(scores)} | {name: [one[name] for one in scores.values()] for name in names}


def _by_overlap(total: Counts) -> dict[str, list[Any]]:
    hits, misses, wrong, sums = total.hota
    detection, association = hits / np.maximum(hits + misses + wrong, 1), sums / np.maximum(hits, 1)
    columns = {"hota": np.sqrt(detection * association), "deta": detection, "assa": association}
    return {"overlap": ALPHAS.round(2).tolist()} | {name: values.tolist() for name, values in columns.items()}


def _figure(total: Counts, split: str) -> bytes:
    from geohydra import pictures

    table = _by_overlap(total)
    lines = {name.upper(): (table["overlap"], table[name]) for name in ("hota", "deta", "assa")}
    return pictures.by_overlap(lines, title=f"Tracks by overlap, {split}")


def _say(work: Work, split: str, metrics: Mapping[str, float]) -> None:
    tracks = f"HOTA {metrics['hota']:.3f}, MOTA {metrics['mota']:.3f}, IDF1 {metrics['idf1']:.3f}"
    ours = f"{split}: {tracks}, AP50 of frames {metrics['map50']:.3f}"
    alone = (
        f"each box a track of its own gives {metrics['baseline_hota']:.3f}, {metrics['baseline_mota']:.3f}, {metrics['baseline_idf1']:.3f}"
    )
    still = f"the first frame's boxes standing still {metrics['baseline_still_hota']:.3f}"
    work.say(f"{ours} ({alone}; {still})")
    work.report.note(f"{ours}; {alone}; {still}.")


def _file(pair: Pair, key: str) -> Path:
    path = pair.file(key)
    if path is None:
        raise KeyError(f"the prediction of {pair.scene.id} names no {key}")
    return path


def _number(frame: Scene) -> int:
    return int(frame.properties["geohydra:frame"])
