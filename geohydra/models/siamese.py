"""One encoder for two images: what it sees before and after is compared at every level, and decoded to a map of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from geohydra.errors import ConfigError
from geohydra.models.smp import SmpModel

if TYPE_CHECKING:
    import torch


class Siamese:
    """A network of segmentation-models-pytorch whose encoder sees both images (FC-Siam; Daudt, Le Saux, Boulch, ICIP 2018).

    `fusion`: "concat" takes a learnt mixture of both at every level, "difference" the absolute difference of the features, which is
    the same for a change and for its reverse. All else is as in `geohydra.models.smp.SmpModel`; weights are for the bands of one image.
    """

    images = 2

    def __init__(
        self,
        *,
        fusion: Literal["concat", "difference"] = "concat",
        architecture: str = "unet",
        encoder: str = "resnet18",
        weights: Annotated[str, Field(min_length=1)] | None = None,
        depth: Annotated[int, Field(ge=1, le=5)] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.fusion = fusion
        self.one = SmpModel(architecture=architecture, encoder=encoder, weights=weights, depth=depth, options=options)
        if self.one.architecture.name == "DPT":
            raise ConfigError("architecture", "dpt has no features that could be compared level by level", "choose another, such as unet")

    @property
    def stride(self) -> int:
        """Rows and columns of an input must be multiples of this."""
        return self.one.stride

    @property
    def smallest(self) -> int:
        """The least rows and columns of an input."""
        return self.one.smallest

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: `(n, channels, row, col)` to `(n, classes, row, col)`; the first half of the channels is the image before."""
        from geohydra.models.siamese_network import SiameseNetwork

        if channels % 2:
            raise ConfigError("model", f"two images of the same bands do not have {channels} channels", "take model=unet, or another task")
        return SiameseNetwork(self.one.build(channels=channels // 2, classes=classes), fusion=self.fusion)
