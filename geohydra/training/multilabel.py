"""Learning several labels at once: truth is 0, 1 or IGNORE for each class, of the outputs' shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from geohydra.types import IGNORE

_LEAST = 1e-8


class BinaryLoss(nn.Module):
    """The mean of binary cross entropy over known pixels and classes, where the class is times its weight.

    What is right counts less by `(1 - p) ** positive` and `p ** negative`; where a class is not, `margin` is taken from its
    probability first (the asymmetric loss of Ridnik et al., ICCV 2021).
    """

    def __init__(
        self,
        weights: Sequence[float] | None,
        *,
        smoothing: float = 0.0,
        positive: float = 0.0,
        negative: float = 0.0,
        margin: float = 0.0,
    ) -> None:
        super().__init__()
        self.smoothing, self.positive, self.negative, self.margin = smoothing, positive, negative, margin
        self.register_buffer("weights", None if weights is None else torch.tensor(weights, dtype=torch.float32))

    def forward(self, outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        known = truth != IGNORE
        there = torch.where(known, truth, 0).float()
        there = there * (1 - self.smoothing) + self.smoothing / 2
        outputs = outputs.float()
        yes = -functional.logsigmoid(outputs) * _focus(1 - outputs.sigmoid(), self.positive)
        no = self._absent(outputs)
        if self.weights is not None:
            yes = yes * self.get_buffer("weights").view(1, -1, *[1] * (outputs.ndim - 2))
        loss = there * yes + (1 - there) * no
        return (loss * known).sum() / known.sum().clamp(min=1)

    def _absent(self, outputs: torch.Tensor) -> torch.Tensor:
        if not self.margin:
            return -functional.logsigmoid(-outputs) * _focus(outputs.sigmoid(), self.negative)
        chance = (outputs.sigmoid() - self.margin).clamp(min=0)
        return -(1 - chance).clamp(min=_LEAST).log() * _focus(chance, self.negative)


def _focus(wrong: torch.Tensor, power: float) -> torch.Tensor:
    """How much a pixel counts, by how wrong it is; its slope stays finite at 0."""
    return wrong.clamp(min=_LEAST) ** power if power else torch.ones_like(wrong)
