"""Each recipe on a tiny folder in the layout in which the set is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from geohydra.build import build
from geohydra.config.compose import compose
from geohydra.errors import DataError
from geohydra.raster.series import SeriesReader
from geohydra.source import Source
from geohydra.sources.inspection import inspect
from geohydra.types import Scene, Window

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


def _image(
    path: Path, *, bands: int = 3, size: int = 16, value: int | None = None, left: float | None = None, dtype: str = "uint8"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(str(path.relative_to(path.parents[3])).encode()))
    pixels = rng.integers(1, 200, (bands, size, size)) if value is None else np.full((bands, size, size), value)
    place = {} if left is None else {"crs": "EPSG:32632", "transform": Affine(1, 0, left, 0, -1, 5_300_000)}
    driver = {".png": "PNG", ".jpg": "JPEG"}.get(path.suffix, "GTiff")
    with rasterio.open(path, "w", driver=driver, count=bands, width=size, height=size, dtype=dtype, **place) as file:
        file.write(pixels.astype(dtype))


def _scenes(recipe: str, root: Path, folder: Path, *words: str) -> list[Scene]:
    config = compose([f"source={recipe}", f"source.root={root}", *words]).config["source"]
    source: Source = build(config, where="source")
    lock = source.lock()
    looked = inspect(source, lock)
    assert not looked.errors
    assert {row["verdict"] for row in looked.rows} == {"good"}
    folder.mkdir()
    return list(source.scenes(lock, folder, lambda done, total, text: None))


def _features(*properties: dict[str, Any], left: float = 0.0) -> str:
    ring = [[left, 0], [left + 1, 0], [left + 1, 1], [left, 1], [left, 0]]
    found = [{"type": "Feature", "properties": told, "geometry": {"type": "Polygon", "coordinates": [ring]}} for told in properties]
    return json.dumps({"type": "FeatureCollection", "features": found})


def test_spacenet_tiles_find_their_buildings(tmp_path: Path) -> None:
    import geopandas
    import shapely

    area = tmp_path / "sn" / "AOI_2_Vegas"
    for number in (1, 2):
        left = 500_000 + 100 * number
        _image(area / "PS-RGB" / f"SN2_buildings_train_AOI_2_Vegas_PS-RGB_img{number}.tif", left=left, dtype="uint16")
        labels = area / "geojson_buildings" / f"SN2_buildings_train_AOI_2_Vegas_geojson_buildings_img{number}.geojson"
        labels.parent.mkdir(exist_ok=True)
        box = shapely.box(left + 2, 5_299_990, left + 6, 5_299_996)
        geopandas.GeoDataFrame({"HGT": [1.0]}, geometry=[box], crs="EPSG:32632").to_crs("EPSG:4326").to_file(labels, driver="GeoJSON")

    scenes = _scenes("spacenet", tmp_path / "sn", tmp_path / "out")

    assert [scene.properties["geohydra:labels"] for scene in scenes] == [{"building": 1}, {"building": 1}]


def test_xview_boxes_go_to_the_image_that_they_name(tmp_path: Path) -> None:
    for name in ("104", "389"):
        _image(tmp_path / "x" / "train_images" / f"{name}.tif", left=500_000)
    told = [{"image_id": "389.tif", "type_id": kind, "bounds_imcoords": "2,3,7,9"} for kind in (18, 73, 11)]
    (tmp_path / "x" / "xView_train.geojson").write_text(_features(*told))

    scenes = _scenes("xview", tmp_path / "x", tmp_path / "out")

    assert [scene.properties["geohydra:labels"] for scene in scenes] == [{}, {"building": 1, "small car": 1}]


def test_eurosat_folders_are_classes(tmp_path: Path) -> None:
    for name in ("AnnualCrop", "SeaLake"):
        _image(tmp_path / "e" / name / f"{name}_1.tif", bands=13, dtype="uint16", left=500_000)

    scenes = _scenes("eurosat", tmp_path / "e", tmp_path / "out")

    assert [scene.properties["geohydra:class"] for scene in scenes] == ["AnnualCrop", "SeaLake"]
    assert scenes[0].bands[-1] == "nir08"


def test_levir_cd_pairs_keep_their_split(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for part, bands, value in (("A", 3, None), ("B", 3, None), ("label", 1, 255)):
            _image(tmp_path / "l" / split / part / f"{split}_1.png", bands=bands, value=value)

    scenes = _scenes("levir_cd", tmp_path / "l", tmp_path / "out")

    assert {scene.properties["geohydra:split"] for scene in scenes} == {"train", "val", "test"}
    assert all(len(scene.times) == 2 and scene.labels is not None for scene in scenes)
    with SeriesReader(scenes[0]) as reader:
        assert reader.read(Window(0, 0, scenes[0].grid.shape)).pixels.shape == (2, 3, 16, 16)


def test_oscd_bands_are_stacked_for_both_times(tmp_path: Path) -> None:
    for city in ("abudhabi", "paris"):
        for number in (1, 2):
            for band in ("B02", "B8A", "B11"):
                _image(tmp_path / "o" / "images" / city / f"imgs_{number}_rect" / f"{band}.tif", bands=1, dtype="uint16")
        _image(tmp_path / "o" / "labels" / city / "cm" / f"{city}-cm.tif", bands=1, value=2)

    scenes = _scenes("oscd", tmp_path / "o", tmp_path / "out")

    assert [scene.id for scene in scenes] == ["abudhabi", "paris"]
    assert all(set(scene.bands) == {"B02", "B8A", "B11"} and len(scene.times) == 2 and scene.labels for scene in scenes)


def test_viso_frames_have_their_tracks(tmp_path: Path) -> None:
    for sequence in ("001", "002"):
        for frame in (1, 2):
            _image(tmp_path / "v" / sequence / "img" / f"{frame:06d}.jpg")
        (tmp_path / "v" / sequence / "gt").mkdir()
        (tmp_path / "v" / sequence / "gt" / "gt.txt").write_text("1,7,3,4,5,6,1,-1,-1,-1\n2,7,4,4,5,6,1,-1,-1,-1\n")

    scenes = _scenes("viso", tmp_path / "v", tmp_path / "out")

    assert [(scene.properties["geohydra:sequence"], scene.properties["geohydra:frame"]) for scene in scenes] == [
        ("001", 1),
        ("001", 2),
        ("002", 1),
        ("002", 2),
    ]
    assert all(scene.properties["geohydra:labels"] == {"car": 1} for scene in scenes)


def test_a_recipe_without_its_folder_asks_for_it() -> None:
    source: Source = build(compose(["source=eurosat"]).config["source"], where="source")

    with pytest.raises(DataError, match=r"name its folder with source\.root=FOLDER"):
        source.lock()
