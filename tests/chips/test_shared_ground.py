"""Chips of two splits on the same ground."""

from __future__ import annotations

import pytest

from geohydra.chips.index import Chip, Region
from geohydra.chips.shared_ground import shared_ground
from geohydra.types import Shape, Window


def whole(scene, split):
    return Region(scene.id, Window(0, 0, scene.grid.shape), split)


def chip(scene, split, row=0, col=0, side=50):
    return Chip(scene.id, Window(row, col, Shape(side, side)), split)


@pytest.mark.parametrize(("x", "shared"), [(49.0, True), (49.4, True), (49.6, False), (50.0, False), (-49.4, True), (-50.0, False)])
def test_more_than_half_a_pixel_is_shared_ground(empty_scene, x, shared):
    scenes = [empty_scene("a", 50, 50), empty_scene("b", 50, 50, x=x)]

    found = shared_ground(
        [chip(scenes[0], "train"), chip(scenes[1], "test")], [whole(scenes[0], "train"), whole(scenes[1], "test")], scenes
    )

    assert (found is not None) == shared


def test_regions_may_overlap_where_no_chips_do(empty_scene):
    scenes = [empty_scene("a", 100, 100), empty_scene("b", 100, 100)]
    regions = [whole(scenes[0], "train"), whole(scenes[1], "val")]

    assert shared_ground([chip(scenes[0], "train"), chip(scenes[1], "val", 50, 50)], regions, scenes) is None
    assert shared_ground([chip(scenes[0], "train"), chip(scenes[1], "val", 40, 40)], regions, scenes) is not None


def test_ground_is_shared_across_crs_and_resolutions(empty_scene):
    scenes = [
        empty_scene("a", 500, 500, x=500_000, y=5_000_000),
        empty_scene("b", 100, 100, x=14.995, y=45.155, pixel=1e-4, crs="EPSG:4326"),
    ]
    regions = [whole(scenes[0], "train"), whole(scenes[1], "test")]

    found = shared_ground([chip(scenes[0], "train", 0, 0, 500), chip(scenes[1], "test", 0, 0, 100)], regions, scenes)

    assert found is not None
    assert {one.scene for one in found} == {"a", "b"}


def test_images_without_a_place_share_ground_only_with_themselves(empty_scene):
    scenes = [empty_scene(name, 100, 100, crs="") for name in "ab"]
    regions = [whole(scenes[0], "train"), whole(scenes[1], "test"), whole(scenes[1], "val")]

    assert shared_ground([chip(scenes[0], "train"), chip(scenes[1], "test")], regions, scenes) is None
    assert shared_ground([chip(scenes[1], "val"), chip(scenes[1], "test")], regions, scenes) is not None


def test_what_a_chip_reaches_beyond_its_image_is_no_ground(empty_scene):
    scenes = [empty_scene("a", 40, 40), empty_scene("b", 40, 40, x=40.0)]
    regions = [whole(scenes[0], "train"), whole(scenes[1], "test")]

    assert shared_ground([chip(scenes[0], "train"), chip(scenes[1], "test")], regions, scenes) is None
