"""Splits that were made elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from geohydra.build import problems
from geohydra.chips.given import Given, Listed
from geohydra.errors import DataError
from geohydra.types import Shape, Window

CHIP = Shape(64, 64)


@pytest.fixture
def plain(painted):
    return painted(lambda scene, window: [])


@pytest.fixture
def scenes(empty_scene):
    return [empty_scene(f"tile_{place}", 100, 120, x=1000.0 * place) for place in range(10)]


def splits(division):
    return {region.scene: region.split for region in division.regions}


def told(scenes, names):
    return [replace(scene, properties={"geohydra:split": name} if name else {}) for scene, name in zip(scenes, names, strict=True)]


def test_the_source_tells_the_split(scenes, plain):
    names = ["train"] * 5 + ["Validation", "test", "testing", "", "training"]

    division = Given().divide(told(scenes, names), chip=CHIP, content=plain, seed=0)

    assert list(splits(division).values()) == ["train"] * 5 + ["val", "test", "test", "train"]
    assert division.notes == ("1 of 10 scenes are in no list: they are not used.",)


def test_some_training_scenes_are_for_choosing_where_none_is(scenes, plain):
    found = splits(Given(val=0.25).divide(told(scenes, ["train"] * 8 + ["test"] * 2), chip=CHIP, content=plain, seed=0))

    assert [list(found.values()).count(split) for split in ("train", "val", "test")] == [6, 2, 2]
    assert found["tile_8"] == found["tile_9"] == "test"


def test_a_source_that_tells_nothing_is_refused(scenes, plain):
    with pytest.raises(DataError, match=r"none of 10 scenes has the property 'geohydra:split'; choose another split"):
        Given().divide(scenes, chip=CHIP, content=plain, seed=0)


def test_a_word_that_is_no_split_is_refused(scenes, plain):
    with pytest.raises(DataError, match="'holdout' is no split; known are train, val, test"):
        Given().divide(told(scenes, ["holdout"] * 10), chip=CHIP, content=plain, seed=0)


def test_text_files_list_scenes_by_id_or_file(scenes, plain, tmp_path):
    (tmp_path / "train.txt").write_text("tile_0\n\nimages/tile_1.tif\n")
    (tmp_path / "val.txt").write_text("tile_2.tif")
    (tmp_path / "test.txt").write_text("tile_3\r\n")
    lists = {split: str(tmp_path / f"{split}.txt") for split in ("train", "val", "test")}

    found = splits(Listed(lists=lists).divide(scenes, chip=CHIP, content=plain, seed=0))

    assert found == {"tile_0": "train", "tile_1": "train", "tile_2": "val", "tile_3": "test"}


def test_a_csv_lists_scenes(scenes, plain, tmp_path):
    (tmp_path / "list.csv").write_text("split, scene\ntrain, tile_0\nval, tile_1\ntest, tile_2\n")

    found = splits(Listed(lists=str(tmp_path / "list.csv")).divide(scenes, chip=CHIP, content=plain, seed=0))

    assert found == {"tile_0": "train", "tile_1": "val", "tile_2": "test"}


def test_a_csv_lists_windows(scenes, plain, tmp_path):
    (tmp_path / "list.csv").write_text("scene,split,row,col,rows,cols\ntile_0,train,0,0,100,60\ntile_0,val,0,60,100,60\ntile_1,train,,,,\n")

    found = Listed(lists=str(tmp_path / "list.csv")).divide(scenes, chip=CHIP, content=plain, seed=0).regions

    assert [(region.scene, region.split, region.window) for region in found] == [
        ("tile_0", "train", Window(0, 0, Shape(100, 60))),
        ("tile_0", "val", Window(0, 60, Shape(100, 60))),
        ("tile_1", "train", Window(0, 0, Shape(100, 120))),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scene,split\ntile_77,train\n", r"list.csv:2: no scene is called 'tile_77'; did you mean 'tile_"),
        ("scene,split\ntile_0,hold\n", r"list.csv:2: 'hold' is no split"),
        ("name,split\ntile_0,train\n", r"has no column 'scene'; it has name, split"),
        ("scene,split,row,col,rows,cols\ntile_0,train,0,0,101,60\n", r"reaches beyond tile_0, which has 100 x 120 pixels"),
        ("scene,split,row,col,rows,cols\ntile_0,train,0,x,10,60\n", r"list.csv:2: is no window; it needs whole numbers"),
        ("scene,split\ntile_0,train\ntile_0,test\n", r"tile_0 is listed for train and for test"),
    ],
)
def test_mistakes_in_a_csv_are_told_by_line(scenes, plain, tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)

    with pytest.raises(DataError, match=message):
        Listed(lists=str(tmp_path / "list.csv")).divide(scenes, chip=CHIP, content=plain, seed=0)


def test_a_list_for_no_split_is_a_config_error():
    node = {"_target_": "geohydra.chips.given.Listed", "lists": {"trian": "a.txt"}}

    assert problems(node, where="chip.split")
