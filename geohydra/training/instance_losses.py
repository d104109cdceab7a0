"""The loss of networks that tell classes, borders and middles of objects, by configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.errors import GeohydraError
from geohydra.training.losses import LossSettings

if TYPE_CHECKING:
    from geohydra.training.part_loss import PartLoss

Weight = Annotated[float, Field(ge=0)]


class Parts:
    """`classes`: any loss of class maps, for what each pixel is; plus `border` times cross entropy and Dice of the borders of objects,
    plus `distance` times the cross entropy of how deep in an object a pixel lies."""

    def __init__(self, *, classes: LossSettings, border: Weight = 1.0, distance: Weight = 1.0) -> None:
        self.classes, self.border, self.distance = classes, border, distance

    def build(self, shares: Mapping[str, float]) -> PartLoss:
        """A new one; see LossSettings."""
        from geohydra.training.part_loss import PartLoss

        return PartLoss(self.classes.build(shares), border=self.border, distance=self.distance)

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """What does not fit the task."""
        check = getattr(self.classes, "check", None)
        yield from check(parts) if check else ()
