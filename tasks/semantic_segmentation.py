"""Which class each pixel belongs to: land cover, clouds, building masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import Field

from geohydra.build import near
from geohydra.errors import ConfigError, GeohydraError
from geohydra.types import IGNORE, PIXEL, Scene, Shape, Window

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from geohydra.models.votes import Activation
    from geohydra.prediction.dense import Tiling
    from geohydra.prediction.outputs import Answers
    from geohydra.prediction.scan import Watch
    from geohydra.report import Report
    from geohydra.task import Batch, Comparison, Ground, Model, Pair, Review, Scores, Target, Trained
    from geohydra.work import Work

Name = Annotated[str, Field(min_length=1)]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class OfClasses:
    """A task that answers with one of its classes: their names and ids, and what is the same for every one of them."""

    activation: Activation = "softmax"
    """How outputs become probabilities: what answers are averaged by."""

    def __init__(
        self,
        *,
        classes: Sequence[str],
        background: str | None,
        ignore: Sequence[str] | None,
        colors: Mapping[str, str] | None,
        multi_label: bool = False,
    ) -> None:
        self.background = background
        self.multi_label = multi_label
        self.labels = tuple(classes)
        self.classes = self.labels if background is None or multi_label else (background, *self.labels)
        if multi_label:
            self.activation = "sigmoid"
        self.ignore = tuple(ignore or ())
        self.colors: Mapping[str, str] = dict(colors or {})
        check_names(self)
        ids = {name: place for place, name in enumerate(self.classes) if name != background}
        self.ids = ids | dict.fromkeys(self.ignore, IGNORE)

    def network(self, model: Model, *, channels: int) -> torch.nn.Module:
        """The model with one output channel a class."""
        return model.build(channels=channels, classes=len(self.classes))

    def answers(self) -> Answers:
        """What maps of this task hold."""
        from geohydra.prediction.label_maps import LabelMap
        from geohydra.prediction.outputs import ClassMap

        return LabelMap(self.classes, self.colors) if self.multi_label else ClassMap(self.classes, self.colors, self.background)

    def _mask(self, ground: Ground, window: Window) -> NDArray[np.uint8]:
        """Class ids of pixels, uint8 `(row, col)`; of several labels 0 and 1 `(class, row, col)`. IGNORE where nothing is known."""
        if self.multi_label:
            return self._layers(ground, window)
        return ground.mask(window, ids=self.ids, background=IGNORE if self.background is None else 0)

    def _layers(self, ground: Ground, window: Window) -> NDArray[np.uint8]:
        """Each class burnt alone: where several cover a pixel, it is of all of them."""
        import numpy as np

        rest = dict.fromkeys(self.ignore, IGNORE)
        layers = np.stack([ground.mask(window, ids={name: 1, **rest}, background=0) for name in self.labels])
        if self.background is None:
            layers[:, ~(layers == 1).any(0)] = IGNORE
        return layers

    def evaluate(self, pairs: Sequence[Pair], *, split: str, settings: Any, work: Work) -> dict[str, Any]:
        """What `comparison` tells of a split."""
        from geohydra.evaluation import counting

        return counting.evaluate(self.comparison(), pairs, split=split, settings=settings, work=work)

    def comparison(self) -> Comparison:
        """Scores, curves and pictures of the pixels of a split."""
        return self._comparison(self, PIXEL)

    def _comparison(self, task: Any, cell: Shape) -> Comparison:
        """Class maps held against the ground; see geohydra.evaluation. `task` tells the truth."""
        from geohydra.evaluation.dense import MapComparison
        from geohydra.evaluation.labels import LabelComparison

        return LabelComparison(task, cell) if self.multi_label else MapComparison(task, cell)

    def _predicted(
        self,
        scene: Scene,
        trained: Trained,
        settings: Any,
        out: Path,
        work: Work,
        *,
        tiling: Tiling | None = None,
        columns: Mapping[str, str] | None = None,
        watch: Watch | None = None,
    ) -> dict[str, Any]:
        """See geohydra.prediction.dense.predict_scene."""
        from geohydra.prediction.dense import predict_scene

        return predict_scene(
            scene,
            trained,
            settings,
            out=out,
            work=work,
            classes=self.classes,
            colors=self.colors,
            background=self.background,
            tiling=tiling,
            columns=columns,
            answers=self.answers(),
            watch=watch,
        )


class SemanticSegmentation(OfClasses):
    """One class for each pixel.

    `classes`: the labels to learn; where two cover a pixel, the later one lies above. `background`: what a pixel without a
    label is; null where labels are sparse: then such pixels are unknown, and count neither in the loss nor in a metric.
    `ignore`: labels whose pixels are unknown too. `colors`: `#rrggbb` by class; others are chosen. `multi_label`: a pixel is of every
    class whose label covers it; the background is then no class, but what a pixel is that is of none.
    """

    monitor = "iou"
    images = 1

    def __init__(
        self,
        *,
        classes: Annotated[list[Name], Field(min_length=1)],
        background: Name | None = "background",
        ignore: list[Name] | None = None,
        colors: dict[str, Color] | None = None,
        multi_label: bool = False,
    ) -> None:
        super().__init__(classes=classes, background=background, ignore=ignore, colors=colors, multi_label=multi_label)

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The network must answer for every pixel of as many images as the task shows."""
        model = parts.get("model")
        if getattr(model, "answers", "pixels") != "pixels":
            yield ConfigError("model", "does not answer for every pixel", "take another, such as model=unet")
        if getattr(model, "images", 1) not in (1, self.images):
            yield ConfigError("model", "compares two images, this task shows one", "take another, such as model=unet")

    def target(self, ground: Ground, window: Window) -> Target:
        """`mask`: class ids, uint8 `(row, col)`; of several labels 0 and 1 `(class, row, col)`. IGNORE where nothing is known."""
        return {"mask": self._mask(ground, window)}

    def truth(self, ground: Ground, window: Window) -> NDArray[np.uint8]:
        """The same, as evaluate asks for it."""
        return self._mask(ground, window)

    def loss(self, loss: Any, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss over pixels that were measured and are labelled."""
        value: torch.Tensor = loss(outputs, truth(batch).long())
        return value

    def scores(self) -> Scores:
        """Metrics of one split and one epoch."""
        from geohydra.evaluation.label_review import LabelScores

        return LabelScores(self.classes, truth) if self.multi_label else DenseScores(self.classes)

    def review(self) -> Review:
        """The same, with all that is shown of the best network."""
        from geohydra.evaluation.label_review import LabelReview

        return LabelReview(self, truth) if self.multi_label else DenseReview(self)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """A class map, and by choice probabilities and polygons."""
        return self._predicted(scene, trained, settings, out, work)


class Shown(Protocol):
    """What pictures of a task need to know."""

    classes: tuple[str, ...]
    colors: Mapping[str, str]
    background: str | None


class DenseScores:
    """Metrics of class maps, from one confusion matrix."""

    def __init__(self, classes: Sequence[str], known: Callable[[Batch], torch.Tensor] | None = None) -> None:
        """`known` gives the true class ids `(n, row, col)` of a batch, IGNORE where there are none."""
        from geohydra.training.metrics import Confusion

        self.known = known or truth
        self.classes = tuple(classes)
        self.confusion = Confusion(len(self.classes))

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """Add the network's outputs for a batch."""
        from geohydra.training.metrics import answers

        self.confusion.update(answers(outputs), self.known(batch))

    def compute(self) -> dict[str, float]:
        """Means over classes, accuracy, and each class's IoU; see geohydra.evaluation.scores."""
        from geohydra.evaluation.scores import headline

        values = headline(self.confusion.matrix, self.classes)
        return {key: value for key, value in values.items() if key in {"iou", "f1", "accuracy"} or key.startswith("iou/")}


class DenseReview(DenseScores):
    """What is shown of a network: its confusion matrix, scores by class, the threshold of two classes, and some chips."""

    shown = 6

    def __init__(self, task: Shown, known: Callable[[Batch], torch.Tensor] | None = None) -> None:
        from geohydra.evaluation.curves import LEVELS
        from geohydra.training.metrics import Levels

        super().__init__(task.classes, known)
        self.task = task
        self.levels = Levels(LEVELS) if len(task.classes) == 2 else None
        self._chips: list[list[Any]] = []

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """Add the network's outputs for a batch, and keep the first chips that hold more than one class."""
        super().update(outputs, batch)
        known = self.known(batch)
        if self.levels:
            self.levels.update(outputs, known)
        self._keep(outputs, batch, known)

    def compute(self) -> dict[str, float]:
        """All headline scores, and those of the trivial answer."""
        from geohydra.evaluation.scores import headline

        return headline(self.confusion.matrix, self.classes)

    @property
    def thresholds(self) -> dict[str, float]:
        """With two classes, the probability of the second one above which F1 is best; otherwise the largest decides."""
        from geohydra.evaluation.curves import curve

        if not self.levels:
            return {}
        threshold, f1 = curve(*self.levels.histograms).best
        return {self.classes[1]: threshold} if f1 == f1 else {}

    def show(self, report: Report, *, split: str, bands: Sequence[str]) -> None:
        """Tables and figures, their names led by the split."""
        from geohydra.evaluation.scores import class_table, confusion_table
        from geohydra.pictures import confusion

        matrix = self.confusion.matrix
        report.table(f"{split}_confusion_matrix", confusion_table(matrix, self.classes))
        report.table(f"{split}_per_class", class_table(matrix, self.classes))
        report.figure(f"{split}_confusion_matrix", confusion(matrix, self.classes, title=f"Confusion matrix, {split} chips"))
        if self._chips:
            report.figure(f"{split}_predictions", self._picture(split, bands))

    def _keep(self, outputs: torch.Tensor, batch: Batch, known: torch.Tensor) -> None:
        from geohydra.training.metrics import answers

        answer = answers(outputs)
        for place in range(len(known)):
            found = known[place][known[place] != IGNORE]
            if len(self._chips) < self.shown and found.numel() and bool(found.min() != found.max()):
                kept = (batch["image"][place].float(), batch["valid"][place], known[place], answer[place])
                self._chips.append([value.cpu().numpy() for value in kept])

    def _picture(self, split: str, bands: Sequence[str]) -> bytes:
        from geohydra.pictures import classes_rgb, palette, side_by_side, stretch
        from geohydra.types import Image

        colors = palette(self.classes, self.task.colors, background=self.task.background)
        rows = [
            [
                ("image", stretch(Image(image, valid), bands)),
                ("truth", classes_rgb(known, colors)),
                ("prediction", classes_rgb(answer.astype("uint8"), colors)),
            ]
            for image, valid, known, answer in self._chips
        ]
        legend = dict(zip(self.classes, colors, strict=True))
        return side_by_side(rows, title=f"Predictions beside truth, {split} chips", legend=legend)


def truth(batch: Batch) -> torch.Tensor:
    """Class ids of a batch, or 0 and 1 for each class, IGNORE where a pixel was not measured."""
    import torch

    mask = batch["mask"]
    return torch.where(batch["valid"] if mask.ndim == 3 else batch["valid"][:, None], mask, IGNORE)


class Named(Shown, Protocol):
    """A task whose names are to be checked."""

    ignore: tuple[str, ...]
    multi_label: bool


def check_names(task: Named) -> None:
    """Raise ConfigError for names that stand there twice, too few or too many classes, and colours of none."""
    names = (*task.classes, *task.ignore)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        hint = "each class, the background and each ignored label has its own name"
        raise ConfigError("classes", f"{', '.join(twice)} stands there twice", hint)
    if len(task.classes) < 2 and not task.multi_label:
        raise ConfigError("classes", "one class leaves nothing to tell apart", "name a second class, or what the rest is in `background`")
    if len(task.classes) > IGNORE:
        raise ConfigError("classes", f"{len(task.classes)} classes are too many", f"at most {IGNORE} with the background")
    for name in task.colors:
        if name not in task.classes:
            raise ConfigError(f"colors.{name}", f"there is no class {name!r}", near(name, task.classes))
