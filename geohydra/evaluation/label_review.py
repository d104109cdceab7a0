"""Scores of a network that answers with several labels, batch by batch, and what a report shows of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from geohydra import pictures
from geohydra.evaluation.curves import LEVELS
from geohydra.evaluation.label_scores import LabelTally
from geohydra.types import IGNORE, Image

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from geohydra.report import Report
    from geohydra.task import Batch

    Known = Callable[[Batch], torch.Tensor]
    """True labels `(n, class, row, col)` of a batch: 0, 1, or IGNORE."""


_WIDE = 45
"""Letters of a line above a picture, three pictures being beside each other."""


class Labelled(Protocol):
    """What pictures of a task need to know."""

    classes: tuple[str, ...]
    colors: Mapping[str, str]


class LabelScores:
    """Metrics of labels at a probability of one half; the counts stay on the device until they are asked for."""

    def __init__(self, classes: Sequence[str], known: Known) -> None:
        self.classes = tuple(classes)
        self.known = known
        self._counts: list[torch.Tensor] | None = None

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """Add the network's outputs `(n, class, row, col)`, or `(n, class)`, for a batch."""
        import torch

        outputs = outputs if outputs.ndim == 4 else outputs[:, :, None, None]
        truth = self.known(batch)
        unknown = truth == IGNORE
        level = (outputs.float().sigmoid() * LEVELS).round().to(torch.int64)
        answer = (outputs >= 0).to(torch.int64)
        there = torch.where(unknown, 0, truth).to(torch.int64)
        place = torch.arange(len(self.classes), device=outputs.device).view(1, -1, 1, 1)
        counts = [
            _counted(4 * place + 2 * there + answer, unknown, 4 * len(self.classes)),
            _counted((2 * place + 1 - there) * (LEVELS + 1) + level, unknown, 2 * len(self.classes) * (LEVELS + 1)),
            torch.stack([((answer == there) & ~unknown).all(1).sum(), (~unknown).all(1).sum()]),
        ]
        self._counts = counts if self._counts is None else [old + new for old, new in zip(self._counts, counts, strict=True)]

    @property
    def tally(self) -> LabelTally:
        """All that was counted."""
        if self._counts is None:
            return LabelTally.none(len(self.classes))
        answers, levels, whole = (np.asarray(counts.cpu().numpy(), np.int64) for counts in self._counts)
        return LabelTally(answers.reshape(-1, 2, 2), levels.reshape(-1, 2, LEVELS + 1), int(whole[0]), int(whole[1]))

    def compute(self) -> dict[str, float]:
        """The means over classes, and each class's F1."""
        shown = {"f1", "f1_micro", "iou", "average_precision", "subset_accuracy"}
        return {name: value for name, value in self.tally.headline(self.classes).items() if name in shown or name.startswith("f1/")}


class LabelReview(LabelScores):
    """What is shown of a network: scores by class, thresholds, and some chips."""

    shown = 6

    def __init__(self, task: Labelled, known: Known) -> None:
        super().__init__(task.classes, known)
        self.task = task
        self._chips: list[tuple[Image, Any, Any]] = []

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """See LabelScores; keeps the first chips that are of any class."""
        super().update(outputs, batch)
        truth, answers = self.known(batch), outputs.float().sigmoid()
        for place in range(len(truth)):
            if len(self._chips) < self.shown and bool((truth[place] == 1).any()):
                image = Image(batch["image"][place].float().cpu().numpy(), batch["valid"][place].cpu().numpy())
                self._chips.append((image, truth[place].cpu().numpy(), answers[place].cpu().numpy()))

    def compute(self) -> dict[str, float]:
        """All headline scores, and those of the trivial answer."""
        return self.tally.headline(self.classes)

    @property
    def thresholds(self) -> dict[str, float]:
        """Of each class the probability from which on its F1 is best."""
        return self.tally.thresholds(self.classes)

    def show(self, report: Report, *, split: str, bands: Sequence[str]) -> None:
        """Tables and figures, their names led by the split."""
        tally = self.tally
        report.table(f"{split}_per_class", tally.table(self.classes))
        thresholds = tally.thresholds(self.classes)
        report.table(f"{split}_thresholds", {"class": list(thresholds), "best_threshold": list(thresholds.values())})
        if self._chips:
            report.figure(f"{split}_predictions", self._picture(split, bands))

    def _picture(self, split: str, bands: Sequence[str]) -> bytes:
        colors = pictures.palette(self.classes, self.task.colors)
        rows = [self._panels(chip, bands, colors) for chip in self._chips]
        if rows and len(rows[0]) == 1:
            rows = [[panel for row in rows[start : start + 3] for panel in row] for start in range(0, len(rows), 3)]
        return pictures.side_by_side(rows, title=f"Answers to {split} chips", legend=dict(zip(self.classes, colors, strict=True)))

    def _panels(self, chip: tuple[Image, Any, Any], bands: Sequence[str], colors: Sequence[pictures.Color]) -> list[pictures.Panel]:
        """Image, truth and answer beside each other; of a chip that has its labels as a whole, the image with them as its title."""
        image, truth, chances = chip
        shown = pictures.stretch(image, bands)
        if truth.size == len(self.classes):
            return [(told(self.classes, truth.ravel(), chances.ravel()), shown)]
        answer = np.where(truth == IGNORE, IGNORE, chances >= 0.5).astype(np.uint8)
        return [("image", shown), ("truth", pictures.labels_rgb(truth, colors)), ("prediction", pictures.labels_rgb(answer, colors))]


def told(classes: Sequence[str], truth: NDArray[Any], chances: NDArray[Any]) -> str:
    """What was told of a chip, rightly and wrongly, and what was missed, in lines that fit above a picture."""
    parts: dict[str, list[str]] = {"": [], "wrong: ": [], "missed: ": []}
    for name, there, chance in zip(classes, truth, chances, strict=True):
        kind = ("wrong: ", "")[int(there == 1)] if chance >= 0.5 else "missed: " if there == 1 else None
        if kind is not None:
            parts[kind].append(f"{name} {chance:.2f}")
    lines = [start + ", ".join(names) for start, names in parts.items() if names]
    return "\n".join(textwrap.fill(line, _WIDE) for line in lines) or "none"


def _counted(places: torch.Tensor, unknown: torch.Tensor, size: int) -> torch.Tensor:
    import torch

    return torch.bincount(torch.where(unknown, size, places).flatten(), minlength=size + 1)[:size]
