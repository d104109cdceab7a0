"""A network that answers in the units of what it learns, whatever their size."""

from __future__ import annotations

import torch
from torch import nn


class ScaledNetwork(nn.Module):
    """The answers of a network times the deviation of all values that training has shown, plus their mean.

    Both are kept with the weights. They grow batch by batch, so that nothing needs to be known beforehand.
    """

    count: torch.Tensor
    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("spread", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def learn(self, values: torch.Tensor) -> None:
        """Add known values; the sums are those of Welford and Chan."""
        if not values.numel():
            return
        count, mean = values.numel(), values.double().mean()
        spread = (values.double() - mean).square().sum()
        total = self.count + count
        apart = mean - self.mean
        self.spread += spread + apart**2 * self.count * count / total
        self.mean += apart * count / total
        self.count += count

    @property
    def deviation(self) -> torch.Tensor:
        """One where nothing, or one value only, was seen."""
        variance = self.spread / self.count.clamp(min=1)
        return torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance)).float()

    def scaled(self, answers: torch.Tensor) -> torch.Tensor:
        """Answers of the network within, in the units of the values."""
        return answers.float() * self.deviation + self.mean.float()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.scaled(self.network(*inputs))
