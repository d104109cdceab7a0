"""Losses at work: scalars that stay finite where nothing is labelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from geohydra.types import IGNORE

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class CrossEntropyLoss(nn.Module):
    """The weighted mean over known pixels."""

    def __init__(self, weights: Sequence[float] | None, *, smoothing: float) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.register_buffer("weights", None if weights is None else torch.tensor(weights, dtype=torch.float32))

    def forward(self, outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        weights = self.get_buffer("weights") if self.weights is not None else None
        total = functional.cross_entropy(
            outputs.float(), truth, weight=weights, ignore_index=IGNORE, reduction="sum", label_smoothing=self.smoothing
        )
        return total / _weight(truth, weights)


class FocalLoss(nn.Module):
    """The weighted mean over known pixels of `(1 - p) ** gamma` times the cross entropy."""

    def __init__(self, weights: Sequence[float] | None, *, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weights", None if weights is None else torch.tensor(weights, dtype=torch.float32))

    def forward(self, outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        weights = self.get_buffer("weights") if self.weights is not None else None
        entropy = functional.cross_entropy(outputs.float(), truth, ignore_index=IGNORE, reduction="none")
        loss = (1 - torch.exp(-entropy)).clamp(min=1e-6) ** self.gamma * entropy
        if weights is not None:
            loss = loss * weights[truth.masked_fill(truth == IGNORE, 0)]
        return loss.masked_fill(truth == IGNORE, 0).sum() / _weight(truth, weights)


class Guarded(nn.Module):
    """A loss that is 0 where no pixel is known, whatever it would say then."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        if not bool((truth != IGNORE).any()):
            return outputs.float().sum() * 0
        value: torch.Tensor = self.loss(outputs.float(), truth)
        return value.reshape(())


class Either(nn.Module):
    """One loss for truth of one class a pixel, another for truth that tells yes or no of each class, as its shape shows."""

    def __init__(self, single: nn.Module, several: nn.Module) -> None:
        super().__init__()
        self.single, self.several = single, several

    def forward(self, outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = (self.several if truth.ndim == outputs.ndim else self.single)(outputs, truth)
        return value


class SumLoss(nn.Module):
    """Losses times their weights."""

    def __init__(self, parts: Sequence[Loss], weights: Sequence[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))
        self.weights = tuple(weights)

    def forward(self, outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        values = [weight * part(outputs, truth) for part, weight in zip(self.parts, self.weights, strict=True)]
        return torch.stack(values).sum()


def _weight(truth: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """What all known pixels weigh together; never 0."""
    known = truth != IGNORE
    if weights is None:
        return known.sum().clamp(min=1)
    counts = torch.bincount(truth[known], minlength=len(weights))
    return (counts * weights).sum().clamp(min=1e-6)
