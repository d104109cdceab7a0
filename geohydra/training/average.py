"""A moving average of a network's weights: less noisy than those of any single step."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average(nn.Module):
    """A copy of a network that follows it: of its weights and running statistics `decay` stays at each step, the rest is the
    network's. In the first steps less stays, `(1 + n) / (10 + n)` after n of them, so that the beginning is soon forgotten.

    All of it is in the state of the module: a training that goes on goes on alike.
    """

    steps: torch.Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """One step behind the network."""
        stays = torch.clamp((1.0 + self.steps) / (10.0 + self.steps), max=self.decay)
        self.steps += 1
        for ours, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs.detach(), (1 - stays).to(ours.dtype))
            else:
                ours.copy_(theirs)
