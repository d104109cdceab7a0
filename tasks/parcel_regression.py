"""A number for each parcel from how it looks through the year: its yield, its age, its biomass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.errors import ConfigError, DataError, GeohydraError
from geohydra.tasks.series_regression import SeriesRegression
from geohydra.tasks.time_series import as_series, without_dates
from geohydra.types import Scene, Window

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from geohydra.report import Report
    from geohydra.task import Batch, Comparison, Ground, Target, Trained
    from geohydra.work import Work


class ParcelRegression(SeriesRegression):
    """Learns an attribute of labelled polygons from all acquisitions of their pixels; one answer for each polygon.

    `value`: the attribute, a number; polygons without it teach nothing. `classes`: the labels whose polygons are parcels; null: all.
    `drop_dates` is as in time series; `sample`: pixels of the parcels of a batch to learn from; null: all.
    """

    def __init__(
        self,
        *,
        value: Annotated[str, Field(min_length=1)],
        classes: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None,
        drop_dates: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        sample: Annotated[int, Field(ge=1)] | None = 4096,
    ) -> None:
        super().__init__(value=value, drop_dates=drop_dates, sample=sample)
        self.labels = tuple(classes or ())

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The network must answer for parcels, and the loss be one of numbers."""
        if "model" in parts and getattr(parts["model"], "answers", "pixels") != "parcels":
            yield ConfigError("model", "does not answer for parcels", "take model=pixel_set")
        if "loss" in parts and not getattr(parts["loss"], "of_values", False):
            yield ConfigError("loss", "is of classes, this task learns numbers", "take loss=huber, l1 or l2")

    def view(self, scene: Scene) -> Scene:
        """As a series."""
        return as_series(scene)

    def target(self, ground: Ground, window: Window) -> Target:
        """`parcel`: 1 + the row of `value` for each pixel, int32 `(row, col)`, 0 outside; `value`: float32, of the parcels that lie in the
        window for the most part. Raises DataError where labels have no such attribute."""
        import numpy as np

        from geohydra.task import Rows

        found = ground.instances(window)
        values = self.truth(ground)[found.objects.numbers]
        kinds = np.array([not self.labels or name in self.labels for name in found.objects.classes], bool)
        shown = np.isin(np.arange(1, len(values) + 1), found.ids)
        wanted = np.flatnonzero((found.objects.shares >= 0.5) & np.isfinite(values) & kinds & shown)
        places = np.zeros(len(values) + 1, np.int32)
        places[wanted + 1] = np.arange(1, len(wanted) + 1)
        return {"parcel": places[found.ids], "value": Rows(values[wanted].astype(np.float32))}

    def truth(self, ground: Ground) -> NDArray[np.float64]:
        """The attribute of every polygon, by its number. Raises DataError."""
        from geohydra.task import Attributed

        if not isinstance(ground, Attributed):
            raise DataError("source.labels", "tell no attribute of a polygon", f"bring polygons with the column {self.value!r}")
        return ground.attribute(self.value)

    def answer(self, network: Any, batch: Batch) -> Any:
        """The network's values `(n, 1, parcel, 1)`; while it trains, it learns how large they are."""
        places, valid = batch["parcel"].long() - 1, batch["valid"]
        if network.training:
            network.learn(batch["value"][~batch["value"].isnan()])
            places, valid = _some(places, self.sample), without_dates(valid, self.drop_dates)
        count = max(1, batch["value"].shape[1])
        found = network.network.parcels(batch["image"], valid, batch["days"], places, count=count)
        return network.scaled(found).transpose(1, 2).unsqueeze(3)

    def loss(self, loss: Any, outputs: Any, batch: Batch) -> torch.Tensor:
        """The loss over parcels."""
        value: torch.Tensor = loss(outputs[:, 0], _of_parcels(batch)["value"])
        return value

    def scores(self) -> ParcelReview:  # type: ignore[override]
        """Metrics of one split and one epoch."""
        return ParcelReview()

    def review(self) -> ParcelReview:  # type: ignore[override]
        """The same, with all that is shown of the best network."""
        return ParcelReview()

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """A table of parcels with their values and curves, and a map of the values."""
        from geohydra.prediction.parcel_values import predict_values
        from geohydra.prediction.series import Onlooker

        watch = Onlooker(scene, trained.bands, parcels=settings.parcels, folder=work.state)
        return predict_values(scene, trained, settings, watch, self.value, out=out, work=work)

    def comparison(self) -> Comparison:
        """Errors of the parcels of a split."""
        from geohydra.evaluation.parcel_values import ParcelValueComparison

        return ParcelValueComparison(self)


class ParcelReview:
    """Errors of a network that answers for parcels."""

    def __init__(self) -> None:
        from geohydra.evaluation.values import ValueReview

        self._values = ValueReview()

    @property
    def thresholds(self) -> dict[str, float]:
        """None: nothing is decided."""
        return {}

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """Add the network's outputs for a batch."""
        self._values.update(outputs, _of_parcels(batch))

    def compute(self) -> dict[str, float]:
        """See geohydra.evaluation.values."""
        return self._values.compute()

    def show(self, report: Report, *, split: str, bands: Sequence[str]) -> None:
        """A scatter plot and the errors."""
        self._values.show(report, split=split, bands=bands)


def _some(places: torch.Tensor, most: int | None) -> torch.Tensor:
    """About as many pixels of parcels as are asked for, at random."""
    import torch

    share = 1.0 if most is None else most / max(1, int((places >= 0).sum()))
    return places if share >= 1 else torch.where(torch.rand(places.shape, device=places.device) < share, places, -1)


def _of_parcels(batch: Batch) -> dict[str, torch.Tensor]:
    """Values `(n, parcel, 1)`, NaN where a row is none; where no chip has a parcel there is one row of none."""
    import torch

    value = batch["value"]
    value = value if value.shape[1] else torch.full((len(value), 1), float("nan"), device=value.device)
    return {"value": value[:, :, None], "valid": ~value.isnan()[:, :, None]}
