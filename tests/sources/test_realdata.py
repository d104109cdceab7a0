"""Real imagery of many kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geohydra.errors import Problems
from geohydra.ground import open_ground
from geohydra.raster.files import open_raster
from geohydra.raster.read import SceneReader
from geohydra.sources.files import Files
from geohydra.sources.inspection import inspect
from geohydra.types import Scene, Shape, Window

pytestmark = pytest.mark.realdata


def gathered(out: Path, **settings: Any) -> list[Scene]:
    source = Files(**settings)
    return list(source.scenes(source.lock(), out, lambda done, total, text: None))


def mask(scene: Scene, *names: str) -> np.ndarray:
    ground = open_ground(scene)
    assert ground is not None
    return ground.mask(Window(0, 0, scene.grid.shape), ids={name: place for place, name in enumerate(names, start=1)}, background=0)


def test_footprints_lie_on_the_same_pixels_as_the_masks_made_of_them(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "banepa_buildings" / "train"

    scenes = gathered(tmp_path, images=f"{folder}/oam/*.tif", labels=f"{folder}/osm/buildings.geojson", classes=["building"])

    assert len(scenes) == 48
    for scene in scenes[::12]:
        with rasterio.open(folder / "masks" / f"{scene.id}.tif") as file:
            assert (mask(scene, "building") == file.read(1)).mean() > 0.9999


def test_masks_find_their_images_by_name(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "banepa_buildings" / "train"

    scenes = gathered(tmp_path, images=f"{folder}/oam/*.tif", labels=f"{folder}/masks/*.tif", label_values={1: "building"})

    assert all(scene.labels and scene.labels.uri.endswith(f"masks/{scene.id}.tif") for scene in scenes)


def test_the_words_of_openstreetmap_become_classes(realdata: Path) -> None:
    folder = realdata / "banepa_buildings" / "train"
    source = Files(
        images=f"{folder}/oam/*.tif",
        labels=f"{folder}/osm/buildings.geojson",
        class_property="building",
        class_mapping={"school": "school", "*": "building"},
    )

    assert inspect(source, source.lock()).classes == {"school", "building"}


def test_clouds_without_a_crs_are_read_in_pixels(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "clouds_s2_l5"
    values = {0: "shadow", 1: "water", 3: "land", 4: "cloud"}

    scenes = gathered(tmp_path, images=f"{folder}/*_image.tif", labels=f"{folder}/*_mask.tif", label_values=values, allow_no_crs=True)

    assert [scene.id for scene in scenes] == ["landsat5_image", "sentinel2_image"]
    assert scenes[0].bands == ("blue", "green", "red", "nir", "swir16", "swir22")
    with open_raster(str(folder / "sentinel2_mask.tif")) as file:
        assert ((mask(scenes[1], "cloud") == 1) == (file.read(1) == 4)).all()


def test_clouds_without_a_crs_are_refused_unless_allowed(realdata: Path, tmp_path: Path) -> None:
    with pytest.raises(Problems, match="has no coordinate reference system"):
        gathered(tmp_path, images=f"{realdata}/clouds_s2_l5/*_image.tif")


def test_files_of_two_resolutions_are_one_scene_on_the_finer_grid(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "landsat8_elkton_multires"

    [scene] = gathered(
        tmp_path,
        images=f"{folder}/L8-B*-Elkton-VA.tiff",
        labels=f"{folder}/L8-Labels-Elkton-VA.geojson",
        scene=r"L8-(?P<band>B\w+)-(?P<scene>Elkton)-VA",
        bands={"blue": "B2", "red": "B4", "pan": "B8"},
        class_property="id",
        class_mapping={0: "first", 1: "second", 2: "third"},
    )

    assert (scene.bands, scene.grid.shape) == (("blue", "red", "pan"), Shape(337, 371))
    assert {int(value) for value in np.unique(mask(scene, "first", "second", "third"))} == {0, 1, 2, 3}
    with SceneReader(scene) as reader:
        image = reader.read(Window(100, 100, Shape(64, 64)))
    assert image.valid.all()
    assert np.corrcoef(image.pixels[1].ravel(), image.pixels[2].ravel())[0, 1] > 0.6


def test_the_same_band_in_two_crs_is_refused(realdata: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="is a second band B4 of scene Elkton"):
        gathered(tmp_path, images=f"{realdata}/landsat8_elkton_multires/L8-B*.tiff", scene=r"L8-(?P<band>B\w+)-(?P<scene>Elkton)")


def test_sparse_polygons_are_named_by_their_property(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "landsat7_nc_landcover"

    [scene] = gathered(tmp_path, images=f"{folder}/landsat7_2000.tif", labels=f"{folder}/polygons.geojson", class_property="label")

    counts = scene.properties["geohydra:labels"]
    assert sum(counts.values()) >= 33
    assert set(counts) == {"agriculture", "developed", "forest", "herbaceous", "sediment", "shrubland", "water"}
    assert 0.005 < (mask(scene, *counts) > 0).mean() < 0.02


def test_points_are_no_labels_of_areas(realdata: Path) -> None:
    folder = realdata / "landsat7_nc_landcover"
    source = Files(images=f"{folder}/landsat7_2000.tif", labels=f"{folder}/points.geojson", class_property="label")

    [error] = inspect(source, source.lock()).errors

    assert "holds no polygon with a class" in error.problem
    assert "752 of 752 features were left out: they are empty or no polygons" in error.hint


def test_scenes_of_many_files_keep_their_time(realdata: Path, tmp_path: Path) -> None:
    scenes = gathered(
        tmp_path,
        images=f"{realdata}/landsat8_two_scenes/*.tif",
        scene=r"(?P<scene>LC08_\d+)_(?P<time>\d{8})_(?P<band>B\d)",
        bands={"red": "B4", "green": "B3", "blue": "B2"},
        nodata=0,
    )

    assert [scene.id for scene in scenes] == ["LC08_224077", "LC08_224078"]
    assert all(scene.time and scene.time.date().isoformat() == "2020-05-18" for scene in scenes)
    with SceneReader(scenes[1]) as reader:
        assert 0.85 < reader.read(Window(0, 0, Shape(600, 600))).valid.mean() < 0.92


def test_odd_rasters_are_good_or_refused_with_a_reason(realdata: Path) -> None:
    source = Files(images=[f"{realdata}/raster_access/*.tif", f"{realdata}/raster_access/*.jp2"], bands={"one": 1})

    found = inspect(source, source.lock())

    refused = {Path(error.where).name: error.problem for error in found.errors}
    assert refused == {
        "cog_gcps.tif": "is placed by ground control points only, its pixels lie on no grid",
        "rotated.tif": "has no coordinate reference system (CRS)",
    }
    assert sum(row["verdict"] == "good" for row in found.rows) == 11
