"""Found objects are written as valid files and read back as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.errors import DataError
from geohydra.task import Detections
from geohydra.types import Grid, Shape
from geohydra.vector.drawing import rings_of
from geohydra.vector.found import files_of, found_batches, found_files, joined, outlines_of, outlines_over, read_found

GRID = Grid("EPSG:32633", (0.5, 0, 500_000, 0, -0.5, 5_000_000), Shape(100, 200))
FOUND = Detections(np.array([[1, 2, 5, 9], [10, 20, 30, 41.0]]), np.array([0.5, 0.9], np.float32), np.array([0, 1]))


def write(folder: Path, *parts: Detections, grid: Grid = GRID) -> Path:
    with found_files(folder, grid=grid, classes=("car", "house")) as writer:
        for part in parts:
            writer.write(part)
    return folder / "objects.parquet"


def test_objects_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = write(tmp_path, FOUND, Detections.none(), FOUND)

    again = read_found(path, classes=("car", "house"))

    for name in ("boxes", "scores", "classes"):
        assert np.array_equal(getattr(again, name), getattr(joined([FOUND, FOUND]), name))


def test_the_file_is_geoparquet_in_the_crs_of_the_grid_with_areas_in_square_metres(tmp_path: Path) -> None:
    frame = geopandas.read_parquet(write(tmp_path, FOUND))

    assert frame.crs == "EPSG:32633"
    assert frame["id"].tolist() == [1, 2]
    assert frame["class"].tolist() == ["car", "house"]
    assert np.allclose(frame["area_m2"], frame.area)
    assert frame.geometry.is_valid.all()
    assert frame.geometry.exterior.map(lambda ring: ring.is_ccw).all()
    assert frame.total_bounds.tolist() == [500_001, 4_999_985, 500_020.5, 4_999_999.5]


def test_geojson_tells_the_same_in_degrees(tmp_path: Path) -> None:
    frame = geopandas.read_parquet(write(tmp_path, FOUND)).to_crs("EPSG:4326")

    features = json.loads((tmp_path / "objects.geojson").read_text())["features"]

    assert [feature["properties"]["class"] for feature in features] == ["car", "house"]
    for feature, shape in zip(features, frame.geometry, strict=True):
        assert shapely.geometry.shape(feature["geometry"]).symmetric_difference(shape).area < 0.03 * shape.area
    assert files_of(tmp_path) == {"objects_parquet": "objects.parquet", "objects_geojson": "objects.geojson"}


def test_without_a_crs_there_is_no_geojson_and_areas_are_pixels(tmp_path: Path) -> None:
    write(tmp_path, FOUND, grid=Grid("", (1, 0, 0, 0, 1, 0), Shape(100, 200)))

    assert files_of(tmp_path) == {"objects_parquet": "objects.parquet"}
    assert geopandas.read_parquet(tmp_path / "objects.parquet")["area_m2"].tolist() == [28, 420]


def test_outlines_come_back_in_pixels_and_corners_are_outlines(tmp_path: Path) -> None:
    corners = np.array([[[10, 20], [14, 28], [12, 29], [8, 21.0]]])
    turned = Detections(np.array([[8, 20, 14, 29.0]]), np.ones(1, np.float32), np.zeros(1, np.int64), corners)
    path = write(tmp_path, turned)

    ((_, shapes),) = found_batches(path, classes=("car", "house"), grid=GRID)

    assert shapely.equals_exact(shapely.normalize(shapes[0]), shapely.normalize(shapely.polygons(corners[0][:, ::-1])), tolerance=1e-6)


def test_outlines_of_their_own_and_further_columns_are_kept(tmp_path: Path) -> None:
    holed = np.array([shapely.Polygon(shapely.box(2, 1, 9, 5).exterior, [shapely.box(3, 2, 4, 3).exterior]), shapely.box(20, 10, 41, 30)])
    with found_files(tmp_path, grid=GRID, classes=("car", "house"), columns={"frame": pa.int64()}) as writer:
        writer.write(FOUND, holed, {"frame": [7, 8]})

    assert pq.read_table(tmp_path / "objects.parquet")["frame"].to_pylist() == [7, 8]
    assert geopandas.read_parquet(tmp_path / "objects.parquet")["area_m2"].tolist() == [27 / 4, 420 / 4]


def test_no_objects_are_a_valid_file(tmp_path: Path) -> None:
    path = write(tmp_path)

    assert len(read_found(path, classes=("car", "house"))) == 0
    assert len(geopandas.read_parquet(path)) == 0


def test_an_unknown_class_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, FOUND)

    with pytest.raises(DataError, match="unknown class 'house'"):
        read_found(path, classes=("car",))


def test_outlines_are_drawn_where_the_objects_are(tmp_path: Path) -> None:
    path = write(tmp_path, FOUND)

    picture = outlines_over(np.zeros((50, 100, 3), np.uint8), path, classes=("car", "house"), grid=GRID, colors=((255, 0, 0), (0, 255, 0)))

    green = np.argwhere(picture[..., 1] == 255)
    assert green.min(0).tolist() == pytest.approx([5, 10], abs=1)
    assert green.max(0).tolist() == pytest.approx([15, 20.5], abs=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.booleans(), st.sampled_from([(0.5, 0, 500_000, 0, -0.5, 5_000_000), (0.3, 0.1, 0, 0.05, 0.3, 0)]))
def test_boxes_and_corners_are_written_as_polygons_of_the_same_places_are(seed: int, turned: bool, transform: Any) -> None:
    draw = np.random.default_rng(seed)
    top = draw.uniform(0, 90, (20, 2))
    boxes = np.concatenate([top, top + draw.uniform(1, 40, (20, 2))], axis=1)
    corners = rings_of(boxes) + draw.uniform(-0.4, 0.4, (20, 4, 2)) if turned else None
    if corners is not None:
        corners[::2] = corners[::2, ::-1]
    found = Detections(boxes, draw.random(20).astype(np.float32), draw.integers(0, 2, 20), corners)
    texts, tables = [], []
    for shapes in (None, outlines_of(found)):
        with TemporaryDirectory() as place:
            with found_files(Path(place), grid=replace(GRID, transform=transform), classes=("car", "house")) as writer:
                writer.write(found, shapes)
            texts.append((Path(place) / "objects.geojson").read_text())
            tables.append(pq.read_table(Path(place) / "objects.parquet"))

    assert texts[0] == texts[1]
    assert tables[0]["geometry"] == tables[1]["geometry"]
    assert np.allclose(tables[0]["area_m2"], tables[1]["area_m2"], rtol=1e-12)
