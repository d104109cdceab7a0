"""Optimizers by configuration. Biases and normalisations never decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import Field

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

Rate = Annotated[float, Field(gt=0, le=10)]
Decay = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSettings(Protocol):
    """An optimizer by configuration."""

    def build(self, network: nn.Module, *, fused: bool = True) -> Optimizer:
        """A new one, for all parameters of a network. In mixed precision a fused one cannot clip gradients."""


class AdamW:
    """Adam whose weight decay is apart from the gradients: a good choice for any network."""

    def __init__(self, *, lr: Rate = 1e-3, weight_decay: Decay = 1e-4, betas: tuple[Beta, Beta] = (0.9, 0.999)) -> None:
        self.lr, self.weight_decay, self.betas = lr, weight_decay, betas

    def build(self, network: nn.Module, *, fused: bool = True) -> Optimizer:
        from torch.optim import AdamW as Torch

        return Torch(_groups(network, self.weight_decay), lr=self.lr, betas=self.betas, fused=fused)


class Adam:
    """Adam with weight decay as a part of the gradients."""

    def __init__(self, *, lr: Rate = 1e-3, weight_decay: Decay = 0.0, betas: tuple[Beta, Beta] = (0.9, 0.999)) -> None:
        self.lr, self.weight_decay, self.betas = lr, weight_decay, betas

    def build(self, network: nn.Module, *, fused: bool = True) -> Optimizer:
        from torch.optim import Adam as Torch

        return Torch(_groups(network, self.weight_decay), lr=self.lr, betas=self.betas, fused=fused)


class Sgd:
    """Stochastic gradient descent with momentum: wants a learning rate ten times as high or more."""

    def __init__(self, *, lr: Rate = 1e-2, weight_decay: Decay = 1e-4, momentum: Beta = 0.9, nesterov: bool = True) -> None:
        self.lr, self.weight_decay, self.momentum, self.nesterov = lr, weight_decay, momentum, nesterov and momentum > 0

    def build(self, network: nn.Module, *, fused: bool = True) -> Optimizer:
        from torch.optim import SGD

        return SGD(_groups(network, self.weight_decay), lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=fused)


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights, which decay, and what does not: arrays of one dimension."""
    weights = [value for value in network.parameters() if value.requires_grad]
    groups: list[tuple[Iterable[Any], float]] = [
        ([value for value in weights if value.ndim > 1], decay),
        ([value for value in weights if value.ndim <= 1], 0.0),
    ]
    return [{"params": list(values), "weight_decay": part} for values, part in groups if list(values)]
