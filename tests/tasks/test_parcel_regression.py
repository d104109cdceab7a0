"""What the task of parcel regression says for itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch

from geohydra.cli import main
from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.models.series import Ltae, PixelSet
from geohydra.sources.demo_series import DemoSeries
from geohydra.task import Batch, Task, answered
from geohydra.tasks.parcel_regression import ParcelRegression
from geohydra.training.losses import CrossEntropy
from geohydra.training.value_losses import ValueLoss
from geohydra.types import LabelAsset, Scene, Shape, Window


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("demo")
    return next(iter(DemoSeries(scenes=1, years=1, size=96, resolution=5.0).scenes((), folder, lambda *_: None)))


def _frame(scene: Scene) -> geopandas.GeoDataFrame:
    assert scene.labels is not None
    return geopandas.read_parquet(scene.labels.uri)


def _batch(task: ParcelRegression, scene: Scene) -> Batch:
    from geohydra.chips.rows import stacked

    ground = open_ground(scene)
    assert ground is not None
    target = stacked([task.target(ground, Window(0, 0, Shape(64, 64)))] * 2)
    draw = torch.Generator().manual_seed(0)
    valid = torch.rand((2, 5, 64, 64), generator=draw) > 0.3
    days = torch.arange(5, dtype=torch.int32).expand(2, 5) * 30 + 19_500
    parcel = torch.from_numpy(target["parcel"]).long()
    looks = torch.randn((int(parcel.max()) + 1, 5, 4), generator=draw)[parcel].permute(0, 3, 4, 1, 2)
    images = (looks + 0.5 * torch.randn((2, 5, 4, 64, 64), generator=draw)) * valid[:, :, None]
    return {"image": images, "valid": valid, "days": days} | {name: torch.from_numpy(values) for name, values in target.items()}


def test_each_parcel_tells_its_attribute(scene: Scene) -> None:
    ground = open_ground(scene)
    task = ParcelRegression(value="harvest")
    assert isinstance(task, Task)
    assert ground is not None

    target: Any = task.target(ground, Window(0, 0, scene.grid.shape))

    numbers = ground.instances(Window(0, 0, scene.grid.shape)).objects.numbers
    values = target["value"].values
    assert len(values) > 3
    assert set(np.unique(target["parcel"])) == set(range(len(values) + 1))
    known = _frame(scene)["harvest"].to_numpy()
    shown = ground.instances(Window(0, 0, scene.grid.shape)).ids
    rows = [numbers[shown[target["parcel"] == place][0] - 1] for place in range(1, len(values) + 1)]
    np.testing.assert_allclose(values, known[rows], rtol=1e-6)


def test_parcels_of_other_classes_and_those_without_a_number_are_left_out(scene: Scene, tmp_path: Path) -> None:
    frame = _frame(scene)
    first = frame["class"].iloc[0]
    frame.loc[frame.index[1:3], "harvest"] = np.nan
    frame.to_parquet(tmp_path / "labels.parquet")
    changed = replace(scene, labels=LabelAsset(str(tmp_path / "labels.parquet"), "vector"))
    ground, window = open_ground(changed), Window(0, 0, scene.grid.shape)
    assert ground is not None

    some: Any = ParcelRegression(value="harvest", classes=[first]).target(ground, window)

    wanted = frame[(frame["class"] == first) & frame["harvest"].notna()]["harvest"]
    assert set(np.round(some["value"].values, 2)) <= set(np.round(wanted.to_numpy(np.float32), 2))
    assert 0 < len(some["value"].values) <= len(wanted)


def test_it_learns_parcels_by_heart(scene: Scene) -> None:
    torch.manual_seed(0)
    task = ParcelRegression(value="harvest")
    given, loss = _batch(task, scene), ValueLoss(kind="l2").build({})
    network = task.network(PixelSet(dropout=0.0), channels=4)
    steps = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(120):
        value = task.loss(loss, answered(task, network.train(), given), given)
        steps.zero_grad()
        value.backward()
        steps.step()
        losses.append(value.item())

    review = task.review()
    with torch.inference_mode():
        review.update(answered(task, network.eval(), given), given)

    assert losses[-1] < 0.1 * losses[0]
    assert review.compute()["r2"] > 0.9


def test_a_chip_without_parcels_costs_nothing(scene: Scene) -> None:
    task = ParcelRegression(value="harvest")
    given = {**_batch(task, scene), "parcel": torch.zeros((2, 64, 64), dtype=torch.int32), "value": torch.zeros((2, 0))}
    network = task.network(PixelSet(), channels=4).train()

    value = task.loss(ValueLoss().build({}), answered(task, network, given), given)

    assert value.item() == 0


def test_what_does_not_fit_is_told(scene: Scene) -> None:
    ground = open_ground(scene)
    assert ground is not None

    with pytest.raises(DataError, match="no attribute 'harvet'"):
        ParcelRegression(value="harvet").target(ground, Window(0, 0, Shape(8, 8)))
    with pytest.raises(DataError, match="no numbers"):
        ParcelRegression(value="id").target(ground, Window(0, 0, Shape(8, 8)))
    task = ParcelRegression(value="harvest")
    assert "take model=pixel_set" in str(next(task.check({"model": Ltae()})))
    assert "learns numbers" in str(next(task.check({"loss": CrossEntropy()})))
    assert not list(task.check({"model": PixelSet(), "loss": ValueLoss()}))


@pytest.mark.slow
def test_parcels_go_from_their_attribute_to_a_table_and_on_to_other_polygons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["source.scenes=1", "source.size=128", "source.resolution=5"]

    assert main(["task=parcel_regression", *small, "chip.size=32", "train.epochs=2", "tracking=none", "name=small"]) == 0

    [run] = Path("outputs/runs").glob("*-small")
    metrics = json.loads((run / "results/evaluate/metrics.json").read_text())["metrics"]
    assert {"test/rmse", "test/r2", "test/baseline_rmse"} <= set(metrics)
    rows = json.loads((run / "results/predict/index.json").read_text())
    for row in rows:
        table = geopandas.read_parquet(run / "results/predict" / row["parcels"])
        assert table["harvest"].notna().all()
        assert np.corrcoef(table["harvest"], table["source_harvest"]).shape == (2, 2)
        with rasterio.open(run / "results/predict" / row["values"]) as dataset:
            found = dataset.read(1)
        assert set(np.unique(found[np.isfinite(found)])) <= set(table["harvest"].astype(np.float32))
    table[["geometry"]].iloc[:5].to_parquet("others.parquet")
    words = ["source=demo_series", *small, "source.seed=0", "predict.parcels=others.parquet", "-o", "maps"]
    assert main(["predict", str(run), *words]) == 0
    again = json.loads(Path("maps/index.json").read_text())
    other = geopandas.read_parquet(Path("maps") / again[-1]["parcels"])
    assert len(other) == 5
    np.testing.assert_allclose(other["harvest"], table["harvest"].iloc[:5], rtol=1e-3)
