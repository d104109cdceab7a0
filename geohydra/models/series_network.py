"""Networks of series: what is the same for all of them, and those that look at single pixels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from geohydra.models.attention import LightAttention, Position, day_of_year

_EXTRA = 2
"""Planes of a date beside its bands, see `geohydra.raster.planes`."""

_AT_ONCE = 8192
"""Pixels that go through a network together: what bounds its memory."""

_YEAR = 365.25


class SeriesNetwork(nn.Module):
    """Answers to series: `(n, time, channels, row, col)` with validity `(n, time, row, col)` and days since 1970-01-01 `(n, time)`; or to
    the same as planes `(n, time * (channels + 2), row, col)`; or to one date alone `(n, channels, row, col)`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: torch.Tensor, valid: torch.Tensor | None = None, days: torch.Tensor | None = None) -> torch.Tensor:
        """`(n, classes, row, col)`."""
        if valid is None or days is None:
            images, valid, days = self.unpacked(images)
        return self.answers(images, valid, days)

    def answers(self, images: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        """See forward."""
        raise NotImplementedError

    def unpacked(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images, validity and days of planes."""
        n, count, rows, cols = planes.shape
        if count == self.channels:
            day = torch.zeros((n, 1), dtype=torch.int32, device=planes.device)
            return planes[:, None], torch.ones((n, 1, rows, cols), dtype=torch.bool, device=planes.device), day
        dates = planes.view(n, -1, self.channels + _EXTRA, rows, cols)
        return dates[:, :, :-_EXTRA], dates[:, :, -2] > 0.5, dates[:, :, -1, 0, 0].round().int()


class PixelNetwork(SeriesNetwork):
    """Looks at each pixel alone."""

    def __init__(self, channels: int, body: nn.Module) -> None:
        super().__init__(channels)
        self.body = body

    def answers(self, images: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        """Some thousand pixels at a time."""
        n, times, bands, rows, cols = images.shape
        values = images.permute(0, 3, 4, 1, 2).reshape(-1, times, bands)
        known = valid.permute(0, 2, 3, 1).reshape(-1, times)
        when = days[:, None].expand(n, rows * cols, times).reshape(-1, times)
        parts = zip(*(torch.split(part, _AT_ONCE) for part in (values, known, when)), strict=True)
        found = torch.cat([self.pixels(*part) for part in parts])
        return found.view(n, rows, cols, -1).permute(0, 3, 1, 2)

    def pixels(self, values: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        """`(p, classes)` of pixels `(p, time, band)` with validity and days `(p, time)`."""
        answers: torch.Tensor = self.body(values, valid, days)
        return answers


class Ltae(nn.Module):
    """Each date by itself, then attention over dates, then a head."""

    def __init__(
        self, channels: int, classes: int, *, width: int, heads: int, key: int, hidden: int, dropout: float, position: Position
    ) -> None:
        super().__init__()
        self.dates = date_features(channels, hidden)
        self.attention = LightAttention(hidden, width, heads=heads, key=key, outputs=hidden, dropout=dropout, position=position)
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def forward(self, values: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        pooled, _ = self.attention(self.dates(values), valid, days)
        answers: torch.Tensor = self.head(pooled)
        return answers


def date_features(inputs: int, hidden: int) -> nn.Sequential:
    """What one date tells. Not normalised: how bright something is must not be lost, least of all where there is one band."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())


class TempCnn(nn.Module):
    """Convolutions along the year, after Pelletier, Webb and Petitjean (2019).

    They ask for regular steps: each takes the mean of the valid dates, those weighing most that are nearest in the year.
    """

    steps_at: torch.Tensor

    def __init__(self, channels: int, classes: int, *, steps: int, width: int, kernel: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.reach = _YEAR / steps
        self.register_buffer("steps_at", (torch.arange(steps) + 0.5) * self.reach, persistent=False)
        widths = (channels, width, width, width)
        layers = [_step(before, after, kernel, dropout) for before, after in pairwise(widths)]
        self.along = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Sequential(
            nn.Linear(width * steps, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)
        )

    def forward(self, values: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.head(self.along(self.regular(values, valid, days).transpose(1, 2)))
        return answers

    def regular(self, values: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        """Values `(p, step, band)`, interpolated between the valid dates around each step, the year being a circle."""
        apart = torch.remainder(day_of_year(days)[:, None] - self.steps_at[:, None] + _YEAR / 2, _YEAR) - _YEAR / 2
        scores = (-((apart / self.reach) ** 2)).masked_fill(~valid[:, None], -1e30)
        return torch.bmm((scores.softmax(2) * valid[:, None]).to(values.dtype), values)


def _step(before: int, after: int, kernel: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Conv1d(before, after, kernel, padding=kernel // 2), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(dropout))


def valid_at(valid: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Where any pixel of a coarser cell is valid: bool `(n, time, row, col)` of another size."""
    if tuple(valid.shape[-2:]) == size:
        return valid
    return functional.adaptive_max_pool2d(valid.float(), size) > 0


def along_time(features: torch.Tensor) -> torch.Tensor:
    """`(n, time, feature, row, col)` as sequences `(n * row * col, time, feature)`."""
    return features.permute(0, 3, 4, 1, 2).flatten(0, 2)


def pooled(features: torch.Tensor, weights: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Features `(n, time, feature, row, col)` summed over the dates, `(n, feature, row, col)`.

    `weights` `(n, head, time, row, col)` may be coarser: they are interpolated, and only dates that are `valid` in a pixel
    count there. Each head has its share of the features; where these cannot be shared out, all have the mean of the heads.
    """
    size = features.shape[-2:]
    heads, times = weights.shape[1:3]
    if weights.shape[-2:] != size:
        weights = functional.interpolate(weights.flatten(1, 2), size=size, mode="bilinear")
        weights = weights.view(-1, heads, times, *size)
    weights = weights * valid_at(valid, (size[0], size[1]))[:, None]
    weights = (weights / weights.sum(2, keepdim=True).clamp(min=1e-6)).to(features.dtype)
    if features.shape[2] % heads:
        return torch.einsum("ntrc,ntfrc->nfrc", weights.mean(1), features)
    return torch.einsum("nhtrc,nthfrc->nhfrc", weights, torch.unflatten(features, 2, (heads, -1))).flatten(1, 2)


def of_dates(network: Callable[[torch.Tensor], Any], images: torch.Tensor, valid: torch.Tensor) -> list[torch.Tensor]:
    """Features `(n, time, ...)` of a network for images, one level or several, of the dates on which anything is valid; 0 for others.

    What is not valid at all is never looked at, and so has no influence on normalisation over batches.
    """
    n, times = valid.shape[:2]
    kept = valid.flatten(2).any(2).flatten().nonzero()[:, 0]
    if not len(kept):
        kept = torch.zeros(1, dtype=torch.long, device=images.device)
    frames = images.flatten(0, 1)[kept].contiguous(memory_format=torch.channels_last)
    if torch.is_grad_enabled():
        parts = [_levels(network(frames))]
    else:
        parts = [_levels(network(part)) for part in torch.split(frames, _FRAMES)]
    levels = [torch.cat(level) for level in zip(*parts, strict=True)]
    return [level.new_zeros((n * times, *level.shape[1:])).index_copy(0, kept, level).view(n, times, *level.shape[1:]) for level in levels]


_FRAMES = 16
"""Dates that are looked at together where nothing is to be learnt from them."""


def _levels(found: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    return [found] if isinstance(found, torch.Tensor) else list(found)
