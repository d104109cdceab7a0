"""Few convolutions over a small chip, of which the whole, the middle, or both are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import nn

_MIDDLE = 4
"""The middle of a chip is this part of its rows and of its columns."""


class SmallClassifierNetwork(nn.Module):
    """See geohydra.models.small_classifier.SmallClassifier."""

    def __init__(
        self, channels: int, classes: int, *, widths: Sequence[int], pool: Literal["mean", "centre", "both"], dropout: float
    ) -> None:
        super().__init__()
        self.pool = pool
        self.encoder = nn.ModuleList(_level(before, width, place > 0) for place, (before, width) in enumerate(_pairs(channels, widths)))
        features = {"mean": widths[-1], "centre": sum(widths), "both": sum(widths) + widths[-1]}[pool]
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images `(n, channels, row, col)` to `(n, classes)`."""
        found: torch.Tensor = self.head(torch.cat(list(self._features(images)), dim=1))
        return found

    def _features(self, images: torch.Tensor) -> Iterator[torch.Tensor]:
        seen = images
        for level in self.encoder:
            seen = level(seen)
            if self.pool != "mean":
                yield middle(seen).mean((2, 3))
        if self.pool != "centre":
            yield seen.mean((2, 3))


def middle(seen: torch.Tensor) -> torch.Tensor:
    """The middle of rows and columns: as many as a fourth, at least one, and even where they are."""
    (top, rows), (left, cols) = (_span(length) for length in seen.shape[-2:])
    return seen[..., top : top + rows, left : left + cols]


def _span(length: int) -> tuple[int, int]:
    count = max(1, length // _MIDDLE)
    count += (length - count) % 2
    return (length - count) // 2, count


def _pairs(channels: int, widths: Sequence[int]) -> Iterator[tuple[int, int]]:
    yield from zip((channels, *widths), widths, strict=False)


def _level(before: int, width: int, halved: bool) -> nn.Sequential:
    parts: list[nn.Module] = [nn.MaxPool2d(2)] if halved else []
    for channels in (before, width):
        parts += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)
