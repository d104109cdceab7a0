"""Dividing the ground."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.build import problems
from geohydra.chips.apart import least_distance, overlaps
from geohydra.chips.splits import Blocks, ByScene
from geohydra.errors import DataError
from geohydra.types import Asset, Grid, Scene, Shape, Window

CHIP = Shape(64, 64)


@pytest.fixture
def plain(painted):
    return painted(lambda scene, window: [])


def scene(name, rows, cols, *, x=0.0, y=0.0, pixel=1.0, crs="EPSG:32633", turn=0.0):
    grid = Grid(crs, (pixel, turn, x, turn, -pixel, y), Shape(rows, cols))
    return Scene(name, grid, (Asset(f"{name}.tif", ("red",), (1,), "uint8"),))


def by_split(division):
    return {split: [region for region in division.regions if region.split == split] for split in ("train", "val", "test")}


def test_scenes_are_shared_out_by_fractions(plain):
    scenes = [scene(f"s{place}", 100, 100, x=1000.0 * place) for place in range(20)]

    found = by_split(ByScene(val=0.2, test=0.1).divide(scenes, chip=CHIP, content=plain, seed=0))

    assert {split: len(regions) for split, regions in found.items()} == {"train": 14, "val": 4, "test": 2}


def test_scenes_can_be_named_by_patterns(plain):
    scenes = [scene(name, 100, 100, x=1000.0 * place) for place, name in enumerate(["a1", "a2", "b1", "c1"])]

    found = by_split(ByScene(val=["b1"], test=["c*"]).divide(scenes, chip=CHIP, content=plain, seed=0))

    assert [[region.scene for region in regions] for regions in found.values()] == [["a1", "a2"], ["b1"], ["c1"]]


def test_a_name_without_a_scene_is_told_with_the_nearest_one(plain):
    with pytest.raises(DataError, match="did you mean 'north'"):
        ByScene(val=["nort"], test=0.0).divide([scene("north", 9, 9), scene("south", 9, 9, x=99.0)], chip=CHIP, content=plain, seed=0)


def test_a_scene_named_twice_is_refused(plain):
    with pytest.raises(DataError, match="for val and for test"):
        ByScene(val=["a"], test=["*"]).divide([scene("a", 9, 9)], chip=CHIP, content=plain, seed=0)


def test_one_scene_cannot_be_split_by_scene(plain):
    with pytest.raises(DataError, match="chip/split=blocks"):
        ByScene().divide([scene("only", 500, 500)], chip=CHIP, content=plain, seed=0)


def test_scenes_of_the_same_ground_go_together(plain):
    scenes = [scene(f"{when}{place}", 100, 100, x=1000.0 * place) for place in range(8) for when in ("may", "june")]

    division = ByScene(val=0.25, test=0.25).divide(scenes, chip=CHIP, content=plain, seed=3)

    split = {region.scene: region.split for region in division.regions}
    assert all(split[f"may{place}"] == split[f"june{place}"] for place in range(8))
    assert not division.notes


def test_named_scenes_that_overlap_are_told(plain):
    scenes = [scene("a", 100, 100), scene("b", 100, 100, x=50.0)]

    division = ByScene(val=["b"], test=0.0).divide(scenes, chip=CHIP, content=plain, seed=0)

    assert "show the same ground" in division.notes[0]


def test_rare_classes_decide_where_scenes_go(painted):
    scenes = [scene(f"s{place}", 100, 100, x=1000.0 * place) for place in range(12)]
    rare = painted(lambda name, window: [float(name in {"s3", "s6", "s9"})])

    division = ByScene(val=0.2, test=0.2).divide(scenes, chip=CHIP, content=rare, seed=0)

    assert {region.split for region in division.regions if region.scene in {"s3", "s6", "s9"}} == {"train", "val", "test"}


def test_blocks_cover_a_scene_without_overlap(plain):
    division = Blocks(size=128, unit="px").divide([scene("a", 512, 700)], chip=CHIP, content=plain, seed=0)

    seen = np.zeros((512, 700), int)
    for region in division.regions:
        seen[region.window.slices] += 1
    assert seen.min() == seen.max() == 1
    assert {region.split for region in division.regions} == {"train", "val", "test"}


def test_blocks_are_measured_in_metres_of_the_ground(plain):
    degree = scene("a", 1000, 1000, x=10.0, y=60.0, pixel=1e-5, crs="EPSG:4326")

    windows = [region.window for region in Blocks(size=110).divide([degree], chip=CHIP, content=plain, seed=0).regions]

    assert {window.row % 100 for window in windows} == {0}
    assert {window.col % 200 for window in windows} == {0}


def test_small_scenes_that_adjoin_are_gathered_by_location(plain):
    scenes = [scene(f"{row}-{col}", 512, 512, x=512.0 * col, y=-512.0 * row) for row in range(8) for col in range(6)]

    division = Blocks(size=1024).divide(scenes, chip=Shape(512, 512), content=plain, seed=2)

    split = {region.scene: region.split for region in division.regions}
    assert all(region.window == Window(0, 0, Shape(512, 512)) for region in division.regions)
    blocks = [[split[f"{row}-{col}"] for row in (top, top + 1) for col in (left, left + 1)] for top in (0, 2, 4, 6) for left in (0, 2, 4)]
    assert all(len(set(block)) == 1 for block in blocks)
    assert set(split.values()) == {"train", "val", "test"}


def test_overlapping_scenes_share_their_blocks(plain):
    scenes = [scene("a", 600, 600), scene("b", 600, 600, x=300.0, y=-200.0)]

    division = Blocks(size=150).divide(scenes, chip=CHIP, content=plain, seed=1)

    assert not overlaps(division.regions, scenes)
    assert sum(region.window.shape.size for region in division.regions) > 0.99 * 2 * 600 * 600


def test_scenes_that_overlap_askew_lose_ground_rather_than_leak(plain):
    scenes = [scene("a", 600, 600), scene("b", 600, 600, x=303.4, y=-201.7, pixel=0.9, turn=0.1)]

    division = Blocks(size=150).divide(scenes, chip=CHIP, content=plain, seed=1)

    assert not overlaps(division.regions, scenes)
    assert "between splits" in division.notes[0]


def test_scenes_in_other_crs_do_not_leak(plain):
    scenes = [
        scene("a", 600, 600, x=500_000.0, y=5_000_000.0),
        scene("b", 600, 600, x=15.0, y=45.1535, pixel=1e-5, crs="EPSG:4326"),
    ]

    division = Blocks(size=150).divide(scenes, chip=CHIP, content=plain, seed=1)

    assert not overlaps(division.regions, scenes)


def test_images_without_a_place_never_overlap(plain):
    scenes = [scene(name, 256, 256, crs="", y=0.0) for name in "abcdef"]

    division = Blocks(size=256, unit="px", val=0.2, test=0.2).divide(scenes, chip=CHIP, content=plain, seed=0)

    assert len(division.regions) == 6
    assert not division.notes


def test_a_buffer_keeps_splits_apart(plain):
    scenes = [scene("a", 1024, 1024, pixel=2.0)]

    division = Blocks(size=512, buffer=40).divide(scenes, chip=CHIP, content=plain, seed=0)

    assert least_distance(division.regions, scenes) >= 40
    assert least_distance(division.regions, scenes, one="train", other="val") >= 40


def test_without_a_size_a_small_scene_still_has_every_split(plain):
    division = Blocks().divide([scene("a", 256, 256)], chip=CHIP, content=plain, seed=0)

    assert {region.split for region in division.regions} == {"train", "val", "test"}
    assert sum(region.window.shape.size for region in division.regions) == 256 * 256


def test_too_few_blocks_are_refused(plain):
    with pytest.raises(DataError, match=r"1 part of the ground cannot give train, val, test; choose a smaller chip\.split\.size"):
        Blocks(size=5000).divide([scene("a", 256, 256)], chip=CHIP, content=plain, seed=0)


def test_blocks_smaller_than_a_chip_are_refused(plain):
    with pytest.raises(DataError, match=r"blocks of 100 m are 50 pixels, too small for chips of 64; take 128 or more"):
        Blocks(size=100).divide([scene("a", 256, 256, pixel=2.0)], chip=CHIP, content=plain, seed=0)


@given(st.integers(64, 700), st.integers(64, 700))
def test_blocks_of_one_scene_hold_at_least_one_chip(rows, cols):
    flat = type("Flat", (), {"weights": staticmethod(lambda name, window: np.array([float(window.shape.size)]))})()

    division = Blocks(test=0.0).divide([scene("a", 3 * rows, cols)], chip=CHIP, content=flat, seed=0)

    assert all(region.window.shape.rows >= 64 and region.window.shape.cols >= 64 for region in division.regions)


def test_a_split_of_nothing_is_left_out(plain):
    found = by_split(Blocks(size=64, test=0.0).divide([scene("a", 256, 256)], chip=CHIP, content=plain, seed=0))

    assert not found["test"]
    assert found["val"]


def test_fractions_that_leave_nothing_for_training_are_a_config_error():
    node = {"_target_": "geohydra.chips.splits.Blocks", "val": 0.5, "test": 0.5}

    assert "leave nothing for training" in str(problems(node, where="chip.split")[0])


PLACE = st.tuples(st.integers(0, 900), st.integers(0, 900), st.integers(30, 400), st.integers(30, 400))


@settings(max_examples=25, deadline=None)
@given(
    places=st.lists(PLACE, min_size=1, max_size=6),
    size=st.integers(40, 300),
    seed=st.integers(0, 99),
)
def test_no_ground_is_ever_in_two_splits(places, size, seed):
    scenes = [scene(str(place), rows, cols, x=float(x), y=-float(y)) for place, (x, y, rows, cols) in enumerate(places)]
    flat = type("Flat", (), {"weights": staticmethod(lambda name, window: np.array([float(window.shape.size)]))})()
    try:
        division = Blocks(size=size, val=0.2, test=0.2).divide(scenes, chip=Shape(32, 32), content=flat, seed=seed)
    except DataError:
        return
    ground = {}
    for region in division.regions:
        x, y, _, _ = places[int(region.scene)]
        marks = ground.setdefault(region.split, np.zeros((1400, 1400), bool))
        marks[y + region.window.row : y + region.window.row_stop, x + region.window.col : x + region.window.col_stop] = True
    assert not any((one & other).any() for one, other in combinations(ground.values(), 2))
