"""Networks that answer once for every cell of several pixels: an encoder without a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from geohydra.errors import ConfigError
from geohydra.models.smp_encoders import ENCODERS

if TYPE_CHECKING:
    import torch


class EncoderHead:
    """An encoder of segmentation-models-pytorch, or `tu-NAME` for any of timm, cut where its features are as coarse as the cells.

    `output_stride`: pixels of a cell, on a side. `weights`: null begins at random; a name such as `imagenet` loads the encoder; a
    path or URI loads a state dict, `hf-hub:OWNER/NAME` one of that hub. `hidden`: features of the layer before the head.
    """

    answers = "cells"
    """What one answer is of: a cell of `stride` pixels."""

    def __init__(
        self,
        *,
        encoder: Annotated[str, Field(min_length=1)] = "resnet18",
        output_stride: Literal[2, 4, 8, 16, 32] = 16,
        weights: Annotated[str, Field(min_length=1)] | None = None,
        hidden: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        if not encoder.startswith("tu-") and encoder not in ENCODERS:
            raise ConfigError("encoder", f"there is no encoder {encoder!r}", "such as resnet18, mobilenet_v2, or tu-NAME for any of timm")
        self.encoder, self.weights, self.hidden = encoder, weights, hidden
        self.stride = int(output_stride)

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: `(n, channels, row, col)` to `(n, classes, row / stride, col / stride)`."""
        from segmentation_models_pytorch.encoders import get_encoder

        from geohydra.models.coarse_network import CoarseNetwork
        from geohydra.models.starting import is_place, load_start

        place = self.weights is not None and is_place(self.weights)
        named: str | bool | None = None if place else self.weights
        if named and self.encoder.startswith("tu-"):
            named = True  # which weights is a part of such an encoder's name
        try:
            encoder = get_encoder(self.encoder, in_channels=channels, depth=self.stride.bit_length() - 1, weights=named)
        except (KeyError, OSError) as cause:
            hint = "null begins at random; a path or URI names a file of weights"
            raise ConfigError("model.weights", f"{self.weights!r} for {self.encoder} cannot be had ({cause})", hint) from cause
        network = CoarseNetwork(encoder, hidden=self.hidden, classes=classes)
        if place and self.weights is not None:
            load_start(network, self.weights)
        return network
