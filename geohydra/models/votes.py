"""Several answers to one question made one: of the members of an ensemble, and of turned views of a window."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import nn

Activation = Literal["softmax", "sigmoid", "none"]
"""How outputs `(n, class, ...)` become probabilities: of classes that exclude each other, of each class for itself, or not at all
(values). A task that is learnt through one of them says so as `activation`; only such answers can be averaged."""

_LEAST = 1e-12
"""Probabilities nearer to 0 or 1 than this are taken as this far away: their logarithms are finite."""


def chances(outputs: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Probabilities of outputs `(n, class, ...)`, float32; values as they are."""
    if activation == "softmax":
        return outputs.float().softmax(1)
    return outputs.float().sigmoid() if activation == "sigmoid" else outputs.float()


def outputs_of(probabilities: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Outputs that have these probabilities: the inverse of `chances`."""
    if activation == "none":
        return probabilities
    logarithm = probabilities.clamp(min=_LEAST).log()
    return logarithm if activation == "softmax" else logarithm - (1 - probabilities).clamp(min=_LEAST).log()


def joined(answers: Iterable[torch.Tensor], activation: Activation, *, spread: bool = False) -> torch.Tensor:
    """Outputs whose probabilities are the mean of those of several outputs, which may be made one after the other.

    With `spread`, a last plane more: the variance of the probability over the answers, of the class where it is largest.
    """
    total, squares, count = None, None, 0
    for outputs in answers:
        found = chances(outputs, activation)
        total = found if total is None else total + found
        if spread:
            squares = found**2 if squares is None else squares + found**2
        count += 1
    if total is None:
        raise ValueError("there is no answer to join")
    mean = total / count
    if squares is None:
        return outputs_of(mean, activation)
    variance = (squares / count - mean**2).clamp(min=0).amax(1, keepdim=True)
    return torch.cat([outputs_of(mean, activation), variance], 1)


def together(network: nn.Module, others: Sequence[Mapping[str, torch.Tensor]], activation: Activation) -> nn.Module:
    """A network and others of its kind, given by their weights, as one; the network itself where there are no others."""
    members = [network]
    for weights in others:
        member = copy.deepcopy(network)
        member.load_state_dict(weights)
        members.append(member)
    return Votes(members, activation) if others else network


class Votes(nn.Module):
    """Networks that answer together, as one network."""

    def __init__(self, members: Sequence[nn.Module], activation: Activation) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.activation: Activation = activation

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return joined((member(*inputs) for member in self.members), self.activation)
