"""The losses that a detector tells, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from geohydra.build import near
from geohydra.errors import ConfigError

if TYPE_CHECKING:
    import torch

Weight = Annotated[float, Field(ge=0)]
Losses = Mapping[str, "torch.Tensor"]


class DetectorLoss:
    """The sum of a detector's own losses. `weights`: how often one of them counts, by its name; without one it counts once. FCOS has
    `classes`, `boxes`, `centres` and `turns`; RetinaNet `classification` and `bbox_regression`; Faster R-CNN `loss_objectness`,
    `loss_rpn_box_reg`, `loss_classifier` and `loss_box_reg`, and Mask R-CNN also `loss_mask`."""

    def __init__(self, *, weights: dict[str, Weight] | None = None) -> None:
        self.weights = dict(weights or {})

    def build(self, _shares: Mapping[str, float]) -> Callable[[Losses], torch.Tensor]:
        """A function of the losses by name."""
        return self.total

    def total(self, losses: Losses) -> torch.Tensor:
        """Raises ConfigError for a weight of a loss that the detector does not have."""
        import torch

        for name in self.weights:
            if name not in losses:
                raise ConfigError(f"loss.weights.{name}", f"this detector has no loss {name!r}", near(name, losses))
        return torch.stack([self.weights.get(name, 1.0) * value.reshape(()) for name, value in losses.items()]).sum()
