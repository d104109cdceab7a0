"""Real imagery of many kinds."""

from __future__ import annotations

from dataclasses import replace
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
from geohydra.sources.grids import TargetGrid
from geohydra.sources.inspection import inspect
from geohydra.types import Scene, Shape, Window

pytestmark = pytest.mark.realdata


def gathered(out: Path, **settings: Any) -> list[Scene]:
    out.mkdir(exist_ok=True)
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


def test_points_become_areas_of_the_ground_around_them(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "landsat7_nc_landcover"
    settings = {"images": f"{folder}/landsat7_2000.tif", "class_property": "label", "buffer": 45.0, "unlabelled": "ignore"}

    [points] = gathered(tmp_path, labels=f"{folder}/points.geojson", **settings)
    [table] = gathered(tmp_path, labels=f"{folder}/chips.csv", **settings)

    assert sum(points.properties["geohydra:labels"].values()) == 752
    one, other = mask(points, "forest", "water"), mask(table, "forest", "water")
    assert (one[other == 1] == 1).mean() > 0.97
    assert 0.97 < (one == 255).mean() < 0.985


def test_polygons_and_the_raster_made_of_them_agree(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "landsat8_elkton_multires"
    names = ("first", "second", "third")
    settings: dict[str, Any] = {
        "images": f"{folder}/L8-B8-Elkton-VA.tiff",
        "scene": r"L8-(?P<band>B\w+)-(?P<scene>Elkton)-VA",
    }
    [vector] = gathered(
        tmp_path,
        labels=f"{folder}/L8-Labels-Elkton-VA.geojson",
        class_property="id",
        class_mapping=dict(enumerate(names)),
        unlabelled="ignore",
        **settings,
    )
    [raster] = gathered(tmp_path, labels=f"{folder}/L8-Labels-Elkton-VA.tiff", label_values=dict(enumerate(names)), **settings)

    assert (mask(vector, *names) == mask(raster, *names)).mean() > 0.997


def test_footprints_in_two_crs_lie_on_the_same_pixels(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "spacenet4_atlanta_pan"
    settings = {"images": f"{folder}/pan.tif", "classes": ["building"]}

    [degrees] = gathered(tmp_path / "a", labels=f"{folder}/buildings.geojson", **settings)
    [metres] = gathered(tmp_path / "b", labels=f"{folder}/buildings_epsg32616.geojson", **settings)

    assert (mask(degrees, "building") == mask(metres, "building")).all()
    ground = open_ground(degrees)
    assert ground is not None
    found = ground.instances(Window(0, 0, Shape(900, 900)))
    assert (len(found.objects), len(np.unique(found.ids))) == (43, 44)


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
    assert refused == {"rotated.tif": "has no coordinate reference system (CRS)"}
    assert sum(row["verdict"] == "good" for row in found.rows) == 12


def test_odd_rasters_of_all_crs_and_types_come_onto_pixels_of_one_size(realdata: Path, tmp_path: Path) -> None:
    patterns = [f"{realdata}/raster_access/*.{ending}" for ending in ("tif", "jp2")]
    names = [entry.uri for entry in Files(images=patterns).lock() if not entry.uri.endswith(("rotated.tif", "cog_rgb_mask.tif"))]

    own = gathered(tmp_path, images=names, bands={"one": 1})
    scenes = gathered(tmp_path, images=names, bands={"one": 1}, grid=TargetGrid(crs="utm", resolution=300))

    assert len(scenes) == 11
    assert {scene.grid.resolution for scene in scenes} == {(300, 300)}
    assert len({scene.grid.crs for scene in scenes}) == 9
    for before, after in zip(own, scenes, strict=True):
        sparse = after.id.startswith("LE07")
        assert mean(after) == pytest.approx(mean(before), rel=0.4 if sparse else 0.1), after.id


def mean(scene: Scene) -> float:
    """Of what was measured in the first band."""
    with SceneReader(scene) as reader:
        image = reader.read(Window(0, 0, scene.grid.shape))
    return float(image.pixels[0][image.valid].mean())


def test_two_scenes_of_a_path_are_one_mosaic(realdata: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"bands": {"red": "B4", "green": "B3", "blue": "B2"}, "nodata": 0}
    rule = r"LC08_(?P<scene>224)\d+_(?P<time>\d{8})_(?P<band>B\d)"
    images = f"{realdata}/landsat8_two_scenes/*.tif"

    [scene] = gathered(tmp_path, images=images, scene=rule, mosaic="name", **settings)
    north, south = gathered(tmp_path, images=images, scene=r"(?P<scene>LC08_\d+)_\d{8}_(?P<band>B\d)", **settings)[::-1]

    assert scene.grid.shape == Shape(900, 650)
    with (
        SceneReader(scene) as reader,
        SceneReader(replace(north, grid=scene.grid)) as above,
        SceneReader(replace(south, grid=scene.grid)) as below,
    ):
        image, one, two = (part.read(Window(0, 0, scene.grid.shape)) for part in (reader, above, below))
    np.testing.assert_array_equal(image.valid, one.valid | two.valid)
    np.testing.assert_array_equal(image.pixels[:, two.valid], two.pixels[:, two.valid])
    only = one.valid & ~two.valid
    np.testing.assert_array_equal(image.pixels[:, only], one.pixels[:, only])
    both = one.valid & two.valid
    assert np.corrcoef(one.pixels[0, both], two.pixels[0, both])[0, 1] > 0.95


def test_all_bands_of_a_scene_are_stacked_also_the_one_in_degrees(realdata: Path, tmp_path: Path) -> None:
    [scene] = gathered(
        tmp_path,
        images=f"{realdata}/landsat8_elkton_multires/L8-B*.tiff",
        scene=r"L8-(?P<band>B\w+-(?=Elkton-VA-4326)|B\w+(?=-))-?(?P<scene>Elkton)-VA",
    )

    assert len(scene.bands) == 13
    assert scene.grid.resolution == pytest.approx((14.986, 14.994), abs=0.001)
    with SceneReader(scene, bands=["B4", "B4-", "B8", "BQA"]) as reader:
        image = reader.read(Window(0, 0, scene.grid.shape))
    red, degrees, pan, codes = image.pixels[:, image.valid]
    assert image.valid.mean() > 0.99
    assert set(np.unique(codes).tolist()) == {2720, 2724}
    assert np.corrcoef(red, degrees)[0, 1] > 0.97
    assert np.corrcoef(red, pan)[0, 1] > 0.85
