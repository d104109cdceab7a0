"""Losses of numbers at work."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional


class ValueCriterion(nn.Module):
    """See geohydra.training.value_losses.ValueLoss."""

    def __init__(self, kind: Literal["l1", "l2", "huber"], delta: float) -> None:
        super().__init__()
        self.kind, self.delta = kind, delta

    def forward(self, outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        known = ~truth.isnan()
        if not bool(known.any()):
            return outputs.float().sum() * 0
        found, wanted = outputs.float()[known], truth[known]
        if self.kind == "l1":
            return functional.l1_loss(found, wanted)
        return functional.mse_loss(found, wanted) if self.kind == "l2" else functional.huber_loss(found, wanted, delta=self.delta)
