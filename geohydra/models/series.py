"""Networks that see all acquisitions of a place with their dates: irregular ones, in any number, some of them cloudy.

Their `answers` are to a "series" of images, or of "parcels" in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from geohydra.errors import ConfigError
from geohydra.models.smp import SmpModel

if TYPE_CHECKING:
    import torch

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Position = Literal["year", "start"]
Weights = Annotated[str, Field(min_length=1)] | None


class Ltae:
    """Each pixel by itself: lightweight temporal attention (L-TAE; Sainte Fare Garnot and Landrieu, 2020).

    `width`: features that attention sees, a multiple of `heads`; `key`: numbers of a key; `hidden`: features before and after. `position`
    "year" tells dates apart by the day of the year, "start" by the days since the first valid date: for series of several years.
    `weights`: null begins at random; a path or URI loads a state dict, or the model folder of an earlier training.
    """

    answers = "series"
    alone = True
    """Each pixel is looked at by itself."""
    stride = 1

    def __init__(
        self,
        *,
        width: Count = 64,
        heads: Count = 8,
        key: Count = 8,
        hidden: Count = 64,
        dropout: Share = 0.1,
        position: Position = "year",
        weights: Weights = None,
    ) -> None:
        _check_heads(width, heads)
        self.width, self.heads, self.key, self.hidden, self.dropout = width, heads, key, hidden, dropout
        self.position: Position = position
        self.weights = weights

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: see `geohydra.models.series_network.SeriesNetwork`."""
        from geohydra.models import series_network
        from geohydra.models.starting import begun

        body = series_network.Ltae(
            channels,
            classes,
            width=self.width,
            heads=self.heads,
            key=self.key,
            hidden=self.hidden,
            dropout=self.dropout,
            position=self.position,
        )
        return begun(series_network.PixelNetwork(channels, body), self.weights)


class TempCnn:
    """Each pixel by itself: convolutions along the year (TempCNN; Pelletier, Webb and Petitjean, 2019).

    `steps`: regular steps of the year onto which the valid dates are brought; years are laid over each other. `width`: filters of a
    layer, `kernel`: steps that one sees, `hidden`: features of the layer before the last. `weights` is as in Ltae.
    """

    answers = "series"
    alone = True
    """Each pixel is looked at by itself."""
    stride = 1

    def __init__(
        self,
        *,
        steps: Annotated[int, Field(ge=4, le=366)] = 36,
        width: Count = 64,
        kernel: Literal[3, 5, 7, 9] = 5,
        hidden: Count = 128,
        dropout: Share = 0.2,
        weights: Weights = None,
    ) -> None:
        self.steps, self.width, self.kernel, self.hidden, self.dropout = steps, width, kernel, hidden, dropout
        self.weights = weights

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: see `geohydra.models.series_network.SeriesNetwork`."""
        from geohydra.models import series_network
        from geohydra.models.starting import begun

        body = series_network.TempCnn(
            channels, classes, steps=self.steps, width=self.width, kernel=self.kernel, hidden=self.hidden, dropout=self.dropout
        )
        return begun(series_network.PixelNetwork(channels, body), self.weights)


class Utae:
    """A U-Net over each date, pooled over dates by attention at every level (U-TAE; Sainte Fare Garnot and Landrieu, 2021).

    `widths`: features of each level, the first at full size; multiples of `heads` and of 4. The rest is as in Ltae.
    """

    answers = "series"

    def __init__(
        self,
        *,
        widths: Annotated[list[Annotated[int, Field(ge=4, multiple_of=4)]], Field(min_length=2, max_length=6)] | None = None,
        heads: Count = 8,
        key: Count = 4,
        dropout: Share = 0.1,
        position: Position = "year",
        weights: Weights = None,
    ) -> None:
        self.weights = weights
        self.widths = tuple(widths or (32, 32, 64, 128))
        for width in self.widths:
            _check_heads(width, heads, where="widths")
        self.heads, self.key, self.dropout = heads, key, dropout
        self.position: Position = position

    @property
    def stride(self) -> int:
        """Rows and columns of an input must be multiples of this."""
        return int(2 ** (len(self.widths) - 1))

    @property
    def smallest(self) -> int:
        """The least rows and columns of an input: the coarsest level is mirrored at its edges."""
        return 2 * self.stride

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: see `geohydra.models.series_network.SeriesNetwork`."""
        from geohydra.models import spatial_series_network
        from geohydra.models.starting import begun

        network = spatial_series_network.Utae(
            channels, classes, widths=self.widths, heads=self.heads, key=self.key, dropout=self.dropout, position=self.position
        )
        return begun(network, self.weights)


class SharedEncoder:
    """A network of segmentation-models-pytorch whose encoder sees every date; attention pools what it sees at each level.

    `width`, `heads`, `key` and `position` are those of the attention, as in Ltae; all else is as in `geohydra.models.smp.SmpModel`:
    `weights` are of a network for one image, by name, path or URI.
    """

    answers = "series"

    def __init__(
        self,
        *,
        architecture: str = "unet",
        encoder: str = "resnet18",
        weights: Annotated[str, Field(min_length=1)] | None = None,
        depth: Annotated[int, Field(ge=1, le=5)] | None = None,
        options: dict[str, Any] | None = None,
        width: Count = 64,
        heads: Count = 8,
        key: Count = 8,
        position: Position = "year",
    ) -> None:
        _check_heads(width, heads)
        self.one = SmpModel(architecture=architecture, encoder=encoder, weights=weights, depth=depth, options=options)
        if self.one.architecture.name == "DPT":
            raise ConfigError("architecture", "dpt has no features that could be pooled level by level", "choose another, such as unet")
        self.width, self.heads, self.key = width, heads, key
        self.position: Position = position

    @property
    def stride(self) -> int:
        """Rows and columns of an input must be multiples of this."""
        return self.one.stride

    @property
    def smallest(self) -> int:
        """The least rows and columns of an input."""
        return self.one.smallest

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: see `geohydra.models.series_network.SeriesNetwork`."""
        from geohydra.models import spatial_series_network

        one = self.one.build(channels=channels, classes=classes)
        return spatial_series_network.SharedEncoder(channels, one, width=self.width, heads=self.heads, key=self.key, position=self.position)


class PixelSet:
    """One answer for each parcel: its set of pixels on each date, then attention over dates (PSE and L-TAE, 2020).

    Of a set count mean and deviation of the bands, and of `features` learnt from them; 0 takes the bands alone. The rest is as in Ltae.
    """

    stride = 1
    answers = "parcels"
    """What one answer is of."""

    def __init__(
        self,
        *,
        features: Annotated[int, Field(ge=0)] = 16,
        width: Count = 64,
        heads: Count = 8,
        key: Count = 8,
        hidden: Count = 64,
        dropout: Share = 0.1,
        position: Position = "year",
        weights: Weights = None,
    ) -> None:
        _check_heads(width, heads)
        self.weights = weights
        self.features, self.width, self.heads, self.key, self.hidden, self.dropout = features, width, heads, key, hidden, dropout
        self.position: Position = position

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: see `geohydra.models.pixel_set_network.PixelSet`."""
        from geohydra.models import pixel_set_network
        from geohydra.models.starting import begun

        network = pixel_set_network.PixelSet(
            channels,
            classes,
            features=self.features,
            width=self.width,
            heads=self.heads,
            key=self.key,
            hidden=self.hidden,
            dropout=self.dropout,
            position=self.position,
        )
        return begun(network, self.weights)


def _check_heads(width: int, heads: int, *, where: str = "width") -> None:
    if width % heads:
        raise ConfigError(where, f"{width} features cannot be shared out among {heads} heads", f"take {-(-width // heads) * heads}")
