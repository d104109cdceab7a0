"""A network in its fastest form for prediction: batch normalisation folded into the convolutions before it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

TOLERANCE = 1e-3
"""Largest difference of an output, as a part of the largest output, that folding may make."""


def beside_each_other(network: nn.Module) -> nn.Module:
    """The same network with the bands of its arrays beside each other in memory; one with layers through space and time stays as it is."""
    if all(values.ndim < 5 for values in network.parameters()):
        network.to(memory_format=torch.channels_last)
    return network


def fold(network: nn.Module, example: torch.Tensor) -> nn.Module:
    """A copy in which every convolution has taken in the batch normalisation that alone follows it.

    Which follows which is seen by running the example. The network is given back as it is (in eval mode) where the
    copy does not answer the example alike. Of a network whose answers are objects, `raw` is run and compared: its dense part.
    """
    network = network.eval()
    folded = copy.deepcopy(network)
    with torch.no_grad():  # not inference mode, whose tensors cannot serve as parameters elsewhere
        for convolution, norm in _pairs(folded, example):
            _join(folded, convolution, norm)
        expected, found = _dense(network)(example), _dense(folded)(example)
    difference = float((expected - found).abs().max())
    return folded if difference <= TOLERANCE * max(1.0, float(expected.abs().max())) else network


def _dense(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    return getattr(network, "raw", network)


def _pairs(network: nn.Module, example: torch.Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and of the normalisations that take their outputs as they are."""
    made: dict[int, tuple[str, torch.Tensor]] = {}
    calls: Counter[str] = Counter()
    pairs: list[tuple[str, str]] = []

    def after(name: str, output: torch.Tensor) -> None:
        calls[name] += 1
        made[id(output)] = (name, output)

    def before(name: str, value: torch.Tensor) -> None:
        calls[name] += 1
        if id(value) in made:
            pairs.append((made[id(value)][0], name))

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            hooks.append(module.register_forward_hook(lambda _m, _i, output, name=name: after(name, output)))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(lambda _m, inputs, name=name: before(name, inputs[0])))
    _dense(network)(example)
    for hook in hooks:
        hook.remove()
    return [pair for pair in pairs if all(calls[name] == 1 for name in pair)]


def _join(network: nn.Module, convolution: str, norm: str) -> None:
    first: Any = network.get_submodule(convolution)
    second: Any = network.get_submodule(norm)
    transposed = isinstance(first, nn.ConvTranspose2d)
    if transposed and first.groups > 1:
        return
    activation = getattr(second, "act", None)
    network.set_submodule(convolution, fuse_conv_bn_eval(first, second, transpose=transposed))
    network.set_submodule(norm, activation if isinstance(activation, nn.Module) else nn.Identity())
