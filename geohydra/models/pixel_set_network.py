"""One answer for each parcel, from the set of its pixels on each date, and from all dates."""

from __future__ import annotations

import torch
from torch import nn

from geohydra.models.attention import LightAttention, Position
from geohydra.models.series_network import SeriesNetwork, date_features

Sums = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Of the valid pixels of parcels: how many there are `(parcel, time)`, sums of features and of their squares `(parcel, time, feature)`."""

_LEAST = 1e-5


class PixelSet(SeriesNetwork):
    """Mean and deviation of a parcel's pixels on each date, then attention over dates (pixel-set encoder; Sainte Fare Garnot et al., 2020).

    Sums may be gathered piece by piece: a parcel that lies in several windows has the same answer as one that lies in one.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        features: int,
        width: int,
        heads: int,
        key: int,
        hidden: int,
        dropout: float,
        position: Position,
    ) -> None:
        super().__init__(channels)
        self.features = channels + features
        self.look = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, features), nn.Tanh()) if features else None
        self.sets = date_features(2 * self.features, hidden)
        self.attention = LightAttention(hidden, width, heads=heads, key=key, outputs=hidden, dropout=dropout, position=position)
        self.last = nn.Sequential(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def answers(self, images: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        """Each pixel as a parcel of its own."""
        n, _, _, rows, cols = images.shape
        parcels = torch.arange(rows * cols, device=images.device).view(rows, cols).expand(n, rows, cols)
        found = self.parcels(images, valid, days, parcels, count=rows * cols)
        return found.view(n, rows, cols, -1).permute(0, 3, 1, 2)

    def parcels(self, images: torch.Tensor, valid: torch.Tensor, days: torch.Tensor, places: torch.Tensor, *, count: int) -> torch.Tensor:
        """`(n, count, classes)`: `places` `(n, row, col)` tells the parcel of each pixel, from 0; -1 is none."""
        found = []
        for image, known, when, place in zip(images, valid, days, places, strict=True):
            found.append(self.decided(self.summed(image, known, place, count=count), when))
        return torch.stack(found)

    def summed(self, image: torch.Tensor, valid: torch.Tensor, places: torch.Tensor, *, count: int) -> Sums:
        """Sums over an image `(time, band, row, col)` with validity `(time, row, col)`."""
        inside = (places >= 0).flatten().nonzero()[:, 0]
        owner = places.flatten()[inside].long()
        values = image.flatten(2)[:, :, inside].permute(2, 0, 1)
        known = valid.flatten(1)[:, inside].T
        if self.look is not None:
            values = torch.cat([values, self.look(values)], 2)
        values = values.float() * known[:, :, None]
        counts = values.new_zeros((count, len(valid))).index_add(0, owner, known.float())
        empty = values.new_zeros((count, *values.shape[1:]))
        return counts, empty.index_add(0, owner, values), empty.index_add(0, owner, values**2)

    def decided(self, sums: Sums, days: torch.Tensor) -> torch.Tensor:
        """`(parcel, classes)`; days `(time)`."""
        counts, total, squares = sums
        number = counts.clamp(min=1)[:, :, None]
        mean = total / number
        deviation = (squares / number - mean**2).clamp(min=0).add(_LEAST).sqrt()
        pooled, _ = self.attention(self.sets(torch.cat([mean, deviation], 2)), counts > 0, days[None].expand(len(counts), -1))
        answers: torch.Tensor = self.last(pooled)
        return answers
