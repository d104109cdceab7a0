"""An encoder-decoder that is given two images one after the other in its channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class SiameseNetwork(nn.Module):
    """`(n, 2 * channels, row, col)` to `(n, classes, row, col)`, from a network for one image."""

    def __init__(self, one: Any, *, fusion: str) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = one.encoder, one.decoder, one.segmentation_head
        widths = list(one.encoder.out_channels) if fusion == "concat" else []
        self.mixing = nn.ModuleList(nn.Conv2d(2 * width, width, 1) if width else nn.Identity() for width in widths)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        both = torch.cat(images.chunk(2, dim=1))
        features = [self._fused(level, values) for level, values in enumerate(self.encoder(both))]
        answers: torch.Tensor = self.head(self.decoder(features))
        return answers

    def _fused(self, level: int, values: torch.Tensor) -> torch.Tensor:
        before, after = values.chunk(2)
        if not self.mixing:
            return (after - before).abs()
        mixed: torch.Tensor = self.mixing[level](torch.cat([before, after], dim=1))
        return mixed
