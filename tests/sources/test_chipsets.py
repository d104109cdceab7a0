from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine

from geohydra.errors import ConfigError, DataError
from geohydra.ground import open_ground
from geohydra.sources.chipset_formats import Boxes, ClassFolders, Coco, Features, Layout, Masks, Records, Table
from geohydra.sources.chipsets import Chips
from geohydra.sources.inspection import inspect
from geohydra.types import Scene, Shape, Window

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


def _chip(path: Path, *, left: float | None = None, bands: int = 3, value: int = 5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {} if left is None else {"crs": "EPSG:32632", "transform": Affine(2, 0, left, 0, -2, 5_300_000)}
    driver = "PNG" if path.suffix == ".png" else "GTiff"
    with rasterio.open(path, "w", driver=driver, count=bands, width=12, height=10, dtype="uint8", **place) as file:
        file.write(np.full((bands, 10, 12), value, np.uint8))


def _scenes(folder: Path, labels: Layout | None, **told: Any) -> list[Scene]:
    source = Chips(images=f"{folder}/**/*.{{png,tif}}", labels=labels, **told)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return list(source.scenes(source.lock(), out, lambda done, total, text: None))


def _by_id(scenes: list[Scene], key: str) -> dict[str, Any]:
    return {scene.id: scene.properties.get(key) for scene in scenes}


def test_folders_are_classes(tmp_path: Path) -> None:
    for name in ("river/1", "forest/2", "forest/3"):
        _chip(tmp_path / f"{name}.png")

    scenes = _scenes(tmp_path, ClassFolders(), class_mapping={"river": "water", "forest": "forest"})

    assert sorted(_by_id(scenes, "geohydra:class").values()) == ["forest", "forest", "water"]
    assert all(scene.labels is not None and scene.labels.kind == "whole" and scene.grid.crs == "" for scene in scenes)


def test_a_table_tells_class_and_split(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _chip(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("filename,label,set\na.png,ship,train\nb,car,validation\nc.png,car,train\n")

    scenes = _scenes(tmp_path, Table(file=f"{tmp_path}/t.csv", split="set"), split_names={"validation": "val"})

    assert _by_id(scenes, "geohydra:class") == {"a": "ship", "b": "car"}
    assert _by_id(scenes, "geohydra:split") == {"a": "train", "b": "val"}
    assert "1 images that it names are not there, such as c.png" in (tmp_path / "out" / "notes.txt").read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path,label\na.png,ship car\nb.png,\n", {"separator": " "}),
        ("path,ship,car\na.png,1,true\nb.png,0,\n", {"columns": ["ship", "car"]}),
    ],
)
def test_several_classes_of_one_chip_are_a_list(tmp_path: Path, text: str, told: dict[str, Any]) -> None:
    for name in ("a", "b"):
        _chip(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text(text)

    scenes = _scenes(tmp_path, Table(file=f"{tmp_path}/t.csv", **told))

    assert _by_id(scenes, "geohydra:classes") == {"a": ["ship", "car"], "b": []}


def test_records_tell_classes_that_are_true(tmp_path: Path) -> None:
    _chip(tmp_path / "a.png")
    (tmp_path / "l.json").write_text(json.dumps([{"file": "a.png", "present": {"road": True, "water": False, "wood": True}}]))

    scenes = _scenes(tmp_path, Records(file=f"{tmp_path}/l.json", label="present"))

    assert _by_id(scenes, "geohydra:classes") == {"a": ["road", "wood"]}


def _coco(folder: Path, *annotations: dict[str, Any]) -> Coco:
    images = [{"id": 1, "file_name": "a.tif"}, {"id": 2, "file_name": "b.tif"}]
    told = {"images": images, "annotations": list(annotations), "categories": [{"id": 3, "name": "ship"}]}
    (folder / "c.json").write_text(json.dumps(told))
    return Coco(file=f"{folder}/c.json")


def test_coco_outlines_and_boxes_lie_on_the_ground(tmp_path: Path) -> None:
    for place, name in enumerate("ab"):
        _chip(tmp_path / f"{name}.tif", left=500_000 + 100 * place)
    outline = {"image_id": 1, "category_id": 3, "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]], "bbox": [1, 1, 4, 3]}
    box = {"image_id": 1, "category_id": 3, "bbox": [6, 6, 2, 3]}
    crowd = {"image_id": 2, "category_id": 3, "bbox": [6, 6, 2, 3], "iscrowd": 1}

    scenes = _scenes(tmp_path, _coco(tmp_path, outline, box, crowd))
    ground = open_ground(scenes[0])

    assert _by_id(scenes, "geohydra:labels") == {"a": {"ship": 2}, "b": {}}
    frame = geopandas.read_parquet(str(scenes[0].labels.uri if scenes[0].labels else ""))
    assert frame.crs == "EPSG:32632"
    assert tuple(frame.geometry[0].bounds) == (500_002, 5_299_992, 500_010, 5_299_998)
    assert ground is not None
    mask = ground.mask(Window(0, 0, Shape(10, 12)), ids={"ship": 1}, background=0)
    assert mask.sum() == 4 * 3 + 2 * 3


def test_runs_of_pixels_in_coco_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        _chip(tmp_path / f"{name}.tif")

    with pytest.raises(DataError, match="RLE"):
        _scenes(
            tmp_path, _coco(tmp_path, {"id": 9, "image_id": 1, "category_id": 3, "segmentation": {"counts": "x"}, "bbox": [0, 0, 1, 1]})
        )


def test_boxes_stand_in_a_table_for_each_chip(tmp_path: Path) -> None:
    for name in "ab":
        _chip(tmp_path / f"{name}.png")
    (tmp_path / "a.csv").write_text("xmin,ymin,xmax,ymax,label\n1,2,4,5,Tree\n20,2,24,5,Tree\n3,3,3,9,Tree\n")

    source = Chips(images=f"{tmp_path}/*.png", labels=Boxes(files=f"{tmp_path}/*.csv"), classes=["Tree"])
    found = inspect(source, source.lock())

    assert [(row["scene"], row["labels"]) for row in found.rows] == [("a", "Tree 1"), ("b", "none")]
    assert any("2 boxes or outlines were left out" in note for note in found.warnings)
    assert any("1 of 2 chips have no labels, such as b" in note for note in found.warnings)


def test_boxes_of_all_chips_stand_in_one_table(tmp_path: Path) -> None:
    for name in "ab":
        _chip(tmp_path / f"{name}.png")
    (tmp_path / "all.csv").write_text("image_path,xmin,ymin,xmax,ymax\na.png,1,2,4,5\nb.png,1,2,4,5\nb.png,5,5,9,9\n")

    scenes = _scenes(tmp_path, Boxes(files=f"{tmp_path}/all.csv", path="image_path"), classes=["tree"])

    assert _by_id(scenes, "geohydra:labels") == {"a": {"tree": 1}, "b": {"tree": 2}}


def test_masks_stand_beside_their_chips(tmp_path: Path) -> None:
    for name in "ab":
        _chip(tmp_path / "images" / f"{name}.png")
        _chip(tmp_path / "masks" / f"{name}_mask.png", bands=1, value=1)
    images = f"{tmp_path}/images/*.png"
    source = Chips(images=images, labels=Masks(files=f"{tmp_path}/masks/*_mask.png", images=images, values={1: "building"}))

    (tmp_path / "out").mkdir()
    scenes = list(source.scenes(source.lock(), tmp_path / "out", lambda done, total, text: None))
    ground = open_ground(scenes[1])

    assert ground is not None
    assert (ground.mask(Window(0, 0, Shape(10, 12)), ids={"building": 4}, background=0) == 4).all()


def test_masks_of_equal_names_need_no_pattern(tmp_path: Path) -> None:
    _chip(tmp_path / "images" / "a.png")
    _chip(tmp_path / "masks" / "a.png", bands=1, value=1)
    source = Chips(images=f"{tmp_path}/images/*.png", labels=Masks(files=f"{tmp_path}/masks/*.png", values={1: "building"}))

    (row,) = inspect(source, source.lock()).rows

    assert row["labels"] == "raster"


def test_splits_come_from_folders_or_lists(tmp_path: Path) -> None:
    for name in ("train/a", "test/b"):
        _chip(tmp_path / "set" / f"{name}.png")
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "test.txt").write_text("test/b.png\n\n")
    lists = {"train": f"{tmp_path}/train.txt", "test": f"{tmp_path}/test.txt"}

    by_folder = _scenes(tmp_path / "set", None, split="/(?P<split>train|test)/")
    by_list = _scenes(tmp_path / "set", None, split_lists=lists)

    assert _by_id(by_folder, "geohydra:split") == _by_id(by_list, "geohydra:split") == {"a": "train", "b": "test"}


def test_a_chip_in_two_splits_is_refused(tmp_path: Path) -> None:
    _chip(tmp_path / "a.png")
    (tmp_path / "l.txt").write_text("a\n")

    with pytest.raises(DataError, match="is in 'train' too"):
        _scenes(tmp_path, None, split_lists={"train": f"{tmp_path}/l.txt", "test": f"{tmp_path}/l.txt"})


def test_labels_of_no_chip_at_all_are_an_error(tmp_path: Path) -> None:
    _chip(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("path,label\nx/other.png,ship\n")

    with pytest.raises(DataError, match="no label goes with any of the images"):
        _scenes(tmp_path, Table(file=f"{tmp_path}/t.csv"))


def test_a_name_that_two_chips_have_is_refused(tmp_path: Path) -> None:
    for name in ("1/a", "2/a"):
        _chip(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("path,label\na.png,ship\n")

    with pytest.raises(DataError, match=r"may be .*1/a\.png or .*2/a\.png"):
        _scenes(tmp_path, Table(file=f"{tmp_path}/t.csv"))


def test_chips_with_other_bands_are_named(tmp_path: Path) -> None:
    for name, bands in (("a", 3), ("b", 3), ("c", 1)):
        _chip(tmp_path / f"{name}.tif", bands=bands)

    with pytest.raises(DataError, match=r"c\.tif: has the bands"):
        _scenes(tmp_path, None)


def test_an_unknown_class_is_refused_with_its_chip(tmp_path: Path) -> None:
    _chip(tmp_path / "boat" / "a.png")

    with pytest.raises(DataError, match=r"a\.png: has the unknown class 'boat'; known are ship"):
        _scenes(tmp_path, ClassFolders(), classes=["ship"])


def test_what_is_no_layout_is_refused() -> None:
    with pytest.raises(ConfigError, match="no layout of labels"):
        Chips(images="*.png", labels="classes.csv")


@pytest.mark.parametrize(
    ("labels", "text", "message"),
    [
        (lambda uri: Table(file=uri), "file,kind\na,b\n", "has no column 'label'"),
        (lambda uri: Table(file=uri), "x,label\na,b\n", "no column that names images"),
        (lambda uri: Table(file=uri), "path,label\na,b,c\n", "line 2: has 3 cells"),
        (lambda uri: Records(file=uri), "{}", "holds no JSON list"),
        (lambda uri: Records(file=uri), '[{"file": "a"}]', "has no key 'label'"),
        (lambda uri: Coco(file=uri), "[]", "holds no JSON object"),
        (lambda uri: Coco(file=uri), "{}", "has no 'images'"),
        (lambda uri: Features(file=uri), '{"features": [{"properties": {}}]}', "has no property 'image_id'"),
        (lambda uri: Boxes(files=uri, path="path"), "path,xmin,ymin,xmax,ymax\na,1,2,x,4\n", "'x' is no number"),
    ],
)
def test_broken_labels_are_named(tmp_path: Path, labels: Any, text: str, message: str) -> None:
    _chip(tmp_path / "a.png")
    (tmp_path / "labels.txt").write_text(text)
    source = Chips(images=f"{tmp_path}/*.png", labels=labels(f"{tmp_path}/labels.txt"), classes=["b"])

    found = inspect(source, source.lock())

    assert message in str(found.errors[0])
    assert "labels.txt" in str(found.errors[0])
