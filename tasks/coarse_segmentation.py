"""Which class prevails in each cell of many pixels, or how much of it each class covers: a wide area in one quick pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from geohydra.errors import ConfigError, GeohydraError
from geohydra.tasks.semantic_segmentation import Color, DenseReview, DenseScores, Name, OfClasses
from geohydra.types import IGNORE, Scene, Shape, Window

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from geohydra.report import Report
    from geohydra.task import Batch, Comparison, Ground, Review, Scores, Target, Trained
    from geohydra.work import Work

    Shares = Callable[[Batch], tuple[torch.Tensor, torch.Tensor]]
    """Of a batch: fractions `(n, class, row, col)` of cells, and where they are known `(n, row, col)`."""


class CoarseSegmentation(OfClasses):
    """One answer for each cell.

    `classes`, `background`, `ignore` and `colors` are as in semantic segmentation. `cell`: pixels of a cell on a side. `predict`: "class"
    learns the class of a cell: the label that covers most of it, if it covers `min_share` or more, else the background; "fraction"
    learns how much of the cell each class covers (by soft cross entropy, whatever the config's loss); its map of classes shows, and is
    held against, what covers most of a cell, the background too.
    """

    def __init__(
        self,
        *,
        classes: Annotated[list[Name], Field(min_length=1)],
        background: Name | None = "background",
        ignore: list[Name] | None = None,
        colors: dict[str, Color] | None = None,
        cell: Literal[2, 4, 8, 16, 32] = 16,
        predict: Literal["class", "fraction"] = "class",
        min_share: Annotated[float, Field(ge=0, le=1)] = 0.25,
    ) -> None:
        super().__init__(classes=classes, background=background, ignore=ignore, colors=colors)
        self.cell = Shape(cell, cell)
        self.kind = predict
        self.min_share = min_share

    @property
    def monitor(self) -> str:
        """The mean IoU of cells, or the coefficient of determination of fractions."""
        return "iou" if self.kind == "class" else "r2"

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The network must answer for cells of this size."""
        model = parts.get("model")
        if model is not None and getattr(model, "answers", "pixels") != "cells":
            yield ConfigError("model", "answers for every pixel, coarse segmentation asks for cells", "take model=encoder_head")
        elif model is not None and model.stride != self.cell.rows:
            problem = f"{model.stride} px, and task.cell is {self.cell.rows}"
            yield ConfigError("model.output_stride", problem, "leave it ${task.cell}")

    def target(self, ground: Ground, window: Window) -> Target:
        """`mask`: class ids of pixels, uint8 `(row, col)`; cells are summed up while training."""
        return {"mask": self._mask(ground, window)}

    def truth(self, ground: Ground, window: Window) -> NDArray[np.uint8]:
        """Class ids of a window of cells, uint8 `(row, col)`; IGNORE where nothing is known."""
        import numpy as np

        fractions, known = self.fractions(ground, window)
        return np.asarray(self._chosen(fractions[None], known[None])[0].numpy(), np.uint8)

    def fractions(self, ground: Ground, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
        """How much of each cell of a window is of each class, float32 `(class, row, col)`, and where that is known `(row, col)`."""
        import torch

        from geohydra.raster.cells import fractions

        mask = self._mask(ground, window.times(self.cell))
        shares = torch.from_numpy(fractions(mask, self.cell, classes=len(self.classes)))
        return shares, shares.sum(0) > 0

    def loss(self, loss: Any, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss over cells of which something was measured and is labelled."""
        shares, known = self._shares(batch)
        if self.kind == "class":
            value: torch.Tensor = loss(outputs, self._chosen(shares, known).long())
            return value
        distance = -(shares * outputs.float().log_softmax(1)).sum(1)
        return (distance * known).sum() / known.sum().clamp(min=1)

    def scores(self) -> Scores:
        """Metrics of one split and one epoch."""
        return FractionScores(self.classes, self._shares) if self.kind == "fraction" else DenseScores(self.classes, self._known)

    def review(self) -> Review:
        """The same, with all that is shown of the best network."""
        return FractionReview(self.classes, self._shares) if self.kind == "fraction" else DenseReview(self, self._known)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """A coarse class map, fractions or probabilities, and the cells that are not background as squares."""
        from geohydra.prediction.dense import Tiling

        cells = Shape(max(1, settings.window // self.cell.rows), max(1, settings.window // self.cell.cols))
        return self._predicted(scene, trained, settings, out, work, tiling=Tiling(self.cell, cells, settings.overlap))

    def comparison(self) -> Comparison:
        """Scores, curves and pictures of the cells of a split; of fractions also how far they are off."""
        from geohydra.evaluation.counting import Together
        from geohydra.evaluation.dense import MapComparison
        from geohydra.evaluation.fractions import FractionComparison

        maps = MapComparison(self, self.cell)
        return Together({"maps": maps, "fractions": FractionComparison(self)}) if self.kind == "fraction" else maps

    def _shares(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        from geohydra.training.cells import fractions

        return fractions(batch["mask"], batch["valid"] & (batch["mask"] != IGNORE), classes=len(self.classes), cell=self.cell)

    def _known(self, batch: Batch) -> torch.Tensor:
        return self._chosen(*self._shares(batch))

    def _chosen(self, shares: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Class ids `(n, row, col)`, uint8."""
        import torch

        least = self.background is not None and self.kind == "class"
        first = 1 if least else 0
        best = shares[:, first:].max(1)
        ids = (best.indices + first).to(torch.uint8)
        if least:
            ids = torch.where((best.values >= self.min_share) & (best.values > 0), ids, 0)
        return torch.where(known, ids, IGNORE).to(torch.uint8)


class FractionScores:
    """RMSE, MAE and R2 of fractions, summed up batch by batch."""

    def __init__(self, classes: Sequence[str], shares: Shares) -> None:
        from geohydra.evaluation.fractions import Moments

        self.classes = tuple(classes)
        self._shares = shares
        self._moments = Moments.none(len(self.classes))

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """Add the network's outputs for a batch."""
        from geohydra.evaluation.fractions import Moments

        shares, known = self._shares(batch)
        found = outputs.float().softmax(1)
        truth, answer = (values.permute(1, 0, 2, 3)[:, known].double().cpu().numpy() for values in (shares, found))
        self._moments = self._moments + Moments.of(truth, answer)

    def compute(self) -> dict[str, float]:
        """See geohydra.evaluation.fractions."""
        from geohydra.evaluation.fractions import fraction_scores

        return fraction_scores(self._moments, self.classes)


class FractionReview(FractionScores):
    """What is shown of a network that tells fractions."""

    @property
    def thresholds(self) -> dict[str, float]:
        """None: nothing is decided."""
        return {}

    def show(self, report: Report, *, split: str, bands: Sequence[str]) -> None:  # noqa: ARG002
        """A table of scores by class."""
        report.table(f"{split}_fractions", self._moments.table(self.classes))
