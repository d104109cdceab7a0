"""Networks of series that look at the surroundings of each pixel: U-TAE, and any encoder shared by all dates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from geohydra.models.attention import DateWeights, LightAttention, Position
from geohydra.models.series_network import SeriesNetwork, along_time, of_dates, pooled, valid_at

_GROUPS = 4


class Utae(SeriesNetwork):
    """A U-Net over each date whose skips are pooled over dates by the attention of its coarsest level.

    After Sainte Fare Garnot and Landrieu, "Panoptic segmentation of satellite image time series" (ICCV 2021).
    """

    def __init__(
        self, channels: int, classes: int, *, widths: Sequence[int], heads: int, key: int, dropout: float, position: Position
    ) -> None:
        super().__init__(channels)
        self.first = nn.Sequential(_convolved(channels, widths[0], norm="group"), _convolved(widths[0], widths[0], norm="group"))
        self.down = nn.ModuleList(_Down(before, after) for before, after in pairwise(widths))
        last = widths[-1]
        self.attention = LightAttention(last, 2 * last, heads=heads, key=key, outputs=last, dropout=dropout, position=position)
        self.up = nn.ModuleList(_Up(widths[place + 1], widths[place]) for place in reversed(range(len(widths) - 1)))
        self.head = nn.Sequential(_convolved(widths[0], widths[0], norm="batch"), nn.Conv2d(widths[0], classes, 1))

    def answers(self, images: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        """See SeriesNetwork."""
        levels = of_dates(self._encoded, images, valid)
        coarse = levels[-1]
        n, times, _, rows, cols = coarse.shape
        known = valid_at(valid, (rows, cols)).permute(0, 2, 3, 1).flatten(0, 2)
        when = days[:, None].expand(n, rows * cols, times).reshape(-1, times)
        found, weights = self.attention(along_time(coarse), known, when)
        features = found.view(n, rows, cols, -1).permute(0, 3, 1, 2)
        laid = weights.view(n, rows, cols, -1, times).permute(0, 3, 4, 1, 2)
        for up, level in zip(self.up, reversed(levels[:-1]), strict=True):
            features = up(features, pooled(level, laid, valid))
        answers: torch.Tensor = self.head(features)
        return answers

    def _encoded(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """What each level sees, from fine to coarse."""
        found = [self.first(frames)]
        for step in self.down:
            found.append(step(found[-1]))
        return found


class _Down(nn.Module):
    """Half as many rows and columns."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.halve = _convolved(before, before, norm="group", kernel=4, stride=2)
        self.wide = _convolved(before, after, norm="group")
        self.more = _convolved(after, after, norm="group")

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        wide: torch.Tensor = self.wide(self.halve(frames))
        found: torch.Tensor = wide + self.more(wide)
        return found


class _Up(nn.Module):
    """Twice as many, with what the encoder saw there."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.larger = nn.Sequential(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU())
        self.skip = nn.Sequential(nn.Conv2d(after, after, 1), nn.BatchNorm2d(after), nn.ReLU())
        self.joined = _convolved(2 * after, after, norm="batch")
        self.more = _convolved(after, after, norm="batch")

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = self.joined(torch.cat([self.larger(coarse), self.skip(skip)], 1))
        found: torch.Tensor = joined + self.more(joined)
        return found


class SharedEncoder(SeriesNetwork):
    """The encoder and decoder of a network for one image: all dates are encoded alike, pooled level by level, and decoded once."""

    def __init__(self, channels: int, one: Any, *, width: int, heads: int, key: int, position: Position) -> None:
        super().__init__(channels)
        self.encoder, self.decoder, self.head = one.encoder, one.decoder, one.segmentation_head
        self.dates = DateWeights(one.encoder.out_channels[-1], width, heads=heads, key=key, position=position)

    def answers(self, images: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        """See SeriesNetwork."""
        levels = of_dates(self.encoder, images, valid)
        coarse = levels[-1]
        n, times, _, rows, cols = coarse.shape
        known = valid_at(valid, (rows, cols)).permute(0, 2, 3, 1).flatten(0, 2)
        when = days[:, None].expand(n, rows * cols, times).reshape(-1, times)
        weights, _ = self.dates(along_time(coarse), known, when)
        laid = weights.view(n, rows, cols, -1, times).permute(0, 3, 4, 1, 2)
        answers: torch.Tensor = self.head(self.decoder([pooled(level, laid, valid) for level in levels]))
        return answers


def _convolved(before: int, after: int, *, norm: str, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    padding = 1
    made = nn.GroupNorm(_GROUPS, after) if norm == "group" else nn.BatchNorm2d(after)
    return nn.Sequential(nn.Conv2d(before, after, kernel, stride=stride, padding=padding, padding_mode="reflect"), made, nn.ReLU())
