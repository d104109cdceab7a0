"""Encoders of timm that give the features of several stages, and a feature pyramid of equal channels on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork

from geohydra.errors import ConfigError
from geohydra.models.starting import is_place


def new_encoder(name: str, weights: str | None, strides: Sequence[int], *, channels: int) -> tuple[nn.Module, list[int], list[int]]:
    """An encoder that answers `(n, channels, row, col)` with a list of features, their channels and strides: those of `strides` that it
    has. Raises ConfigError: no such encoder or weights, or no features at the finest stride."""
    import timm

    named = weights is not None and not is_place(weights)
    tag = "" if not named or weights == "imagenet" else f".{weights}"
    try:
        whole: Any = timm.create_model(name + tag, features_only=True, in_chans=channels)
        kept = _stages(name, whole.feature_info.reduction(), strides)
        encoder: Any = timm.create_model(name + tag, features_only=True, in_chans=channels, pretrained=named, out_indices=kept)
    except OSError as cause:
        hint = "null begins at random; a path or URI names a file of weights"
        raise ConfigError("model.weights", f"{weights!r} for {name} cannot be had ({cause})", hint) from cause
    except (RuntimeError, AttributeError) as cause:
        known = ", ".join(timm.list_models(f"*{name[:6]}*")[:5]) or "resnet18, convnext_tiny, efficientnet_b0"
        raise ConfigError(
            "model.encoder", f"timm has no {name + tag!r} that gives features of several stages", f"such as {known}"
        ) from cause
    return encoder, list(encoder.feature_info.channels()), list(encoder.feature_info.reduction())


def _stages(name: str, reductions: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Places of the stages whose stride is wanted."""
    places = {reduction: place for place, reduction in enumerate(reductions)}
    if strides[0] not in places:
        known = ", ".join(str(reduction) for reduction in places)
        raise ConfigError("model.strides", f"{name} has no features of stride {strides[0]}", f"it has {known}")
    return [places[stride] for stride in strides if stride in places]


class Pyramid(nn.Module):
    """Features of an encoder, mixed from coarse to fine; levels coarser than its last one are pooled from it."""

    def __init__(self, widths: Sequence[int], reductions: Sequence[int], strides: Sequence[int], *, channels: int) -> None:
        super().__init__()
        self.mixing = FeaturePyramidNetwork(list(widths), channels)
        self._pooled = len(strides) - len(reductions)

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """A level for each stride, `(n, channels, row, col)`."""
        levels = list(self.mixing({str(place): value for place, value in enumerate(features)}).values())
        for _ in range(self._pooled):
            levels.append(functional.max_pool2d(levels[-1], 1, 2))
        return levels
