"""Detectors of torchvision on encoders of timm, with any number of bands and classes.

Here is what a config chooses; networks are put together in `detector_network`, whose forward tells what goes in and comes out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from numpy.typing import NDArray
from pydantic import Field

from geohydra.errors import ConfigError

if TYPE_CHECKING:
    from geohydra.models.detector_network import DetectorNetwork, Head

Name = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
Stride = Annotated[int, Field(ge=2, le=128)]
Strides = Annotated[list[Stride], Field(min_length=1, max_length=6)]
Channels = Annotated[int, Field(ge=32, le=512, multiple_of=32)]
Convolutions = Annotated[int, Field(ge=1, le=8)]
Most = Annotated[int, Field(ge=1, le=2000)]
Sizes = Literal["auto"] | list[Annotated[list[Positive], Field(min_length=1)]]
Ratios = Literal["auto"] | Annotated[list[Positive], Field(min_length=1)]

FINEST = 4
"""The stride from which on most encoders have features."""


class Detector(ABC):
    """What all detectors have: an encoder of timm and a feature pyramid on it.

    `encoder`: any name of timm whose features shrink from stage to stage. `weights`: null begins at random; `imagenet`, or a tag of timm,
    loads what timm publishes; a path or URI loads a state dict of the encoder or of a whole detector. `strides`: pixels of a cell in each
    level of the pyramid, each twice the one before; objects should be about as large as a cell of the finest level, or larger.
    `channels`: of the pyramid and the head, a multiple of 32. `most`: objects that are found in one window, at most.
    """

    answers = "objects"
    """What one answer is of."""
    oriented = False
    """Whether it can find turned boxes."""
    masks = False
    """Whether it finds the pixels of each object."""

    def __init__(self, *, encoder: Name, weights: Name | None, strides: Strides, channels: Channels, most: Most) -> None:
        if any(after != 2 * before for before, after in pairwise(strides)):
            raise ConfigError("strides", f"{strides} do not double from level to level", "such as [4, 8, 16]")
        if strides[0] & (strides[0] - 1):
            raise ConfigError("strides", f"{strides[0]} is no power of two", "such as [4, 8, 16]")
        self.encoder, self.weights, self.strides, self.channels, self.most = encoder, weights, tuple(strides), channels, most

    @property
    def stride(self) -> int:
        """Rows and columns of an input must be multiples of this."""
        return self.strides[-1]

    def build(self, *, channels: int, classes: int, oriented: bool = False) -> DetectorNetwork:
        """A new network; see geohydra.models.detector_network.DetectorNetwork. `classes` count objects only, no background."""
        from geohydra.models.detector_network import DetectorNetwork
        from geohydra.models.pyramid import Pyramid, new_encoder
        from geohydra.models.starting import is_place, load_start

        encoder, widths, reductions = new_encoder(self.encoder, self.weights, self.strides, channels=channels)
        pyramid = Pyramid(widths, reductions, self.strides, channels=self.channels)
        network = DetectorNetwork(encoder, pyramid, self.head(classes, oriented=oriented))
        if self.weights is not None and is_place(self.weights):
            load_start(network, self.weights)
        return network

    @abstractmethod
    def head(self, classes: int, *, oriented: bool) -> Head:
        """What finds objects in the levels of the pyramid."""


class Fcos(Detector):
    """FCOS: each cell tells the class of the object that it lies in and how far the object's sides are. It needs no anchors, and with an
    oriented task also tells how objects are turned. `convolutions`: in each branch of the head."""

    oriented = True

    def __init__(
        self,
        *,
        encoder: Name = "resnet18",
        weights: Name | None = None,
        strides: Strides = [4, 8, 16],  # noqa: B006 (never changed)
        channels: Channels = 64,
        most: Most = 300,
        convolutions: Convolutions = 2,
    ) -> None:
        super().__init__(encoder=encoder, weights=weights, strides=strides, channels=channels, most=most)
        self.convolutions = convolutions

    def head(self, classes: int, *, oriented: bool) -> Head:
        """See Detector."""
        from geohydra.models.fcos import FcosHead

        return FcosHead(self.channels, classes, self.strides, convolutions=self.convolutions, most=self.most, oriented=oriented)


class Anchored(Detector, ABC):
    """A detector that corrects boxes of set sizes and shapes, the anchors.

    `anchors`: for each level the sides of its squares in pixels, as many for all levels. `ratios`: heights to widths that each comes in.
    `auto` takes both from the boxes of the training chips.
    """

    def __init__(
        self,
        *,
        encoder: Name = "resnet18",
        weights: Name | None = None,
        strides: Strides = [4, 8, 16],  # noqa: B006 (never changed)
        channels: Channels = 64,
        most: Most = 300,
        anchors: Sizes = "auto",
        ratios: Ratios = "auto",
    ) -> None:
        super().__init__(encoder=encoder, weights=weights, strides=strides, channels=channels, most=most)
        if anchors != "auto" and (len(anchors) != len(strides) or len({len(sizes) for sizes in anchors}) != 1):
            raise ConfigError(
                "anchors", f"they must be as many for each of the {len(strides)} levels", "such as [[8, 12], [16, 24], [32, 48]]"
            )
        self.anchors, self.ratios = anchors, ratios

    def fitted(self, targets: Iterable[Mapping[str, NDArray[Any]]]) -> Mapping[str, Any]:
        """Anchors for the boxes that are to be learnt; see geohydra.task.Fitting."""
        from geohydra.models.anchors import fit

        sizes, ratios = fit((target["boxes"] for target in targets), strides=self.strides)
        found: dict[str, Any] = {"anchors": sizes} if self.anchors == "auto" else {}
        return found | ({"ratios": ratios} if self.ratios == "auto" else {})

    @property
    def shapes(self) -> tuple[list[list[float]], list[float]]:
        """Anchors and ratios as they are set; before any data is seen, twice and three times the strides, and three ratios."""
        sizes = [[2.0 * stride, 3.0 * stride] for stride in self.strides] if self.anchors == "auto" else self.anchors
        return sizes, [0.5, 1.0, 2.0] if self.ratios == "auto" else self.ratios


class RetinaNet(Anchored):
    """RetinaNet: classes and corrections of every anchor, learnt with the focal loss."""

    def head(self, classes: int, *, oriented: bool) -> Head:  # noqa: ARG002 (it finds upright boxes)
        """See Detector."""
        from geohydra.models.retinanet import RetinaNetHead

        return RetinaNetHead(self.channels, classes, *self.shapes, most=self.most)


class FasterRcnn(Anchored):
    """Faster R-CNN: proposals first, each then looked at by itself."""

    def head(self, classes: int, *, oriented: bool) -> Head:  # noqa: ARG002 (it finds upright boxes)
        """See Detector."""
        from geohydra.models.two_stage import TwoStageHead

        return TwoStageHead(self.channels, classes, *self.shapes, most=self.most, masks=self.masks)


class MaskRcnn(FasterRcnn):
    """Mask R-CNN: Faster R-CNN that also tells the pixels of each object."""

    masks = True
