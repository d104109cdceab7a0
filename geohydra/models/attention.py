"""Temporal attention: which dates of a series matter, for any number of dates in any order, some of them not valid.

After Sainte Fare Garnot and Landrieu, "Lightweight temporal self-attention" (2020): each head has one learnt query for all dates and
sees its own share of the features. Here features are normalised date by date, so that what is not valid has no influence at all.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

Position = Literal["year", "start"]
"""What tells dates apart: the day of the year, or the days since the first valid date."""

_LONGEST = 1000.0
"""Days of the longest wave, over two pi."""

_YEAR = 366
_TABLE = 4096
"""Days that are told apart after a start: eleven years."""


def day_of_year(days: torch.Tensor) -> torch.Tensor:
    """Of days since 1970-01-01, from 0 on 1 January; right from 1901 to 2099."""
    since_leap = torch.remainder(days.long() + 731, 1461)
    return torch.where(since_leap < 366, since_leap, torch.remainder(since_leap - 366, 365))


class Positions(nn.Module):
    """Waves of many lengths for every day, the same for each head."""

    table: torch.Tensor

    def __init__(self, width: int, heads: int, *, position: Position) -> None:
        super().__init__()
        self.position = position
        own = width // heads
        rates = torch.pow(_LONGEST, -2 * (torch.arange(own) // 2) / own)
        angles = torch.arange(_TABLE if position == "start" else _YEAR)[:, None] * rates
        waves = torch.where(torch.arange(own) % 2 == 0, angles.sin(), angles.cos())
        self.register_buffer("table", waves.repeat(1, heads), persistent=False)

    def forward(self, days: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """`(p, time, width)` for days since 1970-01-01 `(p, time)`."""
        if self.position == "year":
            places = day_of_year(days)
        else:
            first = days.masked_fill(~valid, torch.iinfo(days.dtype).max).amin(1, keepdim=True)
            places = (days.long() - first).clamp(0, len(self.table) - 1)
        return self.table[places]


class DateWeights(nn.Module):
    """How much each date counts, for each head."""

    def __init__(self, inputs: int, width: int, *, heads: int, key: int, position: Position) -> None:
        super().__init__()
        self.heads, self.key = heads, key
        self.inside = nn.Sequential(nn.Linear(inputs, width), nn.LayerNorm(width))
        self.positions = Positions(width, heads, position=position)
        self.keys = nn.Linear(width, heads * key)
        self.query = nn.Parameter(torch.randn(heads, key) * math.sqrt(2.0 / key))

    def forward(self, values: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights `(p, head, time)` that add up to 1 over the valid dates, and features with their places in time `(p, time, width)`.

        `values` `(p, time, inputs)`, `valid` and `days` `(p, time)`. Where no date is valid all weights are 0.
        """
        placed = self.inside(values) + self.positions(days, valid)
        keys = self.keys(placed).unflatten(2, (self.heads, self.key))
        scores = torch.einsum("pthk,hk->pht", keys, self.query).float() / math.sqrt(self.key)
        scores = scores.masked_fill(~valid[:, None], torch.finfo(scores.dtype).min)
        return scores.softmax(2) * valid[:, None], placed


class LightAttention(nn.Module):
    """One vector for a whole series."""

    def __init__(
        self, inputs: int, width: int, *, heads: int, key: int, outputs: int, dropout: float = 0.1, position: Position = "year"
    ) -> None:
        super().__init__()
        self.weights = DateWeights(inputs, width, heads=heads, key=key, position=position)
        self.drop = nn.Dropout(dropout)
        self.outside = nn.Sequential(nn.Linear(width, outputs), nn.LayerNorm(outputs), nn.ReLU())

    def forward(self, values: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(p, outputs)` and the weights `(p, head, time)`; see DateWeights."""
        weights, placed = self.weights(values, valid, days)
        shares = placed.unflatten(2, (self.weights.heads, -1))
        pooled = torch.einsum("pht,pthv->phv", self.drop(weights).to(shares.dtype), shares)
        return self.outside(pooled.flatten(1)), weights
