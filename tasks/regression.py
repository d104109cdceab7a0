"""A number for each pixel: height, biomass, a vegetation index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.errors import ConfigError, DataError, GeohydraError
from geohydra.task import Measured
from geohydra.types import Asset, LabelAsset, Scene, Window

if TYPE_CHECKING:
    import torch

    from geohydra.evaluation.values import ValueReview, ValueScores
    from geohydra.models.votes import Activation
    from geohydra.prediction.outputs import Answers
    from geohydra.task import Batch, Comparison, Ground, Model, Pair, Target, Trained
    from geohydra.work import Work


class Regression:
    """Learns one band from the others, pixel by pixel.

    `value`: the band to learn, of a raster that the source brings beside the imagery: on any grid, with its own nodata. Imagery to
    predict need not have it.
    """

    monitor = "r2"
    activation: Activation = "none"
    """Answers are averaged as they are."""

    def __init__(self, *, value: Annotated[str, Field(min_length=1)]) -> None:
        self.value = value
        self.labels: tuple[str, ...] = ()
        self.classes = (value,)

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The network must answer for every pixel, and the loss be one of numbers."""
        if getattr(parts.get("model"), "answers", "pixels") != "pixels":
            yield ConfigError("model", "does not answer for every pixel", "take another, such as model=unet")
        if "loss" in parts and not getattr(parts["loss"], "of_values", False):
            yield ConfigError("loss", "is of classes, regression learns numbers", "take loss=huber, l1 or l2")

    def view(self, scene: Scene) -> Scene:
        """The imagery without the band to learn, which becomes its ground; a scene that has none is as it is."""
        measured = tuple(part for asset in scene.assets for part in _only(asset, {self.value}))
        if not measured:
            return replace(scene, labels=None)
        rest = set(scene.bands) - {self.value}
        assets = tuple(part for asset in scene.assets for part in _only(asset, rest))
        if not assets:
            raise DataError(scene.id, f"has no band but {self.value}", "bring imagery to learn it from")
        return replace(scene, assets=assets, labels=LabelAsset(measured[0].uri, "values", measured=measured))

    def target(self, ground: Ground, window: Window) -> Target:
        """`value`: float32 `(row, col)`; NaN where there is none."""
        if not isinstance(ground, Measured):
            raise DataError("task.value", f"the source brings no band {self.value!r}", "name it in source.bands")
        return {"value": ground.values(window)}

    def network(self, model: Model, *, channels: int) -> torch.nn.Module:
        """The model with one output, in the units of the values."""
        from geohydra.models.scaled import ScaledNetwork

        return ScaledNetwork(model.build(channels=channels, classes=1))

    def answer(self, network: Any, batch: Batch) -> torch.Tensor:
        """The network's values; while it trains, it learns how large they are."""
        from geohydra.models.scaled import ScaledNetwork

        if isinstance(network, ScaledNetwork) and network.training:
            network.learn(_truth(batch)[~_truth(batch).isnan()])
        outputs: torch.Tensor = network(batch["image"])
        return outputs

    def loss(self, loss: Any, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss over pixels that were measured and have a value."""
        value: torch.Tensor = loss(outputs[:, 0], _truth(batch))
        return value

    def scores(self) -> ValueScores:
        """Metrics of one split and one epoch."""
        from geohydra.evaluation.values import ValueScores

        return ValueScores()

    def review(self) -> ValueReview:
        """The same, with all that is shown of the best network."""
        from geohydra.evaluation.values import ValueReview

        return ValueReview()

    def answers(self) -> Answers:
        """What maps of this task hold."""
        from geohydra.prediction.value_maps import ValueMap

        return ValueMap(self.value)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """A map of values."""
        from geohydra.prediction.dense import predict_scene

        return predict_scene(scene, trained, settings, out=out, work=work, classes=self.classes, answers=self.answers())

    def evaluate(self, pairs: Sequence[Pair], *, split: str, settings: Any, work: Work) -> dict[str, Any]:
        """What `comparison` tells of a split."""
        from geohydra.evaluation import counting

        return counting.evaluate(self.comparison(), pairs, split=split, settings=settings, work=work)

    def comparison(self) -> Comparison:
        """Errors of the pixels of a split."""
        from geohydra.evaluation.values import ValueComparison

        return ValueComparison()


def _truth(batch: Batch) -> torch.Tensor:
    return batch["value"].masked_fill(~batch["valid"], float("nan"))


def _only(asset: Asset, bands: set[str]) -> Iterator[Asset]:
    """The asset with these of its bands; nothing where it has none."""
    places = [place for place, band in enumerate(asset.bands) if band in bands]
    if places:
        yield replace(
            asset,
            bands=tuple(asset.bands[place] for place in places),
            indexes=tuple(asset.indexes[place] for place in places),
            scale=tuple(asset.scale[place] for place in places if asset.scale),
            offset=tuple(asset.offset[place] for place in places if asset.offset),
        )
