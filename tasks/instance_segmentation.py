"""Each object with its outline, kept apart from those that it touches: buildings, trees, parcels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.errors import ConfigError, DataError, GeohydraError
from geohydra.task import Rows
from geohydra.tasks.semantic_segmentation import Color, Name, OfClasses
from geohydra.types import IGNORE, Scene, Shape, Window

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from geohydra.models.votes import Activation
    from geohydra.report import Report
    from geohydra.task import Batch, Comparison, Ground, Model, Target, Trained
    from geohydra.work import Work

    Chip = tuple[NDArray[Any], NDArray[Any]]
    """Numbers of objects `(row, col)`, 0 where there is none, and the class id of each number."""

_MOST = 2**15 - 1
_TRIED = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities of a single class from which on a pixel may belong to an object; validation chooses one."""


class InstanceSegmentation(OfClasses):
    """Objects and their pixels.

    `classes`: the labels whose objects are to be found. `background`: what the rest is called. `ignore`: labels whose pixels are unknown.
    `colors`: `#rrggbb` by class; others are chosen. How objects are found follows from the model. One for pixels learns classes, the
    `border` that is so many pixels wide along each object's edge, and how deep in its object a pixel lies, from the edge up to `depth`
    pixels; objects then grow from their middles until they meet. One for objects, such as mask_rcnn, finds each by itself.
    """

    monitor = "pq"
    images = 1
    of_objects = True
    activation: Activation = "none"
    """Outputs are averaged as they are."""

    def __init__(
        self,
        *,
        classes: Annotated[list[Name], Field(min_length=1)],
        background: Name = "background",
        ignore: list[Name] | None = None,
        colors: dict[str, Color] | None = None,
        border: Annotated[int, Field(ge=1, le=20)] = 2,
        depth: Annotated[int, Field(ge=2, le=128)] = 16,
    ) -> None:
        super().__init__(classes=classes, background=background, ignore=ignore, colors=colors)
        self.border, self.depth = border, depth

    @property
    def reach(self) -> int:
        """Pixels by which objects may grow at each level of the flooding; see geohydra.raster.flooding."""
        return max(4, self.depth // 2)

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The model must answer for every pixel, or find objects with their pixels."""
        model, predict = parts.get("model"), parts.get("predict")
        kind = getattr(model, "answers", "pixels")
        hint = "take model=watershed, model=mask_rcnn, or any model for pixels"
        if kind == "objects" and not getattr(model, "masks", False):
            yield ConfigError("model", "finds boxes, this task asks for the pixels of each object", hint)
        elif kind not in ("pixels", "objects"):
            yield ConfigError("model", "does not answer for every pixel", hint)
        if getattr(model, "images", 1) != 1:
            yield ConfigError("model", "compares two images, this task shows one", hint)
        if kind == "objects":
            yield from _not_averaged(parts)
        elif not getattr(predict, "polygons", True):
            yield ConfigError("predict.polygons", "outlines are what this task finds", "leave predict.polygons=true")

    def target(self, ground: Ground, window: Window) -> Target:
        """`mask`: class ids, uint8 `(row, col)`, IGNORE where nothing is known; `ids`: 1 + the row of the object that a pixel shows, int16;
        `border`: 1 along the edges of objects; `depth`: 0 to 255, from edge to middle; and of each object `boxes` and `classes`, places
        in the labels from 0."""
        import numpy as np

        from geohydra.raster.flooding import depths

        grown = Window(
            window.row - self.depth, window.col - self.depth, Shape(window.shape.rows + 2 * self.depth, window.shape.cols + 2 * self.depth)
        )
        inside = grown.clip(ground.grid.shape) or window
        ids, kinds = self._objects(ground, inside)
        far, deep = depths(ids, most=self.depth)
        edge = (far > 0) & (far <= self.border) & (deep < 1)
        own, numbers = _renumbered(_cut(ids, inside, window))
        if len(numbers) > _MOST:
            raise DataError("chip.size", f"{len(numbers)} objects lie in one chip", f"choose smaller chips: {_MOST} fit")
        mask = np.where(own > 0, np.concatenate([[0], kinds[numbers]])[own], 0).astype(np.uint8)
        mask[self._mask(ground, window) == IGNORE] = IGNORE
        return {
            "mask": mask,
            "ids": own.astype(np.int16),
            "border": _cut(edge, inside, window).astype(np.uint8),
            "depth": _cut(np.rint(deep * 255), inside, window).astype(np.uint8),
            "boxes": Rows(_boxes(own), "boxes"),
            "classes": Rows(kinds[numbers].astype(np.int64) - 1),
        }

    def truth(self, ground: Ground, window: Window) -> NDArray[np.uint8]:
        """Class ids of pixels."""
        return self._mask(ground, window)

    def network(self, model: Model, *, channels: int) -> torch.nn.Module:
        """The model with planes for classes, border and distance; a detector with the labels."""
        from geohydra.prediction.parts import PLANES

        found = getattr(model, "answers", "pixels") == "objects"
        return model.build(channels=channels, classes=len(self.labels) if found else len(self.classes) + len(PLANES))

    def answer(self, network: Any, batch: Batch) -> Any:
        """Planes `(n, plane, row, col)`, or what a detector says when it is told what is there."""
        return network(batch["image"], batch) if hasattr(network, "raw") else network(batch["image"])

    def loss(self, loss: Any, outputs: Any, batch: Batch) -> torch.Tensor:
        """The loss over pixels that were measured and are labelled; of a detector its own losses, each once."""
        import torch

        from geohydra.training.part_loss import as_parts

        if not isinstance(outputs, torch.Tensor):
            return torch.stack([value.reshape(()) for value in outputs.losses.values()]).sum()
        truth = _known(batch)
        return as_parts(loss).parts(outputs, truth.long(), batch["border"], batch["depth"].float() / 255)

    def scores(self) -> InstanceScores:
        """Metrics of one split and one epoch."""
        return InstanceScores(self, {})

    def review(self) -> InstanceReview:
        """The same, with all that is shown of the best network."""
        return InstanceReview(self)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """A map of objects, and their outlines with class, score and area."""
        from geohydra.build import build

        if getattr(build(trained.details["model"], where="model"), "answers", "pixels") == "objects":
            from geohydra.prediction.masks import predict_masks

            return predict_masks(scene, trained, settings, out=out, work=work, labels=self.labels, colors=self.colors)
        from geohydra.prediction.dense import predict_scene
        from geohydra.prediction.instances import InstanceMap

        kind = InstanceMap(self.classes, self.colors, reach=self.reach, settings=settings)
        return predict_scene(scene, trained, settings, out=out, work=work, classes=self.classes, answers=kind)

    def comparison(self) -> Comparison:
        """Average precision of outlines, F1, panoptic quality, curves and pictures of a split."""
        from geohydra.evaluation.objects import ObjectComparison

        return ObjectComparison(Labels(self.labels), "outline", tuple(self.ignore), otherwise=0.0)

    def _objects(self, ground: Ground, window: Window) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Objects of the labels: 1 + the row of an object at each pixel, and the class id of each row."""
        import numpy as np

        found = ground.instances(window)
        wanted = {name: self.classes.index(name) for name in self.labels}
        kinds = np.array([wanted.get(name, 0) for name in found.objects.classes], np.uint8)
        ids = found.ids.astype(np.int32)
        return np.where(np.concatenate([[0], kinds])[ids] > 0, ids, 0), kinds


@dataclass(frozen=True, slots=True)
class Labels:
    """What evaluation asks of a task that finds objects."""

    classes: tuple[str, ...]


class InstanceScores:
    """Panoptic quality and F1 of the objects of chips; `thresholds` are those of pixels, or of what a detector found."""

    def __init__(self, task: InstanceSegmentation, thresholds: Mapping[str, float]) -> None:
        from geohydra.prediction.parts import PartsDecision
        from geohydra.training.instance_scores import InstanceCounts

        self.task = task
        self._thresholds = {name: thresholds.get(name, 0.5) for name in task.labels}
        self._decision = PartsDecision(task.classes, thresholds)
        self._counts = InstanceCounts(task.classes)

    def update(self, outputs: Any, batch: Batch) -> None:
        """Add the network's outputs for a batch."""
        known = (_known(batch) != IGNORE).cpu().numpy()
        for found, truth, place in zip(self.found(outputs, batch), _truths(batch), known, strict=True):
            self._counts.update(found, truth, place)

    def found(self, outputs: Any, batch: Batch) -> Iterator[Chip]:
        """The objects of each chip."""
        import torch

        from geohydra.prediction.parts import objects_of

        if isinstance(outputs, torch.Tensor):
            yield from (objects_of(parts, reach=self.task.reach) for parts in self._decision.labels(outputs))
        else:
            from geohydra.prediction.pasting import painted

            cuts = list(self._thresholds.values())
            yield from (painted(one, cuts, *batch["image"].shape[-2:]) for one in outputs.found)

    def compute(self) -> dict[str, float]:
        """See geohydra.training.instance_scores."""
        return self._counts.compute()


class InstanceReview:
    """What is shown of a network: scores at the best of several thresholds, and some chips."""

    shown = 6

    def __init__(self, task: InstanceSegmentation) -> None:
        self.task = task
        tried = _TRIED if len(task.labels) == 1 else (0.5,)
        self._by = {level: InstanceScores(task, dict.fromkeys(task.labels, level)) for level in tried}
        self._chips: list[Any] = []

    def update(self, outputs: Any, batch: Batch) -> None:
        """Add the network's outputs for a batch, and keep the first chips that hold several objects."""
        for scores in self._by.values():
            scores.update(outputs, batch)
        if len(self._chips) < self.shown:
            self._keep(outputs, batch)

    def compute(self) -> dict[str, float]:
        """Scores at the best threshold."""
        return self._by[self._best].compute()

    @property
    def thresholds(self) -> dict[str, float]:
        """The best of those that were tried."""
        return dict.fromkeys(self.task.labels, self._best)

    @property
    def _best(self) -> float:
        values = {level: scores.compute()["pq"] for level, scores in self._by.items()}
        return max(values, key=lambda level: (values[level] if values[level] == values[level] else -1.0, -abs(level - 0.5)))

    def show(self, report: Report, *, split: str, bands: Sequence[str]) -> None:
        """A table of thresholds, and chips with the objects that are there and those that were found."""
        rows = {level: scores.compute() for level, scores in self._by.items()}
        names = next(iter(rows.values()))
        report.table(f"{split}_thresholds", {"threshold": list(rows)} | {name: [row[name] for row in rows.values()] for name in names})
        if self._chips:
            report.figure(f"{split}_predictions", self._picture(split, bands))

    def _keep(self, outputs: Any, batch: Batch) -> None:
        found, truths = self._by[0.5].found(outputs, batch), _truths(batch)
        for place, (answer, truth) in enumerate(zip(found, truths, strict=True)):
            if len(self._chips) < self.shown and truth[0].max() > 1:
                image, valid = (batch[name][place].float().cpu().numpy() for name in ("image", "valid"))
                self._chips.append((image, valid > 0, truth, answer))

    def _picture(self, split: str, bands: Sequence[str]) -> bytes:
        from geohydra.pictures import palette, side_by_side, stretch
        from geohydra.prediction.instances import objects_rgb
        from geohydra.types import Image

        names = self.task.classes
        colors = palette(names, self.task.colors, background=names[0])
        rows = [
            [
                ("image", stretch(Image(image, valid), bands)),
                ("truth", objects_rgb(truth[0], truth[1], colors)),
                ("found", objects_rgb(answer[0], answer[1], colors)),
            ]
            for image, valid, truth, answer in self._chips
        ]
        return side_by_side(rows, title=f"Objects, {split} chips", legend=dict(zip(names[1:], colors[1:], strict=True)))


def _not_averaged(parts: Mapping[str, Any]) -> Iterator[ConfigError]:
    """Found objects cannot be averaged as pixels can."""
    for group, name, plain in (("predict", "tta", "none"), ("predict", "uncertainty", "none"), ("train", "keep_best", 1)):
        if getattr(parts.get(group), name, plain) != plain:
            where = f"{group}.{name}"
            yield ConfigError(where, "found objects cannot be averaged", f"leave {where}={plain}, or take model=watershed")


def _known(batch: Batch) -> torch.Tensor:
    """Class ids of a batch, IGNORE where a pixel was not measured."""
    import torch

    return torch.where(batch["valid"], batch["mask"], IGNORE)


def _truths(batch: Batch) -> Iterator[Chip]:
    """The true objects of each chip."""
    import numpy as np

    ids, kinds = batch["ids"].cpu().numpy(), batch["classes"].cpu().numpy()
    for own, rows in zip(ids, kinds, strict=True):
        yield own, np.concatenate([[0], rows + 1])


def _cut(values: NDArray[Any], inside: Window, window: Window) -> NDArray[Any]:
    """Of values of one window those of another one; 0 beyond."""
    import numpy as np

    out = np.zeros((window.shape.rows, window.shape.cols), values.dtype)
    both = inside.intersect(window)
    if both is not None:
        out[both.shift(-window.row, -window.col).slices] = values[both.shift(-inside.row, -inside.col).slices]
    return out


def _renumbered(ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Numbers from 1 without gaps, and the row that each of them was."""
    import numpy as np

    known, places = np.unique(np.concatenate([[0], ids.ravel()]), return_inverse=True)
    return places[1:].reshape(ids.shape), known[1:] - 1


def _boxes(ids: NDArray[Any]) -> NDArray[np.float32]:
    """The box of the pixels of each number."""
    import numpy as np
    from scipy import ndimage

    sides = [(rows.start, cols.start, rows.stop, cols.stop) for rows, cols in ndimage.find_objects(ids.astype(np.int32))]
    return np.array(sides, np.float32).reshape(-1, 4)
