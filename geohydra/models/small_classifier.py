"""A small network for small chips: nothing is made coarse before it is looked at, and the middle of a chip can count by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

if TYPE_CHECKING:
    import torch

Share = Annotated[float, Field(ge=0, lt=1)]
Width = Annotated[int, Field(ge=1, le=1024)]
Pool = Literal["mean", "centre", "both"]


class SmallClassifier:
    """Levels of two convolutions each, with a linear head: for chips of 8 to 64 pixels, which the encoders of timm halve too early.

    `widths`: filters of each level; between levels rows and columns are halved. `pool`: what the head sees, "mean" of the last level
    over the whole chip, "centre" of every level over its middle quarter of rows and columns, or "both": where labels are of points in
    the middle of chips, the middle tells most. `dropout`: share of features that are left out before the head while training. `weights`:
    null begins at random; or a path or URI of a state dict, whose first layer is adapted to the bands.
    """

    answers = "image"
    """What one answer is of: a whole image."""

    def __init__(
        self,
        *,
        widths: Annotated[list[Width], Field(min_length=1, max_length=6)] | None = None,
        pool: Pool = "mean",
        dropout: Share = 0.2,
        weights: Annotated[str, Field(min_length=1)] | None = None,
    ) -> None:
        self.widths = tuple(widths or (32, 64))
        self.pool: Pool = pool
        self.dropout, self.weights = dropout, weights

    @property
    def stride(self) -> int:
        """Chips are halved so often without a rest."""
        return int(2 ** (len(self.widths) - 1))

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: `(n, channels, row, col)` to `(n, classes)`."""
        from geohydra.models.small_classifier_network import SmallClassifierNetwork
        from geohydra.models.starting import load_start

        network = SmallClassifierNetwork(channels, classes, widths=self.widths, pool=self.pool, dropout=self.dropout)
        if self.weights is not None:
            load_start(network, self.weights)
        return network
