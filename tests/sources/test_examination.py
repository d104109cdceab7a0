"""What a look at all scenes tells beyond each header."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import CRS

from geohydra.sources.examination import told
from geohydra.sources.files import Files
from geohydra.sources.footprints import draw
from geohydra.sources.inspection import Inspection, inspect
from geohydra.sources.summary import crs_name, fineness
from geohydra.types import Grid, Shape

Write = Callable[..., Path]


def looked_at(source: Files) -> Inspection:
    return inspect(source, source.lock())


@pytest.mark.parametrize(
    ("crs", "size", "text"),
    [
        ("EPSG:32632", (10.0, 10.0), "10 m"),
        ("EPSG:32632", (20.0, 10.0), "10 x 20 m"),
        ("EPSG:2263", (1.0, 1.0), "1 US survey foot (0.305 m)"),
        ("EPSG:4326", (0.001, 0.001), "0.001 deg (111 x 55.7 m)"),
        ("", (1.0, 1.0), "1 px"),
    ],
)
def test_resolutions_are_told_in_metres_too(crs: str, size: tuple[float, float], text: str) -> None:
    assert fineness(Grid(crs, (size[0], 0, 0, 0, -size[1], 60.0), Shape(1, 1))) == text


def test_web_mercator_is_told_in_metres_of_the_ground_too() -> None:
    at_60_degrees = (0.3, 0, 1_113_194.9, 0, -0.3, 8_399_737.9)

    assert fineness(Grid("EPSG:3857", at_60_degrees, Shape(1, 1))) == "0.3 m (0.15 m on the ground)"


def test_a_file_that_is_there_twice_is_named(tif: Write) -> None:
    first = tif("a.tif")
    (first.parent / "b.tif").write_bytes(first.read_bytes())
    tif("c.tif", pixels=np.full((2, 64, 64), 9, np.uint8))
    tif("d.tif", shift=640)

    found = looked_at(Files(images=f"{first.parent}/*.tif"))

    assert [row["verdict"] for row in found.rows] == ["good", "the same as a", "good", "good"]
    assert found.warnings == ["b and a are the same image twice: the same place, the same bytes"]


def test_many_duplicates_are_counted() -> None:
    assert told({str(number): "a" for number in range(5)})[-1] == "... and 2 more scenes that are there twice"


def test_the_share_that_labels_cover_counts_ground_once(tif: Write, vectors: Write) -> None:
    source = Files(images=str(tif("a.tif")), labels=str(vectors("l.gpkg", ("road", "road"))))

    assert looked_at(source).rows[0]["covered"] == f"{400 / 4096:.1%}"


def test_the_map_shows_footprints_labels_and_what_is_wrong(tif: Write, vectors: Write) -> None:
    tif("a.tif")
    tif("b.tif", shift=900)
    found = looked_at(Files(images=f"{tif('a.tif').parent}/*.tif", labels=str(vectors("l.gpkg"))))

    colors = pixels_of(draw(found.scenes, found.features, {"b": "broken"}))

    assert (208, 28, 31) in colors
    assert (34, 38, 43) in colors


def test_scenes_of_several_zones_are_drawn_in_longitude_and_latitude(tif: Write) -> None:
    tif("a.tif")
    tif("b.tif", crs="EPSG:32633")
    found = looked_at(Files(images=f"{tif('a.tif').parent}/*.tif"))

    assert draw(found.scenes, {}, {}).startswith(b"\x89PNG")


def pixels_of(png: bytes) -> set[tuple[int, int, int]]:
    import io

    from matplotlib.image import imread

    picture = (imread(io.BytesIO(png))[..., :3] * 255).round().astype(int)
    return {(int(red), int(green), int(blue)) for red, green, blue in np.unique(picture.reshape(-1, 3), axis=0)}


def test_labels_in_the_wrong_order_are_told_in_one_line(tmp_path: Path, tif: Write, vectors: Write) -> None:
    import geopandas

    frame = geopandas.read_file(vectors("right.geojson"))
    frame.geometry = shapely.transform(frame.geometry.to_numpy(), lambda points: points[:, ::-1])
    frame.to_file(tmp_path / "swapped.geojson")

    found = looked_at(Files(images=str(tif("a.tif")), labels=str(tmp_path / "swapped.geojson")))

    assert len(found.errors) == 1
    assert "swapped" in str(found.errors[0])


def test_images_with_other_bands_than_most_are_told(tif: Write) -> None:
    for name in ("a", "b", "c"):
        tif(f"{name}.tif", shift=640.0 * ord(name))
    tif("d.tif", bands=3)

    found = looked_at(Files(images=f"{tif('a.tif').parent}/*.tif"))

    assert "has the bands red, green, blue, other scenes such as a have band1, band2" in str(found.errors[0])


@pytest.mark.parametrize(
    ("crs", "name"),
    [
        ("EPSG:32632", "EPSG:32632"),
        ("+proj=laea +lat_0=52 +lon_0=10 +ellps=GRS80 +units=m", "custom Lambert Azimuthal Equal Area"),
        (CRS("EPSG:3035").to_wkt(), "ETRS89-extended / LAEA Europe"),
    ],
)
def test_a_crs_that_is_spelled_out_is_told_by_its_name(crs: str, name: str) -> None:
    assert crs_name(crs) == name
