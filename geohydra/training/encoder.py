"""The encoder of a network: the part that comes pretrained, and may rest or learn more slowly than the head behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from geohydra.errors import ConfigError

_NAMES = ("backbone.body", "encoder", "backbone", "network.encoder")

Named = list[tuple[str, nn.Parameter]]


def encoder_of(network: nn.Module) -> tuple[list[tuple[str, nn.Module]], Named]:
    """The modules that make up the encoder, and parameters of it that are in none of them, by their names in the network.

    That is what is called so, or all of a classifier but its head; nothing where a network tells of no encoder.
    """
    for name in _NAMES:
        found = dict(network.named_modules()).get(name)
        if found is not None:
            return [(name, found)], []
    head = getattr(network, "get_classifier", None)
    last: Any = head() if callable(head) else None
    if not isinstance(last, nn.Module):
        return [], []
    modules = [(name, child) for name, child in network.named_children() if all(part is not last for part in child.modules())]
    return modules, list(network.named_parameters(recurse=False))


class Encoder:
    """Lets the encoder of a network rest: no gradient, and batch normalisation with the statistics that it has."""

    def __init__(self, network: nn.Module) -> None:
        modules, loose = encoder_of(network)
        self._modules, self._loose = [module for _, module in modules], [value for _, value in loose]
        if not modules:
            raise ConfigError("train.freeze_encoder", "this network has no encoder of its own", "leave it 0")

    def rest(self, resting: bool) -> None:
        """Whether it rests from now on."""
        for module in self._modules:
            module.requires_grad_(not resting)
            module.train(not resting)
        for value in self._loose:
            value.requires_grad_(not resting)


def layers_of(network: nn.Module) -> list[list[str]]:
    """Names of the encoder's parameters in layers, from the image on, as the network names its parts.

    Blocks that stand in a row (`layer1.0`, `blocks.3`) are layers of their own; what holds no weights but biases and
    normalisations belongs to the layer before it.
    """
    modules, loose = encoder_of(network)
    parts = [part for name, module in modules for part in _parts(name, module)]
    layers: list[list[str]] = [[name for name, _ in loose]] if loose else []
    for place, part in enumerate(parts):
        names = [name for name, _ in part]
        if layers and (place == 0 or all(value.ndim <= 1 for _, value in part)):
            layers[-1] += names
        else:
            layers.append(names)
    return layers


def _parts(name: str, module: nn.Module) -> Iterator[Named]:
    """Parameters of each block; those of the module itself belong to the first."""
    own = [(f"{name}.{key}", value) for key, value in module.named_parameters(recurse=False)]
    children = [(f"{name}.{key}", child) for key, child in module.named_children() if any(True for _ in child.parameters())]
    for key, child in children:
        rows = len(children) == 1 or isinstance(child, nn.Sequential | nn.ModuleList)
        for part in _parts(key, child) if rows else iter([[(f"{key}.{inner}", value) for inner, value in child.named_parameters()]]):
            yield own + part
            own = []
    if own:
        yield own
