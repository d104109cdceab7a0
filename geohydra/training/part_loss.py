"""Classes, borders and distances of one batch, as one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from geohydra.types import IGNORE

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class PartLoss(nn.Module):
    """See geohydra.training.instance_losses.Parts. Called with class maps alone, it is the loss of classes."""

    def __init__(self, classes: Loss, *, border: float = 1.0, distance: float = 1.0) -> None:
        super().__init__()
        self.classes = classes
        self.border, self.distance = border, distance

    def forward(self, outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return self.classes(outputs, truth)

    def parts(self, outputs: torch.Tensor, truth: torch.Tensor, border: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        """`outputs` (n, classes + 2, row, col), class ids, and for each pixel whether it is border and how deep it lies, 0 to 1."""
        known = (truth != IGNORE).float()
        count = known.sum().clamp(min=1)
        edges, middles = outputs[:, -2].float(), outputs[:, -1].float()
        value = self.classes(outputs[:, :-2], truth)
        value = value + self.border * (_entropy(edges, border.float(), known, count) + _dice(edges, border.float(), known))
        return value + self.distance * (_entropy(middles, depth, known, count) - _entropy_of(depth, known, count))


def as_parts(loss: Any) -> PartLoss:
    """The loss itself, or any loss of class maps with borders and distances beside it."""
    return loss if isinstance(loss, PartLoss) else PartLoss(loss)


def _entropy(outputs: torch.Tensor, truth: torch.Tensor, known: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, truth, weight=known, reduction="sum") / count


def _entropy_of(truth: torch.Tensor, known: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """What the cross entropy cannot fall below: with it taken off, the loss of a network that knows is 0."""
    return functional.binary_cross_entropy(truth, truth, weight=known, reduction="sum") / count


def _dice(outputs: torch.Tensor, truth: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """One less F1 of the border; 0 where none is there."""
    chances = outputs.sigmoid() * known
    both, either = (chances * truth).sum(), (chances + truth * known).sum()
    return torch.where((truth * known).sum() > 0, 1 - 2 * both / either.clamp(min=1e-6), either * 0)
