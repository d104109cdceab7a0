"""Chips around what labels show."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely

from geohydra.build import build, problems
from geohydra.chips.index import Region
from geohydra.chips.label_centred import LabelCentred
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape, Window

SIDE = 400
GRID = Grid("EPSG:32633", (2.0, 0.0, 500_000.0, 0.0, -2.0, 5_000_000.0), Shape(SIDE, SIDE))
CLASSES = ("building", "road")


def box(col, row, side=4):
    left, top = 500_000 + 2 * col, 5_000_000 - 2 * row
    return shapely.box(left, top - 2 * side, left + 2 * side, top)


@pytest.fixture
def polygons(tmp_path):
    """Buildings every 40 pixels from 18 on, a road from edge to edge in row 300."""
    houses = [box(col, row) for row in range(18, 260, 40) for col in range(18, SIDE, 40)]
    road = shapely.box(500_000, 5_000_000 - 604, 500_000 + 2 * SIDE, 5_000_000 - 600)
    frame = geopandas.GeoDataFrame({"class": ["building"] * len(houses) + ["road"]}, geometry=[*houses, road], crs=GRID.crs)
    frame.to_parquet(tmp_path / "labels.parquet")
    labels = LabelAsset(str(tmp_path / "labels.parquet"), "vector", classes=CLASSES)
    return Scene("a", GRID, (Asset("a.tif", ("red",), (1,), "uint8"),), labels)


def everywhere(split="train"):
    return [Region("a", Window(0, 0, GRID.shape), split)]


def train(found):
    return [candidate.window for candidate in found if candidate.split == "train"]


def test_every_building_has_a_chip_before_one_has_two(polygons):
    windows = train(LabelCentred(size=20, count={"building": 70}, jitter=0.0).windows(polygons, everywhere(), seed=0))

    assert len(windows) == 70
    assert {(window.row + 10) // 40 for window in windows} == set(range(7))
    centres = {((window.row + 10) // 40, (window.col + 10) // 40) for window in windows}
    assert len(centres) == 70


def test_what_is_centred_lies_within_the_chip(polygons):
    windows = train(LabelCentred(size=24, count={"building": 500}, jitter=1.0).windows(polygons, everywhere(), seed=1))

    starts = np.array([(window.row, window.col) for window in windows])
    houses = np.array([(row, col) for row in range(18, 260, 40) for col in range(18, SIDE, 40)])
    near = (np.abs(starts[:, None] + 12 - houses - 2) <= 14).all(axis=2).any(axis=1)
    assert near.all()
    assert len(set(windows)) == len(windows) > 300
    assert all(window.within(GRID.shape) for window in windows)


def test_a_long_object_is_shown_along_its_whole_length(polygons):
    windows = train(LabelCentred(size=20, count={"road": 60}).windows(polygons, everywhere(), seed=0))

    cols = [window.col for window in windows]
    assert min(cols) < 40
    assert max(cols) > 340
    assert all(window.row <= 301 and window.row_stop >= 300 for window in windows)


def test_windows_stay_in_their_region(polygons):
    regions = [Region("a", Window(0, 0, Shape(SIDE, 200)), "train"), Region("a", Window(0, 200, Shape(SIDE, 200)), "val")]

    found = LabelCentred(size=50, count=100).windows(polygons, regions, seed=0, classes=CLASSES)

    assert all(window.col_stop <= 200 for window in train(found))
    assert sum(candidate.split == "val" for candidate in found) == 8 * 4


def test_each_class_of_the_task_is_counted(polygons):
    found = LabelCentred(size=20, count=30).windows(polygons, everywhere(), seed=0, classes=["road"])

    assert 20 <= len(train(found)) <= 30
    assert all(window.row_stop >= 300 for window in train(found))


def test_chips_without_labels_come_to_it(polygons):
    few, more = (
        len(train(LabelCentred(size=20, count={"building": 50}, negatives=negatives).windows(polygons, everywhere(), seed=0)))
        for negatives in (0.0, 0.5)
    )

    assert few == 50
    assert more > 100


def test_label_rasters_are_centred_on_their_pixels(make_scene):
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[100:103, 200:203] = 1
    labels[300, :] = 2
    scene = make_scene("a", np.ones((1, SIDE, SIDE), np.uint8), labels, names=CLASSES)

    found = train(LabelCentred(size=20, count=40, jitter=0.0).windows(scene, everywhere(), seed=0, classes=CLASSES))

    houses = [window for window in found if window.row < 200]
    assert {(window.row, window.col) for window in houses} <= {(row, col) for row in range(90, 94) for col in range(190, 194)}
    assert 5 <= len(houses) <= 9
    assert 30 <= sum(window.row == 290 for window in found) <= 40


def test_the_same_seed_gives_the_same_chips(polygons):
    sampling = LabelCentred(size=20, count=30, negatives=0.25)

    one, same, other = (sampling.windows(polygons, everywhere(), seed=seed, classes=CLASSES) for seed in (4, 4, 5))

    assert one == same
    assert one != other


def test_a_cap_keeps_so_many(polygons):
    assert len(LabelCentred(size=20, count=30, cap=7).windows(polygons, everywhere(), seed=0, classes=CLASSES)) == 7


def test_a_scene_that_shows_nothing_has_no_training_chips(polygons):
    assert len(LabelCentred(size=20).windows(polygons, everywhere(), seed=0, classes=["river"])) == 0


def test_classes_that_the_task_does_not_have_are_told():
    node = {"_target_": "geohydra.chips.label_centred.LabelCentred", "count": {"bilding": 3}, "quotas": {"road": 3}}
    assert not problems(node, where="chip")

    found = list(build(node, where="chip").check({"task": SemanticSegmentation(classes=["building", "road"])}))

    assert [str(error) for error in found] == ["chip.count.bilding: the task has no class 'bilding'; did you mean 'building'?"]
