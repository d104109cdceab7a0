"""Images and labels by URI patterns: what is taken, what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from shapely import LineString, Polygon, box, transform

from geohydra.build import build, problems
from geohydra.errors import ConfigError, DataError, GeohydraError, Problems
from geohydra.ground import open_ground
from geohydra.raster.read import SceneReader
from geohydra.sources.files import Files
from geohydra.types import Scene, Shape, Window

Write = Callable[..., Path]
MIDDLE = (500_000.0, 5_500_000.0)


def gathered(folder: Path, **settings: Any) -> list[Scene]:
    """What ingest would see."""
    source = Files(**settings)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return list(source.scenes(source.lock(), out, lambda done, total, text: None))


def refusal(folder: Path, **settings: Any) -> str:
    """The words of the refusal."""
    with pytest.raises(GeohydraError) as caught:
        gathered(folder, **settings)
    return str(caught.value)


def notes(folder: Path) -> str:
    return (folder / "out" / "notes.txt").read_text()


def test_each_file_is_a_scene_with_its_own_grid(tmp_path: Path, tif: Write) -> None:
    tif("a.tif")
    tif("b.tif", crs="EPSG:32633", shift=300)

    scenes = gathered(tmp_path, images=f"{tmp_path}/*.tif")

    assert [(scene.id, scene.grid.crs) for scene in scenes] == [("a", "EPSG:32632"), ("b", "EPSG:32633")]


def test_a_list_of_patterns_and_braces_name_several_places(tmp_path: Path, tif: Write) -> None:
    for name in ("a/1.tif", "b/2.tif", "c/3.tif"):
        tif(name)

    scenes = gathered(tmp_path, images=[f"{tmp_path}/{{a,b}}/*.tif", f"{tmp_path}/c/3.tif"])

    assert [scene.id for scene in scenes] == ["1", "2", "3"]


def test_files_of_one_name_in_different_folders_get_different_ids(tmp_path: Path, tif: Write) -> None:
    tif("may/x.tif")
    tif("june/x.tif")

    assert [scene.id for scene in gathered(tmp_path, images=f"{tmp_path}/**/x.tif")] == ["june_x", "may_x"]


def test_one_label_file_serves_all_scenes_by_place(tmp_path: Path, tif: Write, vectors: Write) -> None:
    tif("a.tif")
    tif("b.tif", shift=640)
    left, right = (transform(box(0, -200, 100, -100), lambda p, x=x: p + np.array([MIDDLE[0] + x, MIDDLE[1]])) for x in (100, 740))
    vectors("l.gpkg", ("road", "house"), shapes=[left, right])

    scenes = gathered(tmp_path, images=f"{tmp_path}/*.tif", labels=f"{tmp_path}/l.gpkg")

    assert [scene.properties["geohydra:labels"] for scene in scenes] == [{"road": 1}, {"house": 1}]


@pytest.mark.parametrize("name", ["l.geojson", "l.gpkg", "l.shp", "l.parquet", "l.fgb"])
def test_labels_of_any_vector_format_come_out_as_the_same_polygons(tmp_path: Path, tif: Write, vectors: Write, name: str) -> None:
    vectors(name)

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/{name}")

    assert scene.labels is not None
    frame = geopandas.read_parquet(scene.labels.uri)
    assert frame.crs == "EPSG:32632"
    assert list(frame["class"]) == ["road"]
    np.testing.assert_allclose(frame.total_bounds, [500_200, 5_499_600, 500_400, 5_499_800], atol=0.02)


def test_labels_in_another_crs_lie_on_the_right_pixels(tmp_path: Path, tif: Write, vectors: Write) -> None:
    vectors("l.geojson")

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.geojson")

    ground = open_ground(scene)
    assert ground is not None
    mask = ground.mask(Window(0, 0, Shape(64, 64)), ids={"road": 1}, background=0)
    rows, cols = np.nonzero(mask)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (20, 39, 20, 39)


def test_labels_with_the_names_of_images_go_with_them(tmp_path: Path, tif: Write, vectors: Write) -> None:
    for name in ("x", "y"):
        tif(f"images/{name}_image.tif")
        vectors(f"labels/{name}_roads.geojson", (name,))

    scenes = gathered(tmp_path, images=f"{tmp_path}/images/*_image.tif", labels=f"{tmp_path}/labels/*_roads.geojson")

    assert [scene.properties["geohydra:labels"] for scene in scenes] == [{"x": 1}, {"y": 1}]


def test_label_files_without_the_name_of_an_image_are_an_error(tmp_path: Path, tif: Write, vectors: Write) -> None:
    vectors("labels/p.geojson")
    vectors("labels/q.geojson")

    text = refusal(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/labels/*.geojson")

    assert "none of 2 label files has the name of an image" in text


def test_an_image_without_a_label_file_stays_unlabelled_and_is_told(tmp_path: Path, tif: Write, vectors: Write) -> None:
    for name in ("a", "b", "c"):
        tif(f"i/{name}.tif")
    vectors("l/a.geojson")
    vectors("l/b.geojson")

    scenes = gathered(tmp_path, images=f"{tmp_path}/i/*.tif", labels=f"{tmp_path}/l/*.geojson")

    assert [scene.labels is None for scene in scenes] == [False, False, True]
    assert "1 of 3 scenes have no labels: c" in notes(tmp_path)


def test_a_scene_of_many_files_is_put_together_by_the_rule(tmp_path: Path, tif: Write) -> None:
    for band in ("B10", "B2", "B4"):
        tif(f"S1_20240531_{band}.tif", bands=1, resolution=5.0 if band == "B4" else 10.0, size=128 if band == "B4" else 64)

    [scene] = gathered(tmp_path, images=f"{tmp_path}/*.tif", scene=r"(?P<scene>S\d)_(?P<time>\d{8})_(?P<band>B\d+)")

    assert scene.bands == ("B2", "B4", "B10")
    assert scene.grid.shape == Shape(128, 128)
    assert scene.time is not None
    assert scene.time.date().isoformat() == "2024-05-31"
    with SceneReader(scene) as reader:
        assert reader.read(Window(0, 0, Shape(128, 128))).valid.all()


def test_the_grid_of_a_band_can_be_asked_for(tmp_path: Path, tif: Write) -> None:
    tif("S_B1.tif", bands=1)
    tif("S_B8.tif", bands=1, resolution=5.0, size=128)

    [scene] = gathered(tmp_path, images=f"{tmp_path}/*.tif", scene=r"(?P<scene>S)_(?P<band>B\d)", reference="B1")

    assert scene.grid.shape == Shape(64, 64)


def test_a_second_file_of_one_band_is_refused_with_both_names(tmp_path: Path, tif: Write) -> None:
    tif("one/S_B1.tif", bands=1)
    tif("two/S_B1.tif", bands=1)

    text = refusal(tmp_path, images=f"{tmp_path}/*/*.tif", scene=r"(?P<scene>S)_(?P<band>B\d)")

    assert "is a second band B1 of scene S" in text
    assert "one/S_B1.tif" in text


def test_a_scene_that_lacks_the_file_of_a_band_is_refused(tmp_path: Path, tif: Write) -> None:
    tif("S_B1.tif", bands=1)
    tif("S_B2.tif", bands=1)
    tif("T_B1.tif", bands=1)

    text = refusal(tmp_path, images=f"{tmp_path}/*.tif", scene=r"(?P<scene>[ST])_(?P<band>B\d)", bands=["B1", "B2"])

    assert text == "T: has no file for the band 'B2'; it has B1"


def test_bands_are_chosen_by_the_names_that_the_file_has(tmp_path: Path, tif: Write) -> None:
    path = tif("a.tif", bands=3, names=("blue", "green", "red"))

    [scene] = gathered(tmp_path, images=str(path), bands=["red", "blue"])

    assert (scene.assets[0].bands, scene.assets[0].indexes) == (("red", "blue"), (3, 1))


def test_bands_are_named_in_the_order_of_the_file(tmp_path: Path, tif: Write) -> None:
    [scene] = gathered(tmp_path, images=str(tif("a.tif", bands=3)), bands=["x", "y", "z"])

    assert (scene.bands, scene.assets[0].indexes) == (("x", "y", "z"), (1, 2, 3))


def test_bands_are_chosen_by_index(tmp_path: Path, tif: Write) -> None:
    [scene] = gathered(tmp_path, images=str(tif("a.tif", bands=3)), bands={"nir": 3, "red": "1"})

    assert (scene.bands, scene.assets[0].indexes) == (("nir", "red"), (3, 1))


def test_a_band_that_the_file_takes_for_alpha_can_be_named(tmp_path: Path, tif: Write) -> None:
    path = tif("a.tif", bands=4)

    assert gathered(tmp_path, images=str(path))[0].bands == ("red", "green", "blue")
    [scene] = gathered(tmp_path, images=str(path), bands=["red", "green", "blue", "nir"])
    with SceneReader(scene) as reader, rasterio.open(path) as file:
        np.testing.assert_array_equal(reader.read(Window(0, 0, Shape(64, 64))).pixels, file.read())


@pytest.mark.parametrize(
    ("bands", "words"),
    [(["red", "green", "blue"], "has no band 'red'; it holds 2: band1, band2"), ({"red": 7}, "has no band 7; it has the bands 1, 2")],
)
def test_a_missing_band_is_refused_with_those_that_are_there(tmp_path: Path, tif: Write, bands: Any, words: str) -> None:
    assert words in refusal(tmp_path, images=str(tif("a.tif")), bands=bands)


def test_scenes_with_different_bands_are_refused(tmp_path: Path, tif: Write) -> None:
    for name in ("a", "b"):
        tif(f"{name}.tif", bands=2)
    tif("c.tif", bands=3)

    text = refusal(tmp_path, images=f"{tmp_path}/*.tif")

    assert "c.tif: has the bands red, green, blue, other scenes such as a have band1, band2" in text


def test_an_image_without_a_crs_is_refused(tmp_path: Path, tif: Write) -> None:
    text = refusal(tmp_path, images=str(tif("a.tif", crs=None)))

    assert "has no coordinate reference system (CRS); if you know it, state it with source.crs" in text


def test_all_mistakes_are_told_at_once(tmp_path: Path, tif: Write) -> None:
    tif("a.tif", crs=None)
    tif("b.tif")
    (tmp_path / "c.tif").write_bytes(b"II*\0 nothing")
    source = Files(images=f"{tmp_path}/*.tif")

    with pytest.raises(Problems) as caught:
        list(source.scenes(source.lock(), tmp_path, lambda done, total, text: None))

    assert len(caught.value.errors) == 2


def test_a_stated_crs_places_an_image_that_has_none(tmp_path: Path, tif: Write) -> None:
    path = tif("a.tif")
    with rasterio.open(path, "r+") as file:
        place = file.transform
        pixels = file.read()
    with rasterio.open(path, "w", driver="GTiff", count=2, width=64, height=64, dtype="uint8", transform=place) as file:
        file.write(pixels)

    [scene] = gathered(tmp_path, images=str(path), crs="EPSG:32632")

    assert scene.grid.crs == "EPSG:32632"
    with SceneReader(scene) as reader:
        np.testing.assert_array_equal(reader.read(Window(0, 0, Shape(64, 64))).pixels, pixels)


def test_a_stated_crs_does_not_place_an_image_without_a_transform(tmp_path: Path, tif: Write) -> None:
    assert "has neither a CRS nor a transform" in refusal(tmp_path, images=str(tif("a.tif", crs=None)), crs="EPSG:32632")


def test_images_without_a_crs_are_taken_in_pixels_when_allowed(tmp_path: Path, tif: Write) -> None:
    image = tif("a.tif", crs=None)
    mask = tif("mask.tif", crs=None, pixels=np.eye(64, dtype=np.uint8)[None])

    [scene] = gathered(tmp_path, images=str(image), labels=str(mask), label_values={1: "line"}, allow_no_crs=True)

    ground = open_ground(scene)
    assert scene.grid.crs == ""
    assert ground is not None
    assert ground.mask(Window(0, 0, Shape(64, 64)), ids={"line": 1}, background=0).sum() == 64


def test_a_mask_of_another_shape_is_refused_without_a_crs(tmp_path: Path, tif: Write) -> None:
    mask = tif("mask.tif", crs=None, size=32)

    text = refusal(tmp_path, images=str(tif("a.tif", crs=None)), labels=str(mask), label_values={1: "x"}, allow_no_crs=True)

    assert "it has 32 x 32 pixels, its image a 64 x 64" in text


def test_vector_labels_cannot_be_laid_on_an_image_without_a_crs(tmp_path: Path, tif: Write, vectors: Write) -> None:
    text = refusal(tmp_path, images=str(tif("a.tif", crs=None)), labels=str(vectors("l.geojson")), allow_no_crs=True)

    assert "has no CRS, so that the labels in" in text


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_image_is_refused(tmp_path: Path, tif: Write, kept: float) -> None:
    path = tif("a.tif", size=256, tiled=True, blockxsize=128, blockysize=128)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])

    assert "truncated" in refusal(tmp_path, images=str(path))


def test_a_damaged_image_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("<html>Please log in</html>")

    assert "is a web page (HTML), not a raster" in refusal(tmp_path, images=f"{tmp_path}/a.tif")


def test_a_pattern_that_nothing_matches_is_refused_when_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file matches"):
        Files(images=f"{tmp_path}/*.tif").lock()


def test_a_scene_of_nodata_alone_is_excluded_and_told(tmp_path: Path, tif: Write) -> None:
    tif("a.tif", nodata=0)
    tif("b.tif", nodata=0, pixels=np.zeros((2, 64, 64), np.uint8))

    scenes = gathered(tmp_path, images=f"{tmp_path}/*.tif")

    assert [scene.id for scene in scenes] == ["a"]
    assert "b: excluded, it holds nothing but nodata" in notes(tmp_path)


def test_nothing_but_nodata_in_all_scenes_is_an_error(tmp_path: Path, tif: Write) -> None:
    path = tif("b.tif", pixels=np.full((2, 64, 64), 7, np.uint8))

    assert "the scene holds nothing but nodata" in refusal(tmp_path, images=str(path), nodata=7)


def test_not_a_number_can_be_declared_as_nodata(tmp_path: Path, tif: Write) -> None:
    path = tif("b.tif", pixels=np.full((1, 64, 64), np.nan, np.float32))

    assert "nothing but nodata" in refusal(tmp_path, images=str(path), nodata="nan")


def test_a_measured_corner_is_found_in_a_large_empty_scene(tmp_path: Path, tif: Write) -> None:
    pixels = np.zeros((1, 1500, 1500), np.uint8)
    pixels[0, -1, -1] = 9

    assert len(gathered(tmp_path, images=str(tif("b.tif", pixels=pixels, nodata=0)))) == 1


def test_an_image_smaller_than_any_chip_is_taken(tmp_path: Path, tif: Write) -> None:
    assert gathered(tmp_path, images=str(tif("a.tif", size=1)))[0].grid.shape == Shape(1, 1)


def test_an_empty_label_file_is_refused(tmp_path: Path, tif: Write) -> None:
    (tmp_path / "l.geojson").write_text('{"type": "FeatureCollection", "features": []}')

    assert "l.geojson: holds no polygon with a class" in refusal(
        tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.geojson", classes=["road"]
    )


def test_a_label_file_without_bytes_is_refused(tmp_path: Path, tif: Write) -> None:
    (tmp_path / "l.geojson").write_bytes(b"")

    assert "the file is empty" in refusal(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.geojson")


def test_one_empty_label_file_of_many_means_that_nothing_is_there(tmp_path: Path, tif: Write, vectors: Write) -> None:
    for name in ("a", "b"):
        tif(f"i/{name}.tif")
    vectors("l/a.geojson")
    (tmp_path / "l/b.geojson").write_text('{"type": "FeatureCollection", "features": []}')

    scenes = gathered(tmp_path, images=f"{tmp_path}/i/*.tif", labels=f"{tmp_path}/l/*.geojson", classes=["road"])

    assert [scene.properties["geohydra:labels"] for scene in scenes] == [{"road": 1}, {}]
    assert "holds no labels, its scene counts as labelled with nothing" in notes(tmp_path)


def test_labels_outside_of_all_images_are_refused_with_both_places(tmp_path: Path, tif: Write, vectors: Write) -> None:
    vectors("l.gpkg", shapes=[box(0, 0, 10, 10)])

    text = refusal(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.gpkg")

    assert "its labels at (0, 0, 10, 10) (EPSG:32632) lie outside of the image a with (500000, 5499360, 500640, 5500000)" in text


def test_a_scene_beyond_the_labels_counts_as_unlabelled(tmp_path: Path, tif: Write, vectors: Write) -> None:
    tif("a.tif")
    tif("b.tif", shift=100_000)
    vectors("l.gpkg")

    scenes = gathered(tmp_path, images=f"{tmp_path}/*.tif", labels=f"{tmp_path}/l.gpkg")

    assert [scene.labels is None for scene in scenes] == [False, True]


def test_an_unknown_class_is_refused_with_its_count_and_the_known_ones(tmp_path: Path, tif: Write, vectors: Write) -> None:
    vectors("l.gpkg", ("road", "raod", "raod"))

    text = refusal(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.gpkg", classes=["road", "house"])

    assert "has features of the unknown class 'raod' (2); known are road, house; translate them with source.class_mapping" in text


def test_a_mapping_translates_values_and_leaves_features_out(tmp_path: Path, tif: Write, vectors: Write) -> None:
    vectors("l.gpkg", ("1", "2", "3", None), prop="kind")
    mapping = {1: "road", "2": None, "*": "house"}

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.gpkg", class_property="kind", class_mapping=mapping)

    assert scene.properties["geohydra:labels"] == {"house": 2, "road": 1}
    assert "1 of 4 features were left out" in notes(tmp_path)


def test_an_unquoted_yes_in_yaml_means_the_word(tmp_path: Path, tif: Write, vectors: Write) -> None:
    vectors("l.gpkg", ("yes",), prop="building")
    node = {
        "_target_": "geohydra.sources.files.Files",
        "images": str(tif("a.tif")),
        "labels": f"{tmp_path}/l.gpkg",
        "class_property": "building",
        "class_mapping": {True: "house"},
    }
    source = build(node, where="source")

    [scene] = source.scenes(source.lock(), tmp_path, lambda done, total, text: None)

    assert scene.labels.classes == ("house",)


def test_a_property_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, tif: Write, vectors: Write) -> None:
    vectors("l.gpkg", prop="kind")

    text = refusal(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.gpkg", class_property="type")

    assert "have no property 'type'; set source.class_property; there are kind" in text


def test_features_without_a_property_are_of_the_one_class(tmp_path: Path, tif: Write, vectors: Write) -> None:
    vectors("l.gpkg", prop="kind")

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.gpkg", classes=["building"])

    assert scene.properties["geohydra:labels"] == {"building": 1}


def test_invalid_geometry_is_repaired_and_told(tmp_path: Path, tif: Write, vectors: Write) -> None:
    x, y = MIDDLE[0] + 100, MIDDLE[1] - 300
    bow = Polygon([(x, y), (x + 200, y + 200), (x + 200, y), (x, y + 200)])
    vectors("l.gpkg", ("road", "road"), shapes=[bow, LineString([(x, y), (x + 1, y)])])

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.gpkg")

    assert scene.labels is not None
    assert geopandas.read_parquet(scene.labels.uri).is_valid.all()
    assert "1 of 2 invalid polygons were repaired" in notes(tmp_path)
    assert "1 of 2 features were left out: they are empty or no polygons" in notes(tmp_path)


def test_a_label_raster_elsewhere_is_refused(tmp_path: Path, tif: Write) -> None:
    mask = tif("mask.tif", bands=1, shift=50_000)

    assert "lie outside of the image a" in refusal(tmp_path, images=str(tif("a.tif")), labels=str(mask), label_values={1: "x"})


def test_a_label_raster_of_fractions_is_refused(tmp_path: Path, tif: Write) -> None:
    mask = tif("mask.tif", pixels=np.zeros((1, 64, 64), np.float32))

    assert "holds float32 pixels, labels are whole numbers" in refusal(
        tmp_path, images=str(tif("a.tif")), labels=str(mask), label_values={1: "x"}
    )


@pytest.mark.parametrize(
    ("settings", "where", "words"),
    [
        ({"labels": "masks/*.tif"}, "source.label_values", "labels that are rasters need it"),
        ({"label_values": {1: "x"}}, "source.labels", "no labels"),
        ({"scene": "("}, "source.scene", "is no regular expression"),
        ({"scene": "(?P<band>B1)"}, "source.scene", "needs a group"),
        ({"bands": ["a"], "reference": "b"}, "source.reference", "'b' is none of the bands"),
        ({"bands": []}, "source.bands", "does not fit"),
        ({"image": "x"}, "source.image", "takes no such key; did you mean 'images'?"),
    ],
)
def test_a_wrong_config_is_refused_with_its_place(settings: dict[str, Any], where: str, words: str) -> None:
    found = problems({"_target_": "geohydra.sources.files.Files", "images": "a.tif", **settings}, where="source")

    assert len(found) == 1
    assert isinstance(found[0], ConfigError)
    assert str(found[0]).startswith(where)
    assert words in str(found[0])


def test_the_lock_names_images_labels_and_parts_of_shapefiles(tmp_path: Path, tif: Write, vectors: Write) -> None:
    lock = Files(images=str(tif("a.tif")), labels=str(vectors("l.shp"))).lock()

    assert [entry.role for entry in lock] == ["image", "label", "sidecar", "sidecar", "sidecar", "sidecar"]
    assert all(entry.size and entry.modified for entry in lock)
