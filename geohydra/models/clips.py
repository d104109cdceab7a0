"""Networks that answer once for a clip of a video: those of torchvision, with any number of bands and classes, and a small one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from geohydra.errors import ConfigError

if TYPE_CHECKING:
    import torch

Architecture = Literal["small", "r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b"]
_FIXED = ("mvit_v1_b", "mvit_v2_s")


class ClipClassifier:
    """A video network with a linear head.

    `architecture`: one of torchvision's, or "small": a few convolutions through space and time, to learn on a CPU. `weights`: null begins
    at random, `imagenet` loads what torchvision publishes (learnt from Kinetics), a path or URI a state dict; the first layer is
    adapted to the bands. `frames`: how many the network sees, chosen evenly from those of a clip. `size`: rows and columns onto which
    they are brought; null: as they are; mvit asks for 16 frames of 224, s3d for 14 frames of 224 at least.
    """

    stride = 1
    answers = "clip"
    """What one answer is of."""

    def __init__(
        self,
        *,
        architecture: Architecture = "r3d_18",
        weights: Annotated[str, Field(min_length=1)] | None = None,
        frames: Annotated[int, Field(ge=2, le=64)] = 8,
        size: Annotated[int, Field(ge=32, le=512)] | None = None,
    ) -> None:
        if architecture in _FIXED and (frames, size) != (16, 224):
            raise ConfigError("frames", f"{architecture} sees 16 frames of 224 x 224 pixels", "set model.frames=16 model.size=224")
        if architecture == "s3d" and (frames < 14 or size is None or size < 224):
            raise ConfigError("frames", "s3d sees 14 frames of 224 x 224 pixels or more", "set model.frames=16 model.size=224")
        if architecture == "small" and weights == "imagenet":
            raise ConfigError("weights", "nobody publishes weights of the small network", "leave model.weights=null, or take r3d_18")
        self.architecture: Architecture = architecture
        self.weights, self.frames, self.size = weights, frames, size

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network; see geohydra.models.clip_network.ClipNetwork."""
        from geohydra.models.clip_network import ClipNetwork, small, video_network
        from geohydra.models.starting import is_place, load_start

        published = self.weights == "imagenet"
        if self.weights is not None and not published and not is_place(self.weights):
            raise ConfigError("model.weights", f"{self.weights!r} is no file of weights", "imagenet, a path, a URI, or null")
        body = small(channels, classes) if self.architecture == "small" else video_network(self.architecture, channels, classes, published)
        network = ClipNetwork(channels, body, frames=self.frames, size=self.size)
        if self.weights is not None and not published:
            load_start(network, self.weights)
        return network
