"""Networks of segmentation-models-pytorch, with any number of bands and classes."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.build import near
from geohydra.errors import ConfigError
from geohydra.models.smp_encoders import ENCODERS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is known of an architecture without importing it.

    `name` is its class; `options` are its own further arguments; `stride` is fixed where its encoder is dilated; `dilated`
    ones cannot take encoders that pool; `smallest` is the least side of an input.
    """

    name: str
    options: tuple[str, ...]
    depth: int = 5
    stride: int | None = None
    smallest: int = 1
    dilated: bool = False
    refuses: tuple[str, ...] = ()


_UNET = ("decoder_use_norm", "decoder_channels", "decoder_attention_type", "decoder_interpolation")
_FPN = ("pyramid_channels", "segmentation_channels", "merge_policy", "dropout", "interpolation")
_ATROUS = ("encoder_output_stride", "decoder_channels", "decoder_atrous_rates", "decoder_aspp_separable", "decoder_aspp_dropout")
_PSP = ("psp_out_channels", "decoder_use_norm", "psp_dropout")
_PAN = ("encoder_output_stride", "decoder_channels", "decoder_interpolation")
_DPT = ("encoder_output_indices", "decoder_readout", "decoder_intermediate_channels", "decoder_fusion_channels")
_BY_DEPTH = ("Unet", "UnetPlusPlus", "MAnet")
_POOLING = ("vgg", "densenet", "inception", "xception")

ARCHITECTURES = {
    "unet": Architecture("Unet", _UNET),
    "unetplusplus": Architecture("UnetPlusPlus", _UNET, refuses=("mit_",)),
    "manet": Architecture("MAnet", ("decoder_use_norm", "decoder_channels", "decoder_pab_channels", "decoder_interpolation")),
    "linknet": Architecture("Linknet", ("decoder_use_norm",), refuses=("mit_",)),
    "fpn": Architecture("FPN", tuple(f"decoder_{name}" for name in _FPN)),
    "pspnet": Architecture("PSPNet", _PSP, depth=3),
    "pan": Architecture("PAN", _PAN, stride=16, smallest=128, dilated=True, refuses=_POOLING),
    "deeplabv3": Architecture("DeepLabV3", _ATROUS, stride=8, dilated=True, refuses=_POOLING),
    "deeplabv3plus": Architecture("DeepLabV3Plus", _ATROUS, stride=16, dilated=True, refuses=_POOLING),
    "upernet": Architecture("UPerNet", ("decoder_channels", "decoder_use_norm")),
    "segformer": Architecture("Segformer", ("decoder_segmentation_channels",)),
    "dpt": Architecture("DPT", _DPT, depth=4),
}
"""By the names that a config uses: the classes' own in small letters."""


class SmpModel:
    """An encoder and decoder by name.

    `encoder`: a name that the library knows, or `tu-NAME` for any encoder of timm. `weights`: null begins at random; a name such
    as `imagenet` loads the encoder (of timm's, `NAME.TAG` chooses which); a path or URI loads a state dict (safetensors, or a
    torch file of plain tensors), or the model folder of an earlier training; `hf-hub:OWNER/NAME` one of that hub. `depth`: how
    often the encoder halves the image.
    `options`: further arguments of the architecture, such as `decoder_channels`.
    """

    def __init__(
        self,
        *,
        architecture: str = "unet",
        encoder: str = "resnet18",
        weights: Annotated[str, Field(min_length=1)] | None = None,
        depth: Annotated[int, Field(ge=1, le=5)] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.architecture = _architecture(architecture)
        self.encoder = encoder
        self.weights = weights
        self.depth = depth or self.architecture.depth
        _check_encoder(self.architecture, encoder)
        _check_options(self.architecture, options or {}, self.depth)
        by_depth = {"decoder_channels": _channels(self.depth)} if self.architecture.name in _BY_DEPTH else {}
        self.options = by_depth | (options or {})

    @property
    def stride(self) -> int:
        """Rows and columns of an input must be multiples of this."""
        if self.architecture.name == "DPT":
            return 2 * _patch(self.encoder)
        halved = int(2**self.depth)
        if self.architecture.stride is None:
            return halved
        return min(int(self.options.get("encoder_output_stride", self.architecture.stride)), halved)

    @property
    def smallest(self) -> int:
        """The least rows and columns of an input."""
        return max(self.stride, self.architecture.smallest)

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: `(n, channels, row, col)` to `(n, classes, row, col)`, started from `weights`."""
        import segmentation_models_pytorch as smp

        from geohydra.models.starting import is_place, load_start

        named: str | bool | None = None if self.weights is None or is_place(self.weights) else self.weights
        if named and self.encoder.startswith("tu-"):
            named = True  # which weights is a part of such an encoder's name
        extra = {"dynamic_img_size": True} if self.architecture.name == "DPT" else {}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*timm.*")
            network: torch.nn.Module = self._make(getattr(smp, self.architecture.name), named, channels, classes, extra)
        if self.weights is not None and named is None:
            load_start(network, self.weights)
        return network

    def _make(self, kind: Any, weights: str | bool | None, channels: int, classes: int, extra: dict[str, Any]) -> Any:
        try:
            return kind(
                encoder_name=self.encoder,
                encoder_weights=weights,
                encoder_depth=self.depth,
                in_channels=channels,
                classes=classes,
                **self.options,
                **extra,
            )
        except (KeyError, OSError) as cause:
            if weights is None:
                raise
            reason = str(cause).strip("'\" ").splitlines()[0][:300]
            hint = "null begins at random; a path or URI names a file of weights"
            raise ConfigError("model.weights", f"{self.weights!r} for {self.encoder} cannot be had ({reason})", hint) from cause
        except (ValueError, TypeError, RuntimeError, AssertionError) as cause:
            raise ConfigError("model", f"{self.architecture.name} with {self.encoder} cannot be made ({cause})") from cause


def _architecture(name: str) -> Architecture:
    known = ARCHITECTURES.get(name.lower())
    if known is None:
        raise ConfigError("architecture", f"there is no architecture {name!r}", near(name.lower(), ARCHITECTURES))
    return known


def _check_encoder(architecture: Architecture, encoder: str) -> None:
    if architecture.name == "DPT":
        if not encoder.startswith("tu-vit") or not _patch(encoder):
            raise ConfigError("encoder", f"{encoder!r} is no vision transformer of timm", "DPT takes such as tu-vit_tiny_patch16_224")
        return
    if not encoder.startswith("tu-") and encoder not in ENCODERS and not _renamed(encoder):
        raise ConfigError("encoder", f"there is no encoder {encoder!r}", _near_encoder(encoder))
    plain = encoder.removeprefix("timm-").removeprefix("tu-")
    for refused in architecture.refuses:
        if plain.startswith(refused):
            reason = "whose pooling it cannot dilate" if architecture.dilated else "which has no features at half the image's size"
            raise ConfigError("encoder", f"{architecture.name} does not go with {encoder}, {reason}", "choose another, such as resnet18")


def _near_encoder(encoder: str) -> str:
    hint = near(encoder, ENCODERS)
    return hint if hint.startswith("did") else "such as resnet18, mobilenet_v2, efficientnet-b0, mit_b0, or tu-NAME for any encoder of timm"


def _renamed(encoder: str) -> bool:
    """Old names that the library still takes for encoders of timm."""
    return encoder.startswith(("timm-regnet", "timm-res2", "timm-resnest", "timm-mobilenetv3", "timm-gernet"))


def _check_options(architecture: Architecture, options: dict[str, Any], depth: int) -> None:
    for name in options:
        if name not in architecture.options:
            raise ConfigError(f"options.{name}", f"{architecture.name} takes no such option", near(name, architecture.options))
    channels = options.get("decoder_channels")
    if architecture.name in _BY_DEPTH and isinstance(channels, list) and len(channels) != depth:
        raise ConfigError("options.decoder_channels", f"{len(channels)} numbers for a depth of {depth}", f"such as {_channels(depth)}")
    if architecture.dilated and depth < 3:
        raise ConfigError("depth", f"{architecture.name} needs an encoder of depth 3 or more")
    strides = (16, 32) if architecture.name == "PAN" else (8, 16)
    if options.get("encoder_output_stride", strides[0]) not in strides:
        raise ConfigError("options.encoder_output_stride", f"it is {strides[0]} or {strides[1]} for {architecture.name}")


def _channels(depth: int) -> list[int]:
    return [256, 128, 64, 32, 16][-depth:]


def _patch(encoder: str) -> int:
    """The side of a transformer's patches, which its name tells; 0 where it does not."""
    found = re.search(r"patch(\d+)", encoder)
    return int(found.group(1)) if found else 0
