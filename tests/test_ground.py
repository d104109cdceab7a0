"""Ground that is told as a whole: every pixel of the scene, and none beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.types import IGNORE, Asset, Grid, LabelAsset, Scene, Shape, Window

GRID = Grid("", (1, 0, 0, 0, 1, 0), Shape(3, 2))


def scene(*classes: str) -> Scene:
    return Scene("a", GRID, (Asset("a.png", ("red",), (1,), "uint8"),), LabelAsset("a.png", "whole", classes=classes))


def test_every_pixel_is_of_the_class_and_none_beside_the_scene() -> None:
    ground = open_ground(scene("water"))
    assert ground is not None

    mask = ground.mask(Window(1, 1, Shape(3, 2)), ids={"road": 0, "water": 1}, background=7)

    assert mask.tolist() == [[1, IGNORE], [1, IGNORE], [IGNORE, IGNORE]]
    assert ground.known(Window(0, 0, GRID.shape)).all()


def test_of_several_classes_the_last_one_asked_for_shows_and_of_none_the_background() -> None:
    whole = Window(0, 0, GRID.shape)
    both, other = open_ground(scene("water", "road")), open_ground(scene("field"))
    assert both is not None
    assert other is not None

    assert (both.mask(whole, ids={"road": 0, "water": 1}, background=7) == 1).all()
    assert (both.mask(whole, ids={"water": 1, "road": 0}, background=7) == 0).all()
    assert (other.mask(whole, ids={"road": 0, "water": 1}, background=7) == 7).all()


def test_objects_are_not_to_be_had(tmp_path: Path) -> None:
    ground = open_ground(scene("water"))
    assert ground is not None

    with pytest.raises(DataError, match="no objects in it"):
        ground.objects(Window(0, 0, GRID.shape))
