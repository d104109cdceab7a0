"""Optimizers by configuration. Biases and normalisations never decay.

Each takes `encoder_rate`, by which the learning rate of the encoder is multiplied, and `layer_decay`, by which it is multiplied
again for each layer between it and the head: a pretrained encoder may then change less, and its first layers least.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import Field

from geohydra.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

Rate = Annotated[float, Field(gt=0, le=10)]
Decay = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(gt=0, le=1)]


class OptimizerSettings(Protocol):
    """An optimizer by configuration."""

    def build(self, network: nn.Module, *, fused: bool = True) -> Optimizer:
        """A new one, for all parameters of a network. In mixed precision a fused one cannot clip gradients."""


class AdamW:
    """Adam whose weight decay is apart from the gradients: a good choice for any network."""

    def __init__(
        self,
        *,
        lr: Rate = 1e-3,
        weight_decay: Decay = 1e-4,
        betas: tuple[Beta, Beta] = (0.9, 0.999),
        encoder_rate: Factor = 1.0,
        layer_decay: Factor = 1.0,
    ) -> None:
        self.lr, self.weight_decay, self.betas = lr, weight_decay, betas
        self.encoder_rate, self.layer_decay = encoder_rate, layer_decay

    def build(self, network: nn.Module, *, fused: bool = True) -> Optimizer:
        from torch.optim import AdamW as Torch

        return Torch(_groups(network, self), lr=self.lr, betas=self.betas, fused=fused)


class Adam:
    """Adam with weight decay as a part of the gradients."""

    def __init__(
        self,
        *,
        lr: Rate = 1e-3,
        weight_decay: Decay = 0.0,
        betas: tuple[Beta, Beta] = (0.9, 0.999),
        encoder_rate: Factor = 1.0,
        layer_decay: Factor = 1.0,
    ) -> None:
        self.lr, self.weight_decay, self.betas = lr, weight_decay, betas
        self.encoder_rate, self.layer_decay = encoder_rate, layer_decay

    def build(self, network: nn.Module, *, fused: bool = True) -> Optimizer:
        from torch.optim import Adam as Torch

        return Torch(_groups(network, self), lr=self.lr, betas=self.betas, fused=fused)


class Sgd:
    """Stochastic gradient descent with momentum: wants a learning rate ten times as high or more."""

    def __init__(
        self,
        *,
        lr: Rate = 1e-2,
        weight_decay: Decay = 1e-4,
        momentum: Beta = 0.9,
        nesterov: bool = True,
        encoder_rate: Factor = 1.0,
        layer_decay: Factor = 1.0,
    ) -> None:
        self.lr, self.weight_decay, self.momentum, self.nesterov = lr, weight_decay, momentum, nesterov and momentum > 0
        self.encoder_rate, self.layer_decay = encoder_rate, layer_decay

    def build(self, network: nn.Module, *, fused: bool = True) -> Optimizer:
        from torch.optim import SGD

        return SGD(_groups(network, self), lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=fused)


class _Rates(Protocol):
    lr: float
    weight_decay: float
    encoder_rate: float
    layer_decay: float


def _groups(network: nn.Module, rates: _Rates) -> list[dict[str, Any]]:
    """Weights, which decay, and what does not, arrays of one dimension; by the part of the learning rate that they have."""
    parts = _parts(network, rates)
    groups: dict[tuple[float, bool], list[Any]] = {}
    for name, value in network.named_parameters():
        if value.requires_grad:
            groups.setdefault((parts.get(name, 1.0), value.ndim > 1), []).append(value)
    order = sorted(groups, key=lambda key: (-key[0], not key[1]))
    return [{"params": groups[key], "lr": rates.lr * key[0], "weight_decay": rates.weight_decay * key[1]} for key in order]


def _parts(network: nn.Module, rates: _Rates) -> Mapping[str, float]:
    """By the names of the encoder's parameters, the part of the learning rate that each has. Raises ConfigError without an encoder."""
    from geohydra.training.encoder import layers_of

    if rates.encoder_rate == rates.layer_decay == 1:
        return {}
    layers = layers_of(network)
    if not layers:
        hint = "leave optimizer.encoder_rate=1 and optimizer.layer_decay=1"
        raise ConfigError("optimizer.encoder_rate", "this network has no encoder of its own", hint)
    factors = [rates.encoder_rate * rates.layer_decay ** (len(layers) - place) for place in range(len(layers))]
    return {name: factor for names, factor in zip(layers, factors, strict=True) for name in names}
