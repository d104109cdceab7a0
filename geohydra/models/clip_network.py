"""Networks that see the frames of a clip together."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from geohydra.errors import ConfigError
from geohydra.models.series_network import SeriesNetwork


class ClipNetwork(SeriesNetwork):
    """A network of clips `(n, channels, time, row, col)`, given series as geohydra has them. Outputs are `(n, classes)`.

    Of a clip it sees so many frames, evenly chosen among those of which anything was measured.
    """

    def __init__(self, channels: int, body: nn.Module, *, frames: int, size: int | None) -> None:
        super().__init__(channels)
        self.body, self.frames, self.size = body, frames, size

    def answers(self, images: torch.Tensor, valid: torch.Tensor, days: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 (frames are equally far apart)
        """See SeriesNetwork."""
        chosen = torch.stack([clip[self._chosen(seen)] for clip, seen in zip(images, valid.flatten(2).any(2), strict=True)])
        clips = chosen.transpose(1, 2)
        if self.size is not None and clips.shape[-2:] != (self.size, self.size):
            clips = functional.interpolate(clips, size=(self.frames, self.size, self.size), mode="trilinear", align_corners=False)
        found: torch.Tensor = self.body(clips.contiguous())
        return found

    def _chosen(self, seen: torch.Tensor) -> torch.Tensor:
        """Places of frames; frames without a measured pixel, such as those that fill up a batch, come only where there is no other."""
        places = seen.nonzero()[:, 0]
        places = places if len(places) else torch.arange(len(seen), device=seen.device)
        steps = torch.linspace(0, len(places) - 1, self.frames, device=places.device).round().long()
        return places[steps]


def small(channels: int, classes: int) -> nn.Module:
    """Four blocks of convolutions through space and time; time is halved in the later ones alone, so that motion is seen early."""
    widths, halved = (channels, 16, 24, 32, 48), ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    layers: list[nn.Module] = []
    for before, width, stride in zip(widths, widths[1:], halved, strict=False):
        layers += [nn.Conv3d(before, width, 3, stride=stride, padding=1, bias=False), nn.BatchNorm3d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


def video_network(architecture: str, channels: int, classes: int, published: bool) -> nn.Module:
    """A network of torchvision; its first layer and its head are made for these bands and classes."""
    from torchvision.models import video

    try:
        network: nn.Module = getattr(video, architecture)(weights="DEFAULT" if published else None)
    except OSError as cause:
        hint = "null begins at random; a path or URI names a file of weights"
        raise ConfigError("model.weights", f"the weights of {architecture} cannot be had ({cause})", hint) from cause
    _adapt_first(network, channels)
    _new_head(network, classes)
    return network


def _adapt_first(network: nn.Module, channels: int) -> None:
    """The mean of the weights of red, green and blue for every band, scaled so that answers stay about as large."""
    name, first = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv3d))
    if first.in_channels == channels:
        return
    sides = {"kernel_size": first.kernel_size, "stride": first.stride, "padding": first.padding}
    fresh = nn.Conv3d(channels, first.out_channels, bias=first.bias is not None, **sides)  # type: ignore[arg-type]
    with torch.no_grad():
        fresh.weight.copy_(first.weight.mean(1, keepdim=True).expand_as(fresh.weight) * first.in_channels / channels)
        if first.bias is not None and fresh.bias is not None:
            fresh.bias.copy_(first.bias)
    _put(network, name, fresh)


def _new_head(network: nn.Module, classes: int) -> None:
    """The last layer, which is linear, or a convolution of one pixel (s3d)."""
    name, last = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv3d)][-1]
    head = nn.Linear(last.in_features, classes) if isinstance(last, nn.Linear) else nn.Conv3d(last.in_channels, classes, 1)
    _put(network, name, head)


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, last = name.rpartition(".")
    setattr(network.get_submodule(owner) if owner else network, last, module)
