"""An encoder with a small head on its coarsest features."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class CoarseNetwork(nn.Module):
    """`(n, channels, row, col)` to `(n, classes, row / stride, col / stride)`, the stride being the encoder's."""

    def __init__(self, encoder: Any, *, hidden: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Conv2d(encoder.out_channels[-1], hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, classes, 1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.head(self.encoder(images)[-1])
        return answers
