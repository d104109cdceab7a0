"""Scenes of many dates through a network: maps, parcels and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest
import rasterio
import torch
from rio_cogeo import cog_validate

from geohydra.bundle import Card, TrainedModel, load_model, write_model
from geohydra.errors import DataError
from geohydra.evaluation.parcels import compare_parcels, parcel_scores, parcels_of_split
from geohydra.evaluation.settings import Evaluation
from geohydra.ground import open_ground
from geohydra.prediction.parcels import Fresh
from geohydra.prediction.settings import Prediction
from geohydra.raster.series import SeriesReader
from geohydra.sources.demo_series import DemoSeries
from geohydra.task import Pair
from geohydra.tasks.time_series import TimeSeries
from geohydra.types import Scene, Shape, Window
from geohydra.work import Resources, Work

CROPS = ["barley", "wheat", "rape", "maize", "beet"]
BANDS = ("red", "green", "blue", "nir")
MODELS: dict[str, dict[str, Any]] = {
    "pixel": {"_target_": "geohydra.models.series.Ltae"},
    "window": {"_target_": "geohydra.models.series.Utae", "widths": [8, 16], "heads": 4},
    "parcel": {"_target_": "geohydra.models.series.PixelSet"},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    made = DemoSeries(scenes=1, years=1, size=96, resolution=5.0).scenes((), tmp_path_factory.mktemp("demo"), lambda *_: None)
    return TimeSeries(classes=CROPS).view(next(iter(made)))


def trained(task: TimeSeries, folder: Path) -> TrainedModel:
    """Chance weights, kept and loaded as training does."""
    from geohydra.build import build

    node = MODELS[task.unit]
    model = build(node, where="model")
    torch.manual_seed(0)
    statistics = {band: {"mean": 1500.0, "std": 900.0} for band in BANDS}
    told = {"_target_": "geohydra.tasks.time_series.TimeSeries", "classes": CROPS, "unit": task.unit}
    card = Card(told, node, BANDS, task.classes, statistics, (32, 32), model.stride)
    write_model(folder, task.network(model, channels=4), card)
    return load_model(folder)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work({}, tmp_path, Resources(cpu=1))


def predicted(scene: Scene, unit: Any, work: Work, folder: Path, name: str, **chosen: Any) -> tuple[dict[str, Any], TimeSeries]:
    task = TimeSeries(classes=CROPS, unit=unit)
    model = trained(task, folder / "model")
    return task.predict(scene, model, Prediction(**chosen), work.state / name, work), task


def read(path: Path) -> Any:
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.mark.parametrize("unit", ["pixel", "parcel"])
def test_a_tiled_map_is_the_untiled_one(scene: Scene, work: Work, tmp_path: Path, unit: str) -> None:
    tables = []
    for window in (32, 40, 96):
        predicted(scene, unit, work, tmp_path, str(window), window=window, probabilities="float32")
        tables.append(work.state / str(window))

    whole, *others = (read(folder / "probabilities.tif") for folder in reversed(tables))
    for found in others:
        np.testing.assert_allclose(found, whole, atol=1e-4)
    first, second = (geopandas.read_parquet(folder / "parcels.parquet") for folder in (tables[0], tables[-1]))
    np.testing.assert_array_equal(first["pixels"], second["pixels"])
    np.testing.assert_allclose(first["score"], second["score"], atol=1e-4)
    curves = [pandas.read_parquet(folder / "parcel_curves.parquet") for folder in (tables[0], tables[-1])]
    pandas.testing.assert_frame_equal(*curves, rtol=1e-4)


def test_dates_that_only_some_rows_of_windows_show_leave_the_tiled_map_as_it_is(scene: Scene, work: Work, tmp_path: Path) -> None:
    cloudy = []
    for asset in scene.assets[2:5]:
        with rasterio.open(asset.uri) as dataset:
            profile, pixels = dataset.profile, dataset.read()
        pixels[:, 32:] = 0
        with rasterio.open(tmp_path / Path(asset.uri).name, "w", **profile) as dataset:
            dataset.write(pixels)
        cloudy.append(replace(asset, uri=str(tmp_path / Path(asset.uri).name)))
    scene = replace(scene, assets=(*scene.assets[:2], *cloudy, *scene.assets[5:]))

    for window, size in ((32, 4), (96, 1)):
        predicted(scene, "pixel", work, tmp_path, str(window), window=window, batch_size=size, probabilities="float32")

    tiled, whole = (read(work.state / name / "probabilities.tif") for name in ("32", "96"))
    np.testing.assert_allclose(tiled, whole, atol=1e-4)


def test_maps_of_a_network_with_surroundings_are_whole(scene: Scene, work: Work, tmp_path: Path) -> None:
    row, _ = predicted(scene, "window", work, tmp_path, "map", window=32)

    valid, errors, _ = cog_validate(str(work.state / row["classes"]))
    assert valid, errors
    assert (read(work.state / row["classes"]) != 255).all()


def test_tables_and_curves_can_be_read_back(scene: Scene, work: Work, tmp_path: Path) -> None:
    row, task = predicted(scene, "pixel", work, tmp_path, "map", window=64)

    table = geopandas.read_parquet(work.state / row["parcels"])
    assert table.crs.to_epsg() == 32632
    assert scene.labels is not None
    labels = geopandas.read_parquet(scene.labels.uri)
    assert list(table["label"]) == list(labels["class"])
    assert {"id", "class", "score", "pixels", "area_m2", *(f"probability_{name}" for name in CROPS)} <= set(table.columns)
    np.testing.assert_allclose(table["area_m2"], labels.area, rtol=2e-3)
    chances = table[[f"probability_{name}" for name in CROPS]].to_numpy()[table["pixels"] > 0]
    np.testing.assert_allclose(chances.sum(1), 1, atol=0.02)
    assert list(table["class"].dropna()) == [CROPS[place] for place in chances.argmax(1)]
    classes = pandas.read_csv(work.state / row["class_curves_csv"])
    assert set(classes["class"]) <= set(task.classes)
    assert set(classes["band"]) == set(BANDS)
    assert (work.state / row["quicklook"]).stat().st_size > 10_000


def test_curves_of_parcels_are_means_of_their_pixels(scene: Scene, work: Work, tmp_path: Path) -> None:
    row, _ = predicted(scene, "pixel", work, tmp_path, "map", window=40)
    curves = pandas.read_parquet(work.state / row["parcel_curves"])
    ground = open_ground(scene)
    assert ground is not None
    whole = Window(0, 0, scene.grid.shape)
    found = ground.instances(whole)
    with SeriesReader(scene, bands=BANDS) as reader:
        series = reader.read(whole)

    for number in (0, 3):
        mask = found.ids == 1 + found.objects.numbers.tolist().index(number)
        own = curves[curves["id"] == number + 1]
        known = [place for place in range(len(series.times)) if (series.valid[place] & mask).any()]
        assert len(own) == len(known)
        for place, told in zip(known, own.itertuples(), strict=True):
            values = series.pixels[place][:, series.valid[place] & mask]
            assert told.pixels == values.shape[1]
            np.testing.assert_allclose([told.red, told.nir], values.mean(1)[[0, 3]], rtol=1e-5)


def test_parcels_of_a_file_are_answered_for_where_there_are_no_labels(scene: Scene, work: Work, tmp_path: Path) -> None:
    assert scene.labels is not None
    mine = geopandas.read_parquet(scene.labels.uri).iloc[2:6].drop(columns=["class"]).to_crs("EPSG:4326")
    mine["owner"] = ["a", "b", "c", "d"]
    mine.to_file(tmp_path / "mine.geojson", driver="GeoJSON")
    bare = replace(scene, labels=None)

    row, _ = predicted(bare, "parcel", work, tmp_path, "map", window=64, parcels=str(tmp_path / "mine.geojson"))

    table = geopandas.read_parquet(work.state / row["parcels"])
    assert list(table["owner"]) == ["a", "b", "c", "d"]
    assert "label" not in table.columns
    assert table["class"].isin(CROPS).all()
    with pytest.raises(DataError, match="no parcels to answer for"):
        predicted(bare, "parcel", work, tmp_path, "none", window=64)


def test_parcels_are_scored_in_the_split_that_has_most_of_them(scene: Scene, work: Work, tmp_path: Path) -> None:
    row, task = predicted(scene, "pixel", work, tmp_path, "map", window=64)
    left, right = Window(0, 0, Shape(96, 40)), Window(0, 40, Shape(96, 56))
    pairs = [Pair(scene, work.state, row, (half,)) for half in (left, right)]
    table = geopandas.read_parquet(work.state / row["parcels"])

    one, other = (set(parcels_of_split(pair).tolist()) for pair in pairs)

    assert not one & other
    assert one | other == set(table["id"])
    chosen = table[table["id"].isin(one) & table["class"].notna()]
    scores = compare_parcels(task, pairs[:1], split="test", settings=Evaluation(), work=work)
    assert scores["parcel_accuracy"] == pytest.approx((chosen["class"] == chosen["label"]).mean())


def test_scores_of_parcels_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    draw = np.random.default_rng(0)
    truth, answer = draw.integers(0, 4, 200), draw.integers(0, 4, 200)
    matrix = np.zeros((4, 4), np.int64)
    np.add.at(matrix, (truth, answer), 1)

    found = parcel_scores(matrix)

    assert found["parcel_accuracy"] == pytest.approx(accuracy_score(truth, answer))
    assert found["parcel_f1"] == pytest.approx(f1_score(truth, answer, average="macro"))
    assert found["baseline_parcel_accuracy"] == pytest.approx(np.bincount(truth).max() / 200)


@pytest.mark.parametrize("starts", [((0, 5, 10), (0, 7, 9)), ((0,), (0,)), ((0, 3), (0, 2, 4, 6))])
def test_every_pixel_is_fresh_once(starts: Sequence[Sequence[int]]) -> None:
    size = Shape(8, 9)
    seen = np.zeros((starts[0][-1] + size.rows, starts[1][-1] + size.cols), int)
    fresh = Fresh()

    for row in starts[0]:
        for col in starts[1]:
            part = fresh(Window(row, col, size))
            if part is not None:
                seen[part.slices] += 1

    assert (seen == 1).all()
