"""What the task of time series says for itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.models.series import Ltae, PixelSet, Utae
from geohydra.models.smp import SmpModel
from geohydra.sources.demo_series import DemoSeries
from geohydra.task import Batch, Task, answered, viewed
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.tasks.series_regression import SeriesRegression
from geohydra.tasks.time_series import Sampled, TimeSeries
from geohydra.training.criteria import CrossEntropyLoss
from geohydra.training.value_losses import ValueLoss
from geohydra.types import IGNORE, Asset, Grid, Scene, Shape, Window

CROPS = ["barley", "wheat", "rape", "maize", "beet"]
GRID = Grid("EPSG:32633", (1, 0, 0, 0, -1, 0), Shape(8, 8))


def asset(month: int | None) -> Asset:
    return Asset(f"{month}.tif", ("red",), (1,), "uint8", 0.0, None if month is None else datetime(2023, month, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("demo")
    return next(iter(DemoSeries(scenes=1, years=1, size=96, resolution=5.0).scenes((), folder, lambda *_: None)))


def batch(task: TimeSeries, scene: Scene) -> dict[str, torch.Tensor]:
    """One chip of chance pixels with a true target, as a dataset gives it."""
    from geohydra.chips.rows import stacked

    ground = open_ground(scene)
    assert ground is not None
    window = Window(0, 0, Shape(64, 64))
    draw = torch.Generator().manual_seed(0)
    valid = torch.rand((2, 5, 64, 64), generator=draw) > 0.3
    images = torch.randn((2, 5, 4, 64, 64), generator=draw) * valid[:, :, None]
    days = torch.arange(5, dtype=torch.int32).expand(2, 5) * 30 + 19_500
    target = stacked([task.target(ground, window), task.target(ground, window)])
    return {"image": images, "valid": valid, "days": days} | {name: torch.from_numpy(values) for name, values in target.items()}


def test_it_is_a_task() -> None:
    assert isinstance(TimeSeries(classes=CROPS), Task)
    assert isinstance(SeriesRegression(value="harvest"), Task)


def test_a_scene_of_several_acquisitions_is_seen_as_a_series_and_one_is_refused() -> None:
    task = TimeSeries(classes=CROPS)

    [seen] = viewed(task, [Scene("a", GRID, (asset(6), asset(5)), composite="median")])

    assert seen.series
    assert seen.composite is None
    assert not seen.at(seen.times[0]).series
    with pytest.raises(DataError, match="1 acquisition, a time series needs several"):
        task.view(Scene("a", GRID, (asset(None),)))


def test_models_must_suit_what_is_looked_at() -> None:
    pixel, window, parcel = (TimeSeries(classes=CROPS, unit=unit) for unit in ("pixel", "window", "parcel"))

    assert not list(pixel.check({"model": Ltae()}))
    assert not list(window.check({"model": Utae()}))
    assert not list(parcel.check({"model": PixelSet()}))
    assert "is for task.unit=window" in str(next(pixel.check({"model": Utae()})))
    assert "is for task.unit=pixel" in str(next(parcel.check({"model": Ltae()})))
    assert "sees one image" in str(next(pixel.check({"model": SmpModel()})))
    assert list(SemanticSegmentation(classes=["water"]).check({"model": Ltae()}))
    assert list(SeriesRegression(value="height").check({"model": PixelSet()}))


def test_parcels_are_learnt_where_most_of_them_lies(scene: Scene) -> None:
    task, ground = TimeSeries(classes=CROPS, unit="parcel"), open_ground(scene)
    assert ground is not None

    target = task.target(ground, Window(0, 0, Shape(48, 48)))

    places, labels = target["parcel"], target["label"].values  # type: ignore[union-attr]
    assert sorted(np.unique(places)) == list(range(len(labels) + 1))  # type: ignore[arg-type]
    mask = TimeSeries(classes=CROPS).target(ground, Window(0, 0, Shape(48, 48)))["mask"]
    inside = places > 0  # type: ignore[operator]
    np.testing.assert_array_equal(labels[places[inside] - 1], mask[inside])  # type: ignore[index]


@pytest.mark.parametrize(("unit", "model"), [("pixel", Ltae()), ("window", Utae(widths=[8, 16])), ("parcel", PixelSet())])
def test_every_unit_learns_and_is_scored(scene: Scene, unit: str, model: Ltae | Utae | PixelSet) -> None:
    task = TimeSeries(classes=CROPS, unit=unit, drop_dates=0.3, sample=500)  # type: ignore[arg-type]
    given: Batch = batch(task, scene)
    torch.manual_seed(0)
    network = task.network(model, channels=4)

    before = task.loss(CrossEntropyLoss(None, smoothing=0.0), answered(task, network.train(), given), given).item()
    network.eval()
    review = task.review()
    review.update(answered(task, network, given), given)

    assert np.isfinite(before)
    assert 0 <= review.compute()["accuracy"] <= 1
    known = task.known(given)
    assert int(review.confusion.matrix.sum()) == int((known != IGNORE).sum()) > 0


def test_only_labelled_measured_pixels_are_drawn(scene: Scene) -> None:
    task = TimeSeries(classes=CROPS, sample=200)
    given = batch(task, scene)
    network = task.network(Ltae(), channels=4).train()

    found = task.answer(network, given)

    assert isinstance(found, Sampled)
    assert found.answers.shape == (1, 5, 200, 1)
    assert int((found.truth == IGNORE).sum()) == 0


def test_dates_are_dropped_at_random_but_never_all(scene: Scene) -> None:
    from geohydra.tasks.time_series import without_dates

    valid = torch.ones((500, 3, 2, 2), dtype=torch.bool)
    torch.manual_seed(0)
    kept = without_dates(valid, 0.5).flatten(2).any(2)

    assert kept.any(1).all()
    assert 0.4 < kept.float().mean() < 0.7
    assert without_dates(valid, 0.0) is valid


def test_the_order_and_the_padding_of_a_batch_change_no_answer(scene: Scene) -> None:
    task = TimeSeries(classes=CROPS)
    given = batch(task, scene)
    network = task.network(Ltae(), channels=4).eval()
    order = torch.tensor([4, 0, 2, 1, 3])
    other = {**given, "image": given["image"][:, order], "valid": given["valid"][:, order], "days": given["days"][:, order]}

    with torch.no_grad():
        torch.testing.assert_close(task.answer(network, given), task.answer(network, other), atol=1e-4, rtol=1e-3)


def test_a_band_without_a_time_is_what_is_learnt(tmp_path: Path) -> None:
    [scene] = DemoSeries(scenes=1, years=1, size=64, resolution=5.0, harvest=True).scenes((), tmp_path, lambda *_: None)
    task = SeriesRegression(value="harvest", sample=300)

    [seen] = viewed(task, [scene])

    assert seen.series
    assert seen.bands == ("red", "green", "blue", "nir")
    ground = open_ground(seen)
    assert ground is not None
    value = task.target(ground, Window(0, 0, Shape(64, 64)))["value"]
    assert np.isnan(value).any()  # type: ignore[arg-type]
    given = batch(TimeSeries(classes=CROPS), replace(scene))
    given["value"] = torch.from_numpy(np.stack([value, value]))  # type: ignore[list-item]
    network = task.network(Ltae(), channels=4).train()
    assert task.loss(ValueLoss().build({}), task.answer(network, given), given).isfinite()
    scores = task.review()
    scores.update(task.answer(network.eval(), given).detach(), given)
    assert scores.compute()["baseline_rmse"] == pytest.approx(float(np.nanstd(value)), rel=1e-3)  # type: ignore[arg-type]
