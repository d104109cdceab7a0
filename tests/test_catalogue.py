"""Scenes as STAC items: nothing is lost on the way, and others can read them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pyogrio
import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra import catalogue
from geohydra.errors import DataError
from geohydra.types import Asset, Grid, LabelAsset, MaskAsset, Scene, Shape

UTM = Grid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_500_000.0), Shape(100, 200))


def scene(folder: Path, name: str = "a", grid: Grid = UTM) -> Scene:
    """One with two files, one of them beside the catalogue, and vector labels."""
    return Scene(
        name,
        grid,
        (
            Asset(str(folder / "images" / "a.tif"), ("red", "nir"), (3, 1), "uint16", 0.0),
            Asset("s3://bucket/b.tif", ("labels",), (1,), "float32", float("-inf")),
        ),
        LabelAsset(str(folder / "labels" / "a.parquet"), "vector", classes=("road",)),
        datetime(2024, 5, 31, 10, tzinfo=UTC),
        {"geohydra:labels": {"road": 3}, "platform": "drone"},
    )


def test_scenes_come_back_as_they_were(tmp_path: Path) -> None:
    scenes = [scene(tmp_path, "a"), scene(tmp_path, "b")]

    catalogue.write(scenes, tmp_path)

    assert catalogue.read(tmp_path) == scenes


def test_a_series_comes_back_with_its_times_masks_and_scales(tmp_path: Path) -> None:
    days = [datetime(2024, 5, day, tzinfo=UTC) for day in (1, 11)]
    assets = tuple(
        Asset(f"/data/{day.day}-{part}.tif", ("red",), (1,), "int16", -1.0, day, "cubic", (0.0001,), (-0.1,))
        for day in days
        for part in "ab"
    )
    masks = tuple(MaskAsset(f"/data/{day.day}-scl.tif", 2, (3, 8, 9), (1,), day) for day in days)
    series = Scene("s", UTM, assets, masks=masks, composite="median")

    catalogue.write([series], tmp_path)

    assert catalogue.read(tmp_path) == [series]
    assert series.bands == ("red",)
    assert series.times == tuple(days)
    assert [asset.uri for asset in series.at(days[1]).assets] == ["/data/11-a.tif", "/data/11-b.tif"]
    assert series.at(days[1]).masks == (MaskAsset("/data/11-scl.tif", 2, (3, 8, 9), (1,)),)


def test_a_catalogue_may_be_moved_with_its_folder(tmp_path: Path) -> None:
    catalogue.write([scene(tmp_path / "one")], tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")

    [moved] = catalogue.read(tmp_path / "two")

    assert moved == scene(tmp_path / "two")
    assert json.loads((tmp_path / "two" / "items.json").read_text())["features"][0]["assets"]["labels"]["href"] == "./labels/a.parquet"


def test_a_scene_without_place_and_time_comes_back(tmp_path: Path) -> None:
    bare = Scene("x", Grid("", (1, 0, 0, 0, 1, 0), Shape(5, 5)), (Asset("/data/x.tif", ("a",), (1,), "uint8"),))
    labelled = Scene("y", bare.grid, bare.assets, LabelAsset("/data/y.tif", "raster", {0: "a", 255: "b"}, ("a", "b")))

    catalogue.write([bare, labelled], tmp_path)

    assert catalogue.read(tmp_path) == [bare, labelled]
    item = json.loads((tmp_path / "items.json").read_text())["features"][0]
    assert item["geometry"] is None
    assert "bbox" not in item


def test_a_crs_without_a_code_comes_back_in_the_same_words(tmp_path: Path) -> None:
    crs = "+proj=laea +lat_0=52 +lon_0=10 +ellps=GRS80 +units=m"
    given = scene(tmp_path, grid=Grid(crs, (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), Shape(9, 9)))

    catalogue.write([given], tmp_path)

    assert catalogue.read(tmp_path) == [given]
    assert json.loads((tmp_path / "items.json").read_text())["features"][0]["properties"]["proj:wkt2"].startswith("PROJCRS")


def test_not_a_number_as_nodata_is_valid_json(tmp_path: Path) -> None:
    given = Scene("x", UTM, (Asset("/x.tif", ("a",), (1,), "float32", float("nan")),))

    catalogue.write([given], tmp_path)

    [back] = catalogue.read(tmp_path)
    assert back.assets[0].nodata != back.assets[0].nodata


def test_pystac_takes_the_items_for_valid(tmp_path: Path) -> None:
    undated = Scene("x", UTM, (Asset("/x.tif", ("a",), (1,), "uint8"),))
    path = catalogue.write([scene(tmp_path), undated], tmp_path)

    items = list(pystac.ItemCollection.from_file(str(path)))

    for item in items:
        item.stac_extensions = []  # their schemas stand on the network; the core's come with pystac
        assert item.validate()
    assert [item.id for item in items] == ["a", "x"]
    assert items[0].datetime == datetime(2024, 5, 31, 10, tzinfo=UTC)


def test_the_projection_extension_reads_what_is_told(tmp_path: Path) -> None:
    path = catalogue.write([scene(tmp_path)], tmp_path)

    [item] = pystac.ItemCollection.from_file(str(path))

    assert item.ext.proj.code == "EPSG:32632"
    assert item.ext.proj.shape == [100, 200]
    assert item.ext.proj.transform == [10.0, 0.0, 500_000.0, 0.0, -10.0, 5_500_000.0]


def test_a_gis_shows_footprints_as_polygons(tmp_path: Path) -> None:
    path = catalogue.write([scene(tmp_path, "a"), scene(tmp_path, "b")], tmp_path)

    frame = pyogrio.read_dataframe(path)

    assert list(frame["id"]) == ["a", "b"]
    assert (frame.geom_type == "Polygon").all()
    assert frame.to_crs("EPSG:32632").area.iloc[0] == pytest.approx(100 * 200 * 100, rel=1e-4)


@given(st.floats(0, 6.28), st.floats(0.1, 100), st.integers(1, 5000), st.integers(1, 5000))
def test_rotated_footprints_are_wound_counterclockwise(turn: float, size: float, rows: int, cols: int) -> None:
    from math import cos, sin

    grid = Grid("EPSG:32632", (size * cos(turn), size * sin(turn), 5e5, size * sin(turn), -size * cos(turn), 5.5e6), Shape(rows, cols))

    [ring] = catalogue._item(Scene("x", grid, (Asset("/x", ("a",), (1,), "uint8"),)), Path("/"))["geometry"]["coordinates"]

    assert sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) >= -1e-9
    assert ring[0] == ring[-1]


def test_thousands_of_scenes_are_quick(tmp_path: Path) -> None:
    scenes = [scene(tmp_path, f"scene-{number}") for number in range(3000)]
    started = time.process_time()

    catalogue.write(scenes, tmp_path)
    assert len(catalogue.read(tmp_path)) == 3000

    assert time.process_time() - started < 4


def test_a_folder_without_a_catalogue_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no catalogue"):
        catalogue.read(tmp_path)


def test_a_damaged_catalogue_is_told(tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text('{"features": [{"id": 1}]}')

    with pytest.raises(DataError, match="is no catalogue that ingest wrote"):
        catalogue.read(tmp_path)
