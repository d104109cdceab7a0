"""A number for each pixel from how it looks through the year: yield, biomass, height."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.errors import ConfigError, GeohydraError
from geohydra.tasks.regression import Regression
from geohydra.tasks.time_series import Sampled, as_series, sampled, without_dates
from geohydra.types import Scene

if TYPE_CHECKING:
    import torch

    from geohydra.report import Report
    from geohydra.task import Batch


class SeriesRegression(Regression):
    """Learns a band that has no time from the acquisitions of a scene, pixel by pixel.

    `value` is as in regression: a raster of numbers beside the images. `drop_dates` and `sample` are as in time series.
    """

    def __init__(
        self,
        *,
        value: Annotated[str, Field(min_length=1)],
        drop_dates: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        sample: Annotated[int, Field(ge=1)] | None = 4096,
    ) -> None:
        super().__init__(value=value)
        self.drop_dates, self.sample = drop_dates, sample

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The network must see series, and the loss be one of numbers."""
        if "model" in parts and getattr(parts["model"], "answers", "pixels") != "series":
            yield ConfigError("model", "sees one image, this task shows many dates", "take model=ltae, tempcnn, utae or shared_encoder")
        yield from super().check({key: part for key, part in parts.items() if key != "model"})

    def view(self, scene: Scene) -> Scene:
        """As a series; the band to learn becomes its ground."""
        return as_series(super().view(scene))

    def answer(self, network: Any, batch: Batch) -> Any:
        """The network's values `(n, 1, row, col)`; of pixels alone, while learning, those of a sample."""
        truth = _flat(batch)["value"]
        if not network.training:
            return network(batch["image"], batch["valid"], batch["days"])
        network.learn(truth[~truth.isnan()])
        given = batch["image"], without_dates(batch["valid"], self.drop_dates), batch["days"]
        if self.sample is None or not hasattr(network.network, "pixels"):
            return network(*given)
        found = sampled(network.network, given, truth, ~truth.isnan(), count=self.sample)
        return Sampled(network.scaled(found.answers), found.truth)

    def loss(self, loss: Any, outputs: Any, batch: Batch) -> torch.Tensor:
        """The loss over pixels that were measured and have a value."""
        answers, truth = (outputs.answers, outputs.truth) if isinstance(outputs, Sampled) else (outputs, _flat(batch)["value"])
        value: torch.Tensor = loss(answers[:, 0], truth)
        return value

    def scores(self) -> SeriesValues:  # type: ignore[override]
        """Metrics of one split and one epoch."""
        return SeriesValues()

    def review(self) -> SeriesValues:  # type: ignore[override]
        """The same, with all that is shown of the best network."""
        return SeriesValues()


class SeriesValues:
    """Errors of a network that sees series: those of its values, whatever they were made from."""

    def __init__(self) -> None:
        from geohydra.evaluation.values import ValueReview

        self._values = ValueReview()

    @property
    def thresholds(self) -> dict[str, float]:
        """None: nothing is decided."""
        return self._values.thresholds

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """Add the network's outputs for a batch."""
        self._values.update(outputs, _flat(batch))

    def compute(self) -> dict[str, float]:
        """See geohydra.evaluation.values."""
        return self._values.compute()

    def show(self, report: Report, *, split: str, bands: Sequence[str]) -> None:
        """A scatter plot and the errors."""
        self._values.show(report, split=split, bands=bands)


def _flat(batch: Batch) -> dict[str, torch.Tensor]:
    """The batch as one of images: a pixel is valid that was measured on any date; values elsewhere are NaN."""
    measured = batch["valid"].any(1)
    return {**batch, "valid": measured, "value": batch["value"].masked_fill(~measured, float("nan"))}
