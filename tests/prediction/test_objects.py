"""A scene goes through a detector window by window; its objects are written as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import torch

from geohydra.bundle import Card, TrainedModel, load_model, write_model
from geohydra.errors import ConfigError
from geohydra.models.detector import Fcos
from geohydra.prediction.objects import find_all, least_scores, predict_objects
from geohydra.prediction.settings import Prediction
from geohydra.raster.write import CogWriter
from geohydra.types import Asset, Grid, Scene, Shape, Window
from geohydra.work import Resources, Work

GRID = Grid("EPSG:32633", (1, 0, 500_000, 0, -1, 5_000_000), Shape(150, 200))
CLASSES = ("car", "house")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Noise, not measured from column 160 on."""
    pixels = np.random.default_rng(0).integers(1, 255, (2, 150, 200), np.uint8)
    pixels[:, :, 160:] = 0
    with CogWriter(tmp_path / "scene.tif", grid=GRID, bands=2, dtype="uint8", nodata=0, block=128) as writer:
        writer.write(0, pixels)
    return Scene("place", GRID, (Asset(str(tmp_path / "scene.tif"), ("a", "b"), (1, 2), "uint8", 0.0),))


@pytest.fixture
def trained(tmp_path: Path) -> TrainedModel:
    """A detector that finds many things, none of them for a reason."""
    torch.manual_seed(0)
    network = Fcos(encoder="resnet10t").build(channels=2, classes=2)
    torch.nn.init.constant_(network.get_submodule("head.naming.cls_logits").get_parameter("bias"), -4.0)
    torch.nn.init.normal_(network.get_submodule("head.naming.cls_logits").get_parameter("weight"), std=0.05)
    node = {"_target_": "geohydra.models.detector.Fcos", "encoder": "resnet10t", "weights": None}
    task = {"_target_": "geohydra.tasks.detection.Detection", "classes": list(CLASSES)}
    known = {band: {"mean": 127.0, "std": 60.0} for band in ("a", "b")}
    card = Card(task, node, ("a", "b"), CLASSES, known, (64, 64), stride=16, thresholds={"car": 0.1})
    write_model(tmp_path / "model", network, card)
    return load_model(tmp_path / "model", device="cpu")


def test_files_hold_what_the_row_tells(scene: Scene, trained: TrainedModel, tmp_path: Path) -> None:
    work = Work({}, tmp_path / "work", Resources())
    settings = Prediction(window=64, thresholds={"house": 0.12})

    row = predict_objects(scene, trained, settings, out=tmp_path / "out" / "place", work=work, classes=CLASSES)

    files = {key: tmp_path / "out" / row[key] for key in ("objects_parquet", "objects_geojson", "candidates_parquet", "quicklook")}
    assert all(path.stat().st_size > 0 for path in files.values())
    sure, every = geopandas.read_parquet(files["objects_parquet"]), geopandas.read_parquet(files["candidates_parquet"])
    assert {name: row[f"objects/{name}"] for name in CLASSES} == {name: int((sure["class"] == name).sum()) for name in CLASSES}
    assert 0 < len(sure) < len(every)
    least = every["class"].map({"car": 0.1, "house": 0.12})
    assert len(sure) == (every["score"] >= least).sum()
    assert row["pixels"] == 150 * 160
    assert (row["threshold/car"], row["threshold/house"]) == (0.1, 0.12)


def test_nothing_is_found_where_nothing_was_measured_or_outside_of_the_scene(scene: Scene, trained: TrainedModel) -> None:
    found = find_all(scene, trained, Prediction(window=64))

    assert ((found.boxes[:, 1] + found.boxes[:, 3]) / 2 < 160).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [150, 200, 150, 200]).all()


def test_of_a_frame_only_the_part_that_it_shows_is_looked_at(scene: Scene, trained: TrainedModel) -> None:
    extent = [20, 30, 100, 110]
    part = replace(scene, grid=GRID.at(Window(20, 30, Shape(100, 110))))

    found = find_all(replace(scene, properties={"geohydra:extent": extent}), trained, Prediction(window=64))

    alone = find_all(part, trained, Prediction(window=64))
    assert len(found) > 0
    np.testing.assert_allclose(found.boxes, alone.moved(20, 30).boxes)


def test_the_score_from_which_on_objects_are_told(trained: TrainedModel) -> None:
    assert least_scores(CLASSES, trained, Prediction()).tolist() == [0.1, 0.5]
    assert least_scores(CLASSES, trained, Prediction(thresholds={"car": 0.3})).tolist() == [0.3, 0.5]
    assert least_scores(CLASSES, trained, Prediction(min_score=0.7)).tolist() == [0.7, 0.7]


def test_a_window_that_does_not_suit_the_model_is_refused(scene: Scene, trained: TrainedModel) -> None:
    with pytest.raises(ConfigError, match="no multiple of 16"):
        find_all(scene, trained, Prediction(window=72))
