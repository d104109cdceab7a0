"""Which class each chip is of; over a whole scene, which class each cell of a chip's size is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from geohydra.errors import ConfigError, GeohydraError
from geohydra.tasks.semantic_segmentation import Color, DenseReview, DenseScores, Name, OfClasses
from geohydra.types import IGNORE, PIXEL, Scene, Shape, Window

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from geohydra.task import Batch, Comparison, Counts, Ground, Pair, Review, Scores, Target, Trained
    from geohydra.work import Work


class Classification(OfClasses):
    """One class for each chip: of the labels that cover `min_share` of what is known of it, the one that covers most.

    `classes`: the labels to learn. `background`: what a chip without such a label is; null where that is unknown: then it counts neither
    in the loss nor in a metric. `ignore`: labels whose pixels are unknown. `colors`: `#rrggbb` by class; others are chosen.
    `multi_label`: a chip is of every class that covers `min_share` of it; the background is then no class, but what a chip is that
    is of none.
    """

    monitor = "f1"

    def __init__(
        self,
        *,
        classes: Annotated[list[Name], Field(min_length=1)],
        background: Name | None = None,
        ignore: list[Name] | None = None,
        colors: dict[str, Color] | None = None,
        min_share: Annotated[float, Field(ge=0, le=1)] = 0.0,
        multi_label: bool = False,
    ) -> None:
        super().__init__(classes=classes, background=background, ignore=ignore, colors=colors, multi_label=multi_label)
        self.min_share = min_share

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The network must answer once for an image."""
        if "model" in parts and getattr(parts["model"], "answers", "pixels") != "image":
            yield ConfigError("model", "answers for pixels, classification asks for one class an image", "take model=classifier")

    def target(self, ground: Ground, window: Window) -> Target:
        """`label`: the class id of the window, uint8 `(1,)`; of several labels 0 and 1 `(class,)`. IGNORE where it is unknown."""
        return {"label": self._labels(ground, window, window.shape).reshape(-1)}

    def truth(self, ground: Ground, window: Window, *, cell: Shape) -> NDArray[np.uint8]:
        """Class ids of a window of cells, uint8 `(row, col)`; of several labels `(class, row, col)`."""
        return self._labels(ground, window.times(cell), cell)

    def loss(self, loss: Any, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss over chips of which something was measured and whose class is known."""
        value: torch.Tensor = loss(outputs[:, :, None, None], self._known(batch).long())
        return value

    def scores(self) -> Scores:
        """Metrics of one split and one epoch."""
        from geohydra.evaluation.label_review import LabelScores

        return LabelScores(self.classes, self._known) if self.multi_label else ChipScores(self.classes, self._known)

    def review(self) -> Review:
        """The same, with all that is shown of the best network."""
        from geohydra.evaluation.label_review import LabelReview

        return LabelReview(self, self._known) if self.multi_label else ChipReview(self, self._known)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """A class for each cell, cells being as large as the chips that the network has learnt from: a coarse map, and squares."""
        from geohydra.prediction.dense import Tiling

        return self._predicted(scene, trained, settings, out, work, tiling=Tiling(Shape(*trained.details["chip"]), PIXEL, 0.0))

    def comparison(self) -> Comparison:
        """Scores, curves and pictures of the cells of a split."""
        return CellComparison(self)

    def in_cells(self, pair: Pair) -> Comparison:
        """The same, of cells as large as those of a prediction."""
        from geohydra.raster.header import probe

        cell = _cell(pair, probe(str(pair.file("classes")), allow_no_crs=True).grid)
        return self._comparison(_OfCells(self, cell), cell)

    def _labels(self, ground: Ground, window: Window, cell: Shape) -> NDArray[np.uint8]:
        """Class ids of the cells of a window of pixels, or labels `(class, row, col)`; the mask is made once for all of them."""
        from geohydra.raster.cells import counts

        if self.multi_label:
            return self._several(ground, window, cell)
        mask = ground.mask(window, ids=self.ids, background=len(self.classes))
        found = counts(mask, cell, classes=len(self.classes) + 1)
        total = found.sum(axis=0)
        first = 0 if self.background is None else 1
        most = found[first:-1].max(axis=0)
        enough = (most > 0) & (most >= self.min_share * total)
        rest = np.where((total > 0) & (self.background is not None), 0, IGNORE)
        return np.where(enough, found[first:-1].argmax(axis=0) + first, rest).astype(np.uint8)

    def _several(self, ground: Ground, window: Window, cell: Shape) -> NDArray[np.uint8]:
        """Of each class whether it covers enough of a cell."""
        from geohydra.raster.cells import counts

        rest = dict.fromkeys(self.ignore, IGNORE)
        masks = [ground.mask(window, ids={name: 1, **rest}, background=0) for name in self.labels]
        found = np.stack([counts(mask, cell, classes=2) for mask in masks])
        total = found.sum(1)
        there = (found[:, 1] > 0) & (found[:, 1] >= self.min_share * total)
        known = total > 0 if self.background is not None else (total > 0) & there.any(0)
        return np.where(known, there, IGNORE).astype(np.uint8)

    def _known(self, batch: Batch) -> torch.Tensor:
        """Class ids of a batch `(n, 1, 1)`, or labels `(n, class, 1, 1)`; IGNORE where nothing of a chip was measured."""
        return known(batch)[:, :, None] if self.multi_label else known(batch)


class CellComparison:
    """Cells of a size that only predictions tell."""

    def __init__(self, task: Classification) -> None:
        self._task = task

    def count(self, pair: Pair, *, settings: Any) -> Counts:
        """See geohydra.evaluation.dense and geohydra.evaluation.labels."""
        return self._task.in_cells(pair).count(pair, settings=settings)

    def conclude(self, pairs: Sequence[Pair], counts: Sequence[Counts], *, split: str, settings: Any, work: Work) -> dict[str, Any]:
        """Nothing where there is no scene."""
        if not pairs:
            return {"metrics": {}, "thresholds": {}}
        return self._task.in_cells(pairs[0]).conclude(pairs, counts, split=split, settings=settings, work=work)


class _OfCells:
    """The task with cells of a size, as evaluate asks for it."""

    def __init__(self, task: Classification, cell: Shape) -> None:
        self.classes, self.colors, self.background = task.classes, task.colors, task.background
        self._task, self._cell = task, cell

    def truth(self, ground: Ground, window: Window) -> NDArray[np.uint8]:
        return self._task.truth(ground, window, cell=self._cell)


class ChipScores(DenseScores):
    """Metrics of chips, from one confusion matrix."""

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """Add the network's outputs `(n, class)` for a batch."""
        super().update(outputs[:, :, None, None], batch)


class ChipReview(DenseReview):
    """What is shown of a network: its confusion matrix, scores by class, and some chips with their answers."""

    shown = 12

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """Add the network's outputs `(n, class)` for a batch, and keep the first chips."""
        super().update(outputs[:, :, None, None], batch)

    def _keep(self, outputs: torch.Tensor, batch: Batch, truth: torch.Tensor) -> None:
        best = outputs.float().softmax(1).max(1)
        most = -(-self.shown // len(self.classes))
        for place in range(len(truth)):
            alike = sum(chip[2] == int(truth[place]) for chip in self._chips)
            if alike < most and len(self._chips) < self.shown and int(truth[place]) != IGNORE:
                image, valid = batch["image"][place].float().cpu().numpy(), batch["valid"][place].cpu().numpy()
                self._chips.append([image, valid, int(truth[place]), int(best.indices[place]), float(best.values[place])])

    def _picture(self, split: str, bands: Sequence[str]) -> bytes:
        from geohydra.pictures import side_by_side, stretch
        from geohydra.types import Image

        panels = []
        for image, valid, truth, answer, score in self._chips:
            told = f"{self.classes[answer]} {score:.2f}" + ("" if answer == truth else f" (is {self.classes[truth]})")
            panels.append((told, stretch(Image(image, valid), bands)))
        rows = [panels[start : start + 4] for start in range(0, len(panels), 4)]
        return side_by_side(rows, title=f"Answers to {split} chips")


def known(batch: Batch) -> torch.Tensor:
    """What is told of chips as a whole `(n, value, 1)`; IGNORE where nothing of a chip was measured."""
    import torch

    measured = batch["valid"].flatten(1).any(1)[:, None]
    return torch.where(measured, batch["label"], IGNORE)[:, :, None]


def _cell(pair: Pair, coarse: Any) -> Shape:
    """Pixels of a cell, from a scene and its coarse map."""
    rows = coarse.resolution[0] / pair.scene.grid.resolution[0]
    cols = coarse.resolution[1] / pair.scene.grid.resolution[1]
    return Shape(round(rows), round(cols))
