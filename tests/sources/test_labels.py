"""What vector labels, tables and rasters say of the ground, by the keys of a source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from shapely import LineString, Point, Polygon, box

from geohydra import catalogue
from geohydra.errors import ConfigError, DataError, GeohydraError
from geohydra.ground import open_ground
from geohydra.sources.files import Files
from geohydra.types import IGNORE, LabelAsset, Scene, Shape, Window

Write = Callable[..., Path]
UTM = "EPSG:32632"
LEFT, TOP = 500_000.0, 5_500_000.0
WHOLE = Window(0, 0, Shape(64, 64))


def pixels(left: float, top: float, right: float, bottom: float) -> Polygon:
    """A square of pixels of 10 m on the ground."""
    return box(LEFT + 10 * left, TOP - 10 * bottom, LEFT + 10 * right, TOP - 10 * top)


def gathered(out: Path, **settings: Any) -> list[Scene]:
    out.mkdir(exist_ok=True)
    source = Files(**settings)
    scenes = list(source.scenes(source.lock(), out, lambda done, total, text: None))
    catalogue.write(scenes, out)
    return catalogue.read(out)


def mask(scene: Scene, *names: str, background: int = 0) -> np.ndarray:
    ground = open_ground(scene)
    assert ground is not None
    return ground.mask(WHOLE, ids={name: place for place, name in enumerate(names, start=1)}, background=background)


def refusal(out: Path, **settings: Any) -> str:
    with pytest.raises(GeohydraError) as caught:
        gathered(out, **settings)
    return str(caught.value)


def notes(out: Path) -> str:
    return (out / "notes.txt").read_text()


def layer(path: Path, shapes: list[Any], crs: str = UTM, **columns: Any) -> str:
    frame = geopandas.GeoDataFrame(columns or {"class": ["road"] * len(shapes)}, geometry=shapes, crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path, engine="pyogrio")
    return str(path)


def test_the_first_rule_that_fits_gives_the_class(tmp_path: Path, tif: Write) -> None:
    shapes = [pixels(0, 0, 10, 10), pixels(20, 0, 30, 10), pixels(40, 0, 50, 10)]
    labels = layer(tmp_path / "l.gpkg", shapes, height=[5.0, 20.0, None], kind=["a", "b", "c"])
    rules = [{"where": "height > 10 and kind in ('a', 'b')", "class": "tall"}, {"where": "height is None", "class": None}, {"class": "low"}]

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=labels, class_rules=rules)

    assert scene.properties["geohydra:labels"] == {"low": 1, "tall": 1}
    assert mask(scene, "low", "tall")[5, [5, 25, 45]].tolist() == [1, 2, 0]
    assert "1 of 3 features were left out: they have no class" in notes(tmp_path)


def test_what_no_rule_takes_is_named_by_its_property(tmp_path: Path, tif: Write) -> None:
    labels = layer(tmp_path / "l.gpkg", [pixels(0, 0, 9, 9), pixels(20, 0, 30, 10)], height=[5, 20], kind=["hut", "hut"])
    rules = [{"where": "height > 10", "class": "tall"}]

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=labels, class_rules=rules, class_property="kind")

    assert scene.properties["geohydra:labels"] == {"hut": 1, "tall": 1}


def test_a_rule_that_is_no_condition_is_refused_by_the_config() -> None:
    with pytest.raises(ConfigError, match="equal is written ==") as caught:
        Files(images="a.tif", class_rules=[{"where": "kind = 'a'", "class": "x"}])

    assert caught.value.where == "class_rules[0].where"


def test_a_rule_of_an_unknown_property_names_those_that_there_are(tmp_path: Path, tif: Write) -> None:
    labels = layer(tmp_path / "l.gpkg", [pixels(0, 0, 9, 9)], kind=["hut"])

    text = refusal(tmp_path, images=str(tif("a.tif")), labels=labels, class_rules=[{"where": "height > 1", "class": "x"}])

    assert "no property 'height', which source.class_rules ask for; there are kind" in text


def test_points_and_lines_get_the_width_of_their_class(tmp_path: Path, tif: Write) -> None:
    shapes = [Point(LEFT + 105, TOP - 105), LineString([(LEFT, TOP - 405), (LEFT + 640, TOP - 405)]), pixels(50, 0, 60, 5)]
    labels = layer(tmp_path / "l.gpkg", shapes, **{"class": ["tree", "road", "road"]})

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=labels, buffer={"tree": 34.0, "*": 16.0})

    found = mask(scene, "tree", "road")
    assert (found == 1).sum() == pytest.approx(np.pi * 3.4**2, abs=3)
    np.testing.assert_array_equal((found == 2).sum(axis=0)[:50], 3)
    assert (found[:5, 50:60] == 2).all()
    assert "2 points and lines became areas; all other ground is background unless told by source.unlabelled=ignore" in notes(tmp_path)


def test_points_without_a_width_are_refused(tmp_path: Path, tif: Write) -> None:
    labels = layer(tmp_path / "l.gpkg", [Point(LEFT + 105, TOP - 105)])

    text = refusal(tmp_path, images=str(tif("a.tif")), labels=labels)

    assert "points and lines need source.buffer, a radius in metres" in text


def test_a_class_of_points_without_a_width_of_its_own_is_named(tmp_path: Path, tif: Write) -> None:
    labels = layer(tmp_path / "l.gpkg", [Point(LEFT + 105, TOP - 105)], **{"class": ["tree"]})

    text = refusal(tmp_path, images=str(tif("a.tif")), labels=labels, buffer={"road": 3.0})

    assert "has points or lines of the class 'tree' (1), for which source.buffer tells no radius" in text


def test_outside_of_the_aoi_nothing_counts_and_inside_it_is_background(tmp_path: Path, tif: Write) -> None:
    labels = layer(tmp_path / "l.gpkg", [pixels(10, 10, 40, 20)])
    aoi = layer(tmp_path / "aoi.gpkg", [pixels(0, 0, 32, 64)], name=["x"])

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=labels, aoi=aoi)

    found = mask(scene, "road")
    assert (found[:, 32:] == IGNORE).all()
    assert (found[10:20, 10:32] == 1).all()
    assert np.bincount(found.ravel(), minlength=256)[[0, 1, IGNORE]].tolist() == [64 * 32 - 220, 220, 64 * 32]


def test_a_scene_within_the_aoi_counts_where_no_label_is_near(tmp_path: Path, tif: Write) -> None:
    tif("a.tif")
    tif("b.tif", shift=640)
    tif("c.tif", shift=5000)
    labels = layer(tmp_path / "l.gpkg", [pixels(10, 10, 40, 20)])
    aoi = layer(tmp_path / "aoi.gpkg", [pixels(0, 0, 100, 64)], name=["x"])

    one, two, three = gathered(tmp_path, images=f"{tmp_path}/*.tif", labels=labels, aoi=aoi)

    assert mask(one, "road")[15, 15] == 1
    assert np.unique(mask(two, "road")[:, :36]).tolist() == [0]
    assert np.unique(mask(two, "road")[:, 36:]).tolist() == [IGNORE]
    assert three.labels is None
    assert "1 of 3 scenes lie outside of the AOI, and count as unlabelled: c" in notes(tmp_path)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (LineString([(LEFT, TOP), (LEFT + 99, TOP)]), "holds no polygon with an area"),
        (Polygon([(LEFT, TOP), (LEFT + 99, TOP), (LEFT, TOP)]), "holds no polygon with an area"),
        (pixels(900, 0, 910, 10), "its AOI at"),
    ],
)
def test_an_aoi_without_ground_is_refused(tmp_path: Path, tif: Write, shape: Any, words: str) -> None:
    labels = layer(tmp_path / "l.gpkg", [pixels(10, 10, 40, 20)])
    aoi = layer(tmp_path / "aoi.parquet", [shape], name=["x"])

    assert words in refusal(tmp_path, images=str(tif("a.tif")), labels=labels, aoi=aoi)


def test_ignored_files_and_classes_count_nowhere(tmp_path: Path, tif: Write) -> None:
    labels = layer(tmp_path / "l.gpkg", [pixels(0, 0, 20, 20), pixels(30, 0, 40, 10)], **{"class": ["road", "cloud"]})
    left_out = layer(tmp_path / "out.geojson", [pixels(10, 10, 12, 12)], name=["x"])

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=labels, classes=["road"], ignore=[left_out, "cloud"])

    found = mask(scene, "road")
    assert (found[10:12, 10:12] == IGNORE).all()
    assert (found[:10, 30:40] == IGNORE).all()
    assert np.bincount(found.ravel(), minlength=256)[[1, IGNORE]].tolist() == [396, 104]
    assert scene.properties["geohydra:labels"] == {"road": 1}
    assert open_ground(scene).known(WHOLE).sum() == 64 * 64 - 104  # type: ignore[union-attr]


def test_unlabelled_ground_can_be_told_not_to_count(tmp_path: Path, tif: Write) -> None:
    labels = layer(tmp_path / "l.gpkg", [pixels(0, 0, 20, 20), pixels(30, 0, 40, 10)], **{"class": ["road", "other"]})

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=labels, unlabelled="ignore")

    assert np.bincount(mask(scene, "road").ravel(), minlength=256)[[0, 1, IGNORE]].tolist() == [100, 400, 64 * 64 - 500]


def test_a_priority_lays_the_first_class_uppermost(tmp_path: Path, tif: Write) -> None:
    shapes = [pixels(0, 0, 20, 20), pixels(10, 0, 30, 20), pixels(15, 10, 40, 30)]
    labels = layer(tmp_path / "l.gpkg", shapes, **{"class": ["a", "b", "c"]})

    [usual] = gathered(tmp_path / "x", images=str(tif("a.tif")), labels=labels)
    [ruled] = gathered(tmp_path / "y", images=str(tmp_path / "a.tif"), labels=labels, priority=["a", "c"])

    assert [mask(usual, "a", "b", "c")[place] for place in ((5, 12), (15, 17), (15, 25))] == [2, 3, 3]
    assert [mask(ruled, "a", "b", "c")[place] for place in ((5, 12), (15, 17), (15, 25))] == [1, 1, 3]
    assert open_ground(ruled).instances(WHOLE).ids[15, 17] == 1  # type: ignore[union-attr]


def test_a_priority_of_an_unknown_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="'hut' is none of the classes; known are road"):
        Files(images="a.tif", classes=["road"], priority=["hut"])


def test_the_layer_of_a_file_with_several_must_be_named(tmp_path: Path, tif: Write) -> None:
    path = tmp_path / "l.gpkg"
    geopandas.GeoDataFrame({"class": ["road"]}, geometry=[pixels(0, 0, 9, 9)], crs=UTM).to_file(path, layer="roads")
    geopandas.GeoDataFrame({"class": ["hut"]}, geometry=[pixels(0, 0, 9, 9)], crs=UTM).to_file(path, layer="huts")
    image = str(tif("a.tif"))

    assert "has 2 layers: roads, huts; choose one, such as source.label_layer=roads" in refusal(tmp_path, images=image, labels=str(path))
    assert "has no layer 'x'; its layers are roads, huts" in refusal(tmp_path, images=image, labels=str(path), label_layer="x")
    [scene] = gathered(tmp_path, images=image, labels=str(path), label_layer="huts")
    assert scene.properties["geohydra:labels"] == {"hut": 1}


def test_points_of_a_table_become_labels(tmp_path: Path, tif: Write) -> None:
    place = geopandas.GeoSeries([Point(LEFT + 105, TOP - 105)], crs=UTM).to_crs("EPSG:4326")[0]
    (tmp_path / "l.csv").write_text(f"id;Longitude;Latitude;class\n7;{place.x};{place.y};tree\n")

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=f"{tmp_path}/l.csv", buffer=12.0)

    assert np.argwhere(mask(scene, "tree") == 1).mean(axis=0).tolist() == [10, 10]


def test_a_table_of_well_known_text_needs_its_crs(tmp_path: Path, tif: Write) -> None:
    (tmp_path / "l.csv").write_text(f'class,WKT\nroad,"{pixels(2, 3, 9, 8).wkt}"\n')
    image = str(tif("a.tif"))

    assert "state it with source.label_crs" in refusal(tmp_path, images=image, labels=f"{tmp_path}/l.csv")
    [scene] = gathered(tmp_path, images=image, labels=f"{tmp_path}/l.csv", label_crs=UTM)
    assert (mask(scene, "road")[3:8, 2:9] == 1).all()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32632"])
def test_swapped_coordinates_are_told(tmp_path: Path, tif: Write, crs: str) -> None:
    shape = geopandas.GeoSeries([pixels(5, 5, 20, 20)], crs=UTM).to_crs(crs)[0]
    labels = layer(tmp_path / "l.parquet", [shapely.transform(shape, lambda points: points[:, ::-1])], crs=crs)

    assert "x and y (longitude and latitude) are swapped in it" in refusal(tmp_path, images=str(tif("a.tif")), labels=labels)


def test_a_swapped_longitude_beyond_90_degrees_is_told(tmp_path: Path, tif: Write) -> None:
    image = str(tif("a.tif", crs="EPSG:32610"))
    shape = geopandas.GeoSeries([pixels(5, 5, 20, 20)], crs="EPSG:32610").to_crs("EPSG:4326")[0]
    labels = layer(tmp_path / "l.parquet", [shapely.transform(shape, lambda points: points[:, ::-1])], crs="EPSG:4326")

    assert "are swapped in it" in refusal(tmp_path, images=image, labels=labels)


def test_labels_elsewhere_are_not_called_swapped(tmp_path: Path, tif: Write) -> None:
    labels = layer(tmp_path / "l.gpkg", [pixels(900, 0, 910, 10)])

    assert "check the CRS of both" in refusal(tmp_path, images=str(tif("a.tif")), labels=labels)


def test_a_bow_tie_is_repaired_and_told(tmp_path: Path, tif: Write) -> None:
    bow = Polygon([(LEFT, TOP), (LEFT + 200, TOP - 200), (LEFT + 200, TOP), (LEFT, TOP - 200)])

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=layer(tmp_path / "l.gpkg", [bow]))

    assert (mask(scene, "road") == 1).sum() == pytest.approx(200, abs=20)
    assert "1 of 1 invalid polygons were repaired" in notes(tmp_path)


def test_an_empty_layer_is_refused(tmp_path: Path, tif: Write) -> None:
    assert "holds no polygon with a class" in refusal(tmp_path, images=str(tif("a.tif")), labels=layer(tmp_path / "l.gpkg", []))


def test_an_unknown_class_is_named_with_its_number(tmp_path: Path, tif: Write) -> None:
    labels = layer(tmp_path / "l.gpkg", [pixels(0, 0, 9, 9)] * 3, **{"class": ["road", "hut", "hut"]})

    assert "unknown class 'hut' (2); known are road" in refusal(tmp_path, images=str(tif("a.tif")), labels=labels, classes=["road"])


def test_values_of_a_raster_can_be_ground_that_does_not_count(tmp_path: Path, tif: Write) -> None:
    values = np.repeat(np.array([0, 1, 2, 3], np.uint8), 16)[None, None].repeat(64, axis=1)
    raster = str(tif("l/a.tif", pixels=values))
    aoi = layer(tmp_path / "aoi.gpkg", [pixels(0, 0, 64, 32)], name=["x"])
    named = {1: "road", 2: "cloud", 3: None}

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=raster, label_values=named, ignore="cloud", aoi=aoi, unlabelled="ignore")

    found = mask(scene, "road")
    assert found[0, ::16].tolist() == [IGNORE, 1, IGNORE, IGNORE]
    assert (found[32:] == IGNORE).all()


def test_areas_of_a_raster_are_objects(tmp_path: Path, tif: Write) -> None:
    values = np.zeros((1, 64, 64), np.uint8)
    values[0, 3:6, 4:10], values[0, 20:22, 20:25] = 1, 1

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=str(tif("l/a.tif", pixels=values)), label_values={1: "hut"})

    found = open_ground(scene).instances(WHOLE)  # type: ignore[union-attr]
    assert sorted(found.objects.boxes.tolist()) == [[3, 4, 6, 10], [20, 20, 22, 25]]
    assert sorted(np.bincount(found.ids.ravel())[1:].tolist()) == [10, 18]


def test_an_image_without_a_crs_takes_no_aoi(tmp_path: Path, tif: Write) -> None:
    image, raster = str(tif("a.tif", crs=None)), str(tif("l/a.tif", crs=None))
    aoi = layer(tmp_path / "aoi.gpkg", [pixels(0, 0, 9, 9)], name=["x"])

    text = refusal(tmp_path, images=image, labels=raster, label_values={1: "x"}, allow_no_crs=True, aoi=aoi)

    assert "has no CRS, so that source.aoi cannot be laid on it" in text


def test_files_beside_the_labels_are_locked(tmp_path: Path, tif: Write) -> None:
    labels, aoi, out = (layer(tmp_path / name, [pixels(0, 0, 9, 9)]) for name in ("l.gpkg", "aoi.gpkg", "out.shp"))

    lock = Files(images=str(tif("a.tif")), labels=labels, aoi=aoi, ignore=out).lock()

    assert [entry.role for entry in lock[:4]] == ["image", "label", "aoi", "ignore"]
    assert {Path(entry.uri).suffix for entry in lock if entry.role == "sidecar"} >= {".dbf", ".shx"}


def test_labels_of_former_catalogues_are_read(tmp_path: Path) -> None:
    labels = catalogue._read_labels({"href": "/l.parquet", "geohydra:kind": "vector", "geohydra:classes": ["a"]}, tmp_path)

    assert labels == LabelAsset("/l.parquet", "vector", {}, ("a",))


@pytest.mark.slow
def test_many_tiny_polygons_are_taken_as_they_are(tmp_path: Path, tif: Write) -> None:
    rng = np.random.default_rng(0)
    corner = np.array([LEFT, TOP - 640]) + rng.uniform(0, 639, (200_000, 2))
    shapes = shapely.box(corner[:, 0], corner[:, 1], corner[:, 0] + 0.5, corner[:, 1] + 0.5)
    labels = layer(tmp_path / "l.parquet", list(shapes))

    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=labels)

    ground = open_ground(scene)
    assert ground is not None
    assert (ground.mask(WHOLE, ids={"road": 1}, background=0) == 1).mean() == pytest.approx(1 - np.exp(-200_000 * 0.25 / 409_600), abs=0.02)
    assert len(ground.objects(WHOLE)) == 200_000


def test_a_file_without_a_class_column_is_no_label_file(tmp_path: Path, tif: Write) -> None:
    [scene] = gathered(tmp_path, images=str(tif("a.tif")), labels=layer(tmp_path / "l.gpkg", [pixels(0, 0, 9, 9)]))
    assert scene.labels is not None
    geopandas.read_parquet(scene.labels.uri).drop(columns="class").to_parquet(scene.labels.uri)

    with pytest.raises(DataError, match="it has no column 'class'"):
        mask(scene, "road")
