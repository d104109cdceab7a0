"""Where objects are: a box around each, upright or turned as the object is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from geohydra.build import near
from geohydra.errors import ConfigError, GeohydraError
from geohydra.task import Detections, Rows
from geohydra.types import Scene, Window

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from geohydra.report import Report
    from geohydra.task import Batch, Comparison, Ground, Model, Objects, Pair, Target, Trained
    from geohydra.work import Work

    Boxes = NDArray[np.float64]

Name = Annotated[str, Field(min_length=1)]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]

_MOST = 300
"""Objects of a class and a chip that count in scores."""


class Detection:
    """A box, a class and a score for each object.

    `classes`: the labels whose objects are to be found. `ignore`: labels whose objects are neither to be found nor background. `colors`:
    `#rrggbb` by class; others are chosen. `oriented`: boxes are turned, as the smallest rectangles around the labels are. `min_share`: how
    much of an object must lie in a chip to be learnt; of what shows less nothing is learnt, neither that it is there nor that it is not.
    """

    monitor = "map50"
    of_objects = True

    def __init__(
        self,
        *,
        classes: Annotated[list[Name], Field(min_length=1)],
        ignore: list[Name] | None = None,
        colors: dict[str, Color] | None = None,
        oriented: bool = False,
        min_share: Annotated[float, Field(gt=0, le=1)] = 0.5,
    ) -> None:
        self.classes = self.labels = tuple(classes)
        self.ignore = tuple(ignore or ())
        self.colors: Mapping[str, str] = dict(colors or {})
        self.oriented, self.min_share = oriented, min_share
        names = [*self.classes, *self.ignore]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError("classes", f"{', '.join(twice)} stands there twice", "each class and each ignored label has its own name")
        for name in self.colors:
            if name not in self.classes:
                raise ConfigError(f"colors.{name}", f"there is no class {name!r}", near(name, self.classes))

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The model must find objects, turned ones where these are asked for."""
        model = parts.get("model")
        if model is None:
            return
        if getattr(model, "answers", "pixels") != "objects":
            yield ConfigError("model", "finds no objects", "take model=fcos, model=retinanet or model=faster_rcnn")
        elif self.oriented and not getattr(model, "oriented", False):
            yield ConfigError("model", "finds upright boxes only, and task.oriented is true", "take model=fcos")

    def target(self, ground: Ground, window: Window) -> Target:
        """`boxes` float32 (n, 4) and `classes` int64 (n) of the objects to learn, `ignored` float32 (m, 4) of those left out, `known` uint8
        `(row, col)`: 0 on ground that does not count, and where they are turned `corners` float32 (n, 4, 2)."""
        objects, counts = ground.objects(window), ground.known(window)
        ids = {name: place for place, name in enumerate(self.classes)}
        known = np.array([ids.get(name, -1) for name in objects.classes], np.int64)
        learnt = (known >= 0) & (objects.shares >= self.min_share) & _seen(objects.boxes, counts)
        aside = (known >= 0) & ~learnt | np.isin(np.array(objects.classes, dtype=object), self.ignore)
        boxes = objects.boxes.astype(np.float32)
        target: dict[str, Any] = {
            "boxes": Rows(boxes[learnt], "boxes"),
            "classes": Rows(known[learnt]),
            "ignored": Rows(boxes[aside], "boxes"),
        }
        target["known"] = counts.astype(np.uint8)
        if self.oriented:
            target["corners"] = Rows(rectangles(ground, window, objects, np.flatnonzero(learnt)), "points")
        return target

    def network(self, model: Model, *, channels: int) -> torch.nn.Module:
        """The detector, with one score a class."""
        detector: Any = model
        network: torch.nn.Module = detector.build(channels=channels, classes=len(self.classes), oriented=self.oriented)
        return network

    def answer(self, network: Any, batch: Batch) -> Any:
        """Losses and objects; see geohydra.models.detector_network.Answer. Objects where nothing was measured are none to learn."""
        return network(batch["image"], measured(batch))

    def loss(self, loss: Any, outputs: Any, batch: Batch) -> torch.Tensor:  # noqa: ARG002 (the network was told the truth)
        """The detector's own losses."""
        value: torch.Tensor = loss(outputs.losses)
        return value

    def scores(self) -> DetectionScores:
        """Metrics of one split and one epoch."""
        return DetectionScores(self.classes)

    def review(self) -> DetectionReview:
        """The same, with all that is shown of the best network."""
        return DetectionReview(self)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """Boxes as GeoParquet and GeoJSON, and a picture."""
        from geohydra.prediction.objects import predict_objects

        return predict_objects(scene, trained, settings, out=out, work=work, classes=self.classes, colors=self.colors)

    def evaluate(self, pairs: Sequence[Pair], *, split: str, settings: Any, work: Work) -> dict[str, Any]:
        """What `comparison` tells of a split."""
        from geohydra.evaluation import counting

        return counting.evaluate(self.comparison(), pairs, split=split, settings=settings, work=work)

    def comparison(self) -> Comparison:
        """Average precision, F1, counts, curves and pictures of the objects of a split."""
        from geohydra.evaluation.objects import ObjectComparison

        return ObjectComparison(self, "oriented" if self.oriented else "box", tuple(self.ignore))


class DetectionScores:
    """Average precision and F1 of the upright boxes in chips. What is found where nothing was to be learnt does not count."""

    def __init__(self, classes: Sequence[str]) -> None:
        from geohydra.evaluation.object_scores import ObjectScores

        self._scores = ObjectScores(classes, most=_MOST)

    def update(self, outputs: Any, batch: Batch) -> None:
        """Add what the network found in a batch."""
        self.add(*chips_of(outputs, batch))

    def add(self, found: Sequence[Detections], truths: Sequence[tuple[Boxes, NDArray[np.int64]]]) -> None:
        """Count chips."""
        self._scores.update(found, truths)

    def compute(self) -> dict[str, float]:
        """See geohydra.evaluation.object_scores."""
        return self._scores.compute()

    @property
    def thresholds(self) -> dict[str, float]:
        """The score of each class at which F1 is best."""
        return self._scores.thresholds


class DetectionReview(DetectionScores):
    """What is shown of a network: its scores, and some chips with what is there and what was found."""

    shown = 9

    def __init__(self, task: Detection) -> None:
        super().__init__(task.classes)
        self.task = task
        self._chips: list[Any] = []

    def update(self, outputs: Any, batch: Batch) -> None:
        """Add what the network found in a batch, and keep the first chips that hold several objects."""
        found, truths = chips_of(outputs, batch)
        self.add(found, truths)
        for place, ((boxes, _), answer) in enumerate(zip(truths, found, strict=True)):
            if len(self._chips) < self.shown and len(boxes) > 2:
                image, valid = (batch[name][place].float().cpu().numpy() for name in ("image", "valid"))
                corners = batch["corners"][place].cpu().numpy() if "corners" in batch else None
                self._chips.append((image, valid > 0, boxes if corners is None else corners[~np.isnan(corners).any(axis=(1, 2))], answer))

    def show(self, report: Report, *, split: str, bands: Sequence[str]) -> None:
        """A table of the classes, and the chips."""
        values = self.compute()
        cuts = self.thresholds
        rows = {"class": self.task.classes, "ap50": [values[f"ap50/{name}"] for name in self.task.classes]}
        report.table(f"{split}_per_class", {**rows, "threshold": [cuts.get(name, float("nan")) for name in self.task.classes]})
        if self._chips:
            report.figure(f"{split}_predictions", self._picture(split, bands))

    def _picture(self, split: str, bands: Sequence[str]) -> bytes:
        from geohydra.pictures import palette, side_by_side, stretch
        from geohydra.types import Image
        from geohydra.vector.drawing import drawn, rings_of

        names = self.task.classes
        colors, cuts = palette(names, self.task.colors), np.array([self.thresholds.get(name, 0.5) for name in names])
        panels = []
        for image, valid, truth, found in self._chips:
            sure = found.take(found.scores >= cuts[found.classes])
            rgb, zoom = stretch(Image(image, valid), bands), max(1, 384 // image.shape[-1])
            there = drawn(rgb, list(rings_of(truth) if truth.ndim == 2 else truth), [_TRUTH] * len(truth), zoom=zoom, width=3)
            rings = list(rings_of(sure.boxes) if sure.corners is None else sure.corners)
            larger = [np.asarray(ring) * zoom for ring in rings]
            panels.append(
                (f"{len(truth)} there, {len(sure)} found", drawn(there, larger, [colors[code] for code in sure.classes], width=1))
            )
        rows = [panels[start : start + 3] for start in range(0, len(panels), 3)]
        legend = {"truth": _TRUTH} | {f"found: {name}": color for name, color in zip(names, colors, strict=True)}
        return side_by_side(rows, title=f"Objects, {split} chips", legend=legend)


_TRUTH = (255, 235, 59)


def chips_of(outputs: Any, batch: Batch) -> tuple[list[Detections], list[tuple[Boxes, NDArray[np.int64]]]]:
    """For each chip what was found, less what lies where nothing was to be learnt, and boxes and classes that are there."""
    from geohydra.prediction.objects import detections_of

    found, truths, batch = [], [], measured(batch)
    for place, answer in enumerate(detections_of(outputs)):
        boxes, classes, ignored = (batch[name][place].cpu().numpy() for name in ("boxes", "classes", "ignored"))
        there = ~np.isnan(boxes).any(1)
        truths.append((boxes[there].astype(np.float64), classes[there]))
        counts = (batch["valid"][place] & (batch["known"][place] > 0 if "known" in batch else True)).cpu().numpy()
        found.append(answer.take(~_aside(answer.boxes, truths[-1][0], ignored[~np.isnan(ignored).any(1)], counts)))
    return found, truths


def measured(batch: Batch) -> Batch:
    """A batch in which the objects whose middle was not measured are left out: the edge of a swath hides them."""
    import torch

    boxes, valid = batch["boxes"], batch["valid"]
    middle = ((boxes[..., :2] + boxes[..., 2:]) / 2).nan_to_num().long()
    row, col = (middle[..., axis].clamp(0, valid.shape[axis + 1] - 1) for axis in (0, 1))
    seen = valid[torch.arange(len(boxes), device=boxes.device)[:, None], row, col]
    hidden = torch.where(seen[..., None], torch.nan, boxes)
    return {**batch, "boxes": torch.where(seen[..., None], boxes, torch.nan), "ignored": torch.cat([batch["ignored"], hidden], 1)}


def _aside(found: Boxes, truth: Boxes, ignored: Boxes, counts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which boxes lie by half in an ignored one, or mostly where nothing counts, and overlap with none that is there by half."""
    whole = (found[:, 2:] - found[:, :2]).prod(1)
    lost = (_shared(found, ignored) > 0.5 * whole[:, None]).any(1) | ~_seen(found, counts)
    shared = _shared(found, truth)
    union = whole[:, None] + (truth[:, 2:] - truth[:, :2]).prod(1)[None] - shared
    return np.asarray(lost & ~(shared >= 0.5 * union).any(1))


def _seen(boxes: Boxes, counts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which boxes lie at least by half on pixels that count, of those that are in the image."""
    if counts.all():
        return np.ones(len(boxes), np.bool_)
    sums = np.pad(counts, ((1, 0), (1, 0))).astype(np.int64).cumsum(0).cumsum(1)
    low = np.floor(boxes[:, :2]).astype(np.int64).clip(0, counts.shape)
    high = np.maximum(np.ceil(boxes[:, 2:]).astype(np.int64).clip(0, counts.shape), low)
    (top, left), (bottom, right) = low.T, high.T
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return np.asarray(2 * inside >= (high - low).prod(1))


def _shared(left: Boxes, right: Boxes) -> Boxes:
    top = np.maximum(left[:, None, :2], right[None, :, :2])
    bottom = np.minimum(left[:, None, 2:], right[None, :, 2:])
    return np.asarray(np.maximum(bottom - top, 0).prod(-1), np.float64)


def rectangles(ground: Ground, window: Window, objects: Objects, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Corners `(n, 4, 2)` of the smallest rectangles around some objects, in pixels of the window: around whole outlines where the labels
    are outlines, else around the pixels in the window."""
    import shapely

    outlines = getattr(ground, "outlines", None)
    if outlines is not None:
        shapes = outlines(objects.numbers[rows])
        origin = np.array([window.row, window.col])
    else:
        shapes = _around_pixels(ground.instances(window).pixels(), rows)
        origin = np.zeros(2)
    corners = [_corners(shape) for shape in shapely.oriented_envelope(shapes)] if len(shapes) else []
    found = np.array(corners, np.float64).reshape(-1, 4, 2) - origin
    return np.asarray(found, np.float32)


def _corners(shape: Any) -> Boxes:
    """Four corners `(row, col)` of a rectangle; of what has no area those of its upright box."""
    import shapely

    points = shapely.get_coordinates(shape)
    if len(points) != 5:
        left, top, right, bottom = shapely.bounds(shape)
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return np.asarray(points[:4, ::-1])


def _around_pixels(pixels: Sequence[NDArray[np.int64]], rows: NDArray[np.int64]) -> NDArray[Any]:
    """The corners of the pixels of some objects, as points."""
    import shapely

    steps = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    clouds = [(pixels[row][:, None] + steps).reshape(-1, 2)[:, ::-1] for row in rows.tolist()]
    return np.array([shapely.multipoints(cloud) for cloud in clouds], dtype=object)
