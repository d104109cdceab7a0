"""Boxes to learn come from labels, upright or turned; what shows too little is left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import torch
from shapely import affinity

from geohydra.build import build
from geohydra.errors import ConfigError, Problems
from geohydra.ground import open_ground
from geohydra.models.detector_network import Answer
from geohydra.task import Ground, Rows
from geohydra.tasks.detection import Detection, DetectionScores, chips_of
from geohydra.types import Grid, LabelAsset, Scene, Shape, Window

GRID = Grid("EPSG:32633", (1, 0, 500_000, 0, -1, 5_000_000), Shape(64, 64))
CAR = affinity.rotate(shapely.box(10, 10, 20, 14), 30, origin="center")


def ground(tmp_path: object, shapes: Sequence[tuple[str, object]]) -> Ground:
    """Labels by their outlines in columns and rows."""
    moved = [affinity.affine_transform(shape, [1, 0, 0, -1, 500_000, 5_000_000]) for _, shape in shapes]
    frame = geopandas.GeoDataFrame({"class": [name for name, _ in shapes]}, geometry=moved, crs="EPSG:32633")
    path = f"{tmp_path}/labels.parquet"
    frame.to_parquet(path)
    scene = Scene("scene", GRID, (SimpleNamespace(bands=("red",), time=None),), LabelAsset(path, "vector"))  # type: ignore[arg-type]
    found = open_ground(scene)
    assert found is not None
    return found


def values(target: object) -> np.ndarray:
    assert isinstance(target, Rows)
    return target.values


def test_objects_become_boxes_and_what_shows_too_little_is_ignored(tmp_path: object) -> None:
    labels = ground(
        tmp_path, [("car", shapely.box(2, 4, 6, 10)), ("house", shapely.box(28, 0, 40, 8)), ("car", shapely.box(30, 20, 40, 30))]
    )
    task = Detection(classes=["house", "car"], min_share=0.5)

    target = task.target(labels, Window(0, 0, Shape(32, 36)))

    assert values(target["boxes"]).tolist() == [[4, 2, 10, 6], [0, 28, 8, 36], [20, 30, 30, 36]]
    assert values(target["classes"]).tolist() == [1, 0, 1]
    narrow = task.target(labels, Window(0, 0, Shape(32, 33)))
    assert values(narrow["boxes"]).tolist() == [[4, 2, 10, 6]]
    assert values(narrow["ignored"]).tolist() == [[0, 28, 8, 33], [20, 30, 30, 33]]


def test_labels_that_nobody_asked_for_are_background_and_ignored_ones_are_left_out(tmp_path: object) -> None:
    labels = ground(
        tmp_path, [("car", shapely.box(2, 4, 6, 10)), ("tree", shapely.box(12, 4, 16, 10)), ("bus", shapely.box(22, 4, 26, 10))]
    )

    target = Detection(classes=["car"], ignore=["bus"]).target(labels, Window(0, 0, Shape(32, 32)))

    assert values(target["boxes"]).tolist() == [[4, 2, 10, 6]]
    assert values(target["ignored"]).tolist() == [[4, 22, 10, 26]]


def test_turned_boxes_are_the_smallest_rectangles_around_whole_outlines(tmp_path: object) -> None:
    labels = ground(tmp_path, [("car", CAR)])

    target = Detection(classes=["car"], oriented=True).target(labels, Window(2, 3, Shape(32, 32)))

    found = shapely.polygons(values(target["corners"])[0][:, ::-1] + [3, 2])
    assert found.symmetric_difference(CAR).area < 1e-3
    empty = Detection(classes=["bus"], oriented=True).target(labels, Window(0, 0, Shape(32, 32)))
    assert values(empty["corners"]).shape == (0, 4, 2)


def batch() -> dict[str, torch.Tensor]:
    valid = torch.ones(1, 32, 32, dtype=torch.bool)
    valid[:, :, 24:] = False
    return {
        "image": torch.zeros(1, 1, 32, 32),
        "valid": valid,
        "boxes": torch.tensor([[[2.0, 2, 10, 10], [2, 25, 10, 31], [math.nan] * 4]]),
        "classes": torch.tensor([[0, 0, -1]]),
        "ignored": torch.tensor([[[16.0, 0, 32, 12]]]),
    }


def outputs(*boxes: Sequence[float]) -> Answer:
    count = len(boxes)
    found = {"boxes": torch.tensor(boxes), "scores": torch.linspace(0.9, 0.5, count), "classes": torch.zeros(count, dtype=torch.int64)}
    return Answer({"part": torch.ones(())}, [found])


def test_what_was_not_measured_is_no_object_and_finds_on_ignored_ground_do_not_count() -> None:
    found, truths = chips_of(outputs([2.0, 2, 10, 10], [17, 1, 30, 10], [12, 14, 20, 20]), batch())

    assert truths[0][0].tolist() == [[2, 2, 10, 10]]
    assert found[0].boxes.tolist() == [[2, 2, 10, 10], [12, 14, 20, 20]]


def test_a_perfect_answer_scores_one() -> None:
    scores = DetectionScores(("car",))

    scores.update(outputs([2.0, 2, 10, 10]), batch())

    assert scores.compute()["map50"] == pytest.approx(1.0)
    assert scores.thresholds == {"car": pytest.approx(0.9)}


def test_losses_are_added_up_by_their_weights() -> None:
    settings = {"_target_": "geohydra.training.detector_loss.DetectorLoss", "weights": {"boxes": 2.0}}
    loss = build(settings, where="loss").build({})
    task = Detection(classes=["car"])

    assert float(task.loss(loss, Answer({"boxes": torch.tensor(3.0), "classes": torch.tensor(1.0)}), {})) == 7.0
    with pytest.raises(ConfigError, match="no loss 'boxes'"):
        task.loss(loss, Answer({"classification": torch.tensor(1.0)}), {})


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"classes": []}, "at least 1"),
        ({"classes": ["car", "car"]}, "stands there twice"),
        ({"classes": ["car"], "colors": {"cat": "#ffffff"}}, "no class 'cat'"),
    ],
)
def test_mistakes_in_the_config_are_told(node: dict[str, object], words: str) -> None:
    with pytest.raises((ConfigError, Problems), match=words):
        build({"_target_": "geohydra.tasks.detection.Detection", **node}, where="task")


def test_the_model_must_find_objects_and_turned_ones_where_asked() -> None:
    boxes = build({"_target_": "geohydra.models.detector.RetinaNet"}, where="model")
    pixels = build({"_target_": "geohydra.models.smp.SmpModel"}, where="model")
    plain, turned = Detection(classes=["car"]), Detection(classes=["car"], oriented=True)

    assert list(plain.check({"model": boxes})) == []
    assert [error.problem for error in plain.check({"model": pixels})] == ["finds no objects"]
    assert "upright boxes only" in next(iter(turned.check({"model": boxes}))).problem


def test_objects_on_ignored_ground_are_neither_to_be_found_nor_background(tmp_path: Path) -> None:
    grid = Grid("EPSG:32632", (1, 0, 0, 0, -1, 0), Shape(64, 64))
    boxes = [shapely.box(4, -20, 20, -4), shapely.box(40, -60, 60, -40)]
    frame = geopandas.GeoDataFrame({"class": ["car", "car"]}, geometry=boxes, crs=grid.crs)
    frame.to_parquet(tmp_path / "labels.parquet")
    off = geopandas.GeoDataFrame({"class": ["?"]}, geometry=[shapely.box(32, -64, 64, -32)], crs=grid.crs)
    off.to_parquet(tmp_path / "off.parquet")
    ignored = str(tmp_path / "off.parquet")
    scene = Scene("a", grid, (), LabelAsset(str(tmp_path / "labels.parquet"), "vector", ignored=ignored))
    ground = open_ground(scene)
    assert ground is not None

    target: Any = Detection(classes=["car"]).target(ground, Window(0, 0, grid.shape))

    assert target["boxes"].values.tolist() == [[4, 4, 20, 20]]
    assert target["ignored"].values.tolist() == [[40, 40, 60, 60]]
    assert target["known"].sum() == 64 * 64 - 32 * 32
    assert not target["known"][32:, 32:].any()
