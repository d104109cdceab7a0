"""Polygons of any format."""

from __future__ import annotations

from pathlib import Path

import geopandas
import pytest
import shapely
from pyproj import Transformer

from geohydra.errors import DataError
from geohydra.vector.read import read_vectors

UTM = "EPSG:32618"
BOX = shapely.box(500000, 4000000, 500100, 4000100)
BOWTIE = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])


def frame_of(*shapes: shapely.Geometry | None, crs: str | None = UTM) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame({"kind": [f"k{place}" for place in range(len(shapes))]}, geometry=list(shapes), crs=crs)


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.shp", "a.parquet", "a.fgb"])
def test_any_format_is_read_into_the_crs_that_is_wanted(tmp_path: Path, name: str) -> None:
    frame = frame_of(BOX)
    frame = frame.to_crs("EPSG:4326") if name.endswith("geojson") else frame
    frame.to_parquet(tmp_path / name) if name.endswith("parquet") else frame.to_file(tmp_path / name)

    found = read_vectors(str(tmp_path / name), crs=UTM)

    assert found.crs == UTM
    assert found["kind"].tolist() == ["k0"]
    assert found.geometry[0].symmetric_difference(BOX).area < 0.01


def test_invalid_polygons_are_repaired_and_counted(tmp_path: Path) -> None:
    frame_of(BOWTIE, BOX).to_parquet(tmp_path / "a.parquet")

    found = read_vectors(str(tmp_path / "a.parquet"), crs=UTM)

    assert found.is_valid.all()
    assert found.geometry[0].area == 50
    assert found.attrs == {"found": 2, "repaired": 1, "dropped": 0}


def test_what_is_no_polygon_is_left_out_and_counted(tmp_path: Path) -> None:
    shapes = [shapely.Point(0, 0), BOX, None, shapely.Polygon(), shapely.LineString([(0, 0), (1, 1)])]
    frame_of(*shapes).to_parquet(tmp_path / "a.parquet")

    found = read_vectors(str(tmp_path / "a.parquet"), crs=UTM)

    assert found["kind"].tolist() == ["k1"]
    assert found.attrs == {"found": 5, "repaired": 0, "dropped": 4}


def test_lines_that_repair_leaves_over_are_dropped(tmp_path: Path) -> None:
    spike = shapely.Polygon([(0, 0), (10, 0), (10, 10), (10, 20), (10, 10), (0, 10)])
    frame_of(spike).to_parquet(tmp_path / "a.parquet")

    found = read_vectors(str(tmp_path / "a.parquet"), crs=UTM)

    assert found.geom_type.tolist() == ["Polygon"]
    assert found.geometry[0].area == 100


def test_heights_are_left_out(tmp_path: Path) -> None:
    frame_of(shapely.Polygon([(0, 0, 5), (1, 0, 5), (1, 1, 5)])).to_parquet(tmp_path / "a.parquet")

    assert not read_vectors(str(tmp_path / "a.parquet"), crs=UTM).has_z.any()


def test_a_file_without_crs_is_refused_unless_one_is_assumed(tmp_path: Path) -> None:
    frame_of(BOX, crs=None).to_parquet(tmp_path / "a.parquet")

    with pytest.raises(DataError, match="no coordinate reference system"):
        read_vectors(str(tmp_path / "a.parquet"), crs=UTM)
    assert len(read_vectors(str(tmp_path / "a.parquet"), crs=UTM, assume_crs=UTM)) == 1


def test_a_file_without_features_gives_none(tmp_path: Path) -> None:
    frame_of().to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.geojson").write_text('{"type": "FeatureCollection", "features": []}')

    assert len(read_vectors(str(tmp_path / "a.parquet"), crs=UTM)) == 0
    assert len(read_vectors(str(tmp_path / "b.geojson"), crs=UTM)) == 0


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.geojson", None, "there is no such file"),
        ("a.geojson", b"", "the file is empty"),
        ("a.geojson", b"<html></html>", "cannot be read as vectors"),
        ("a.parquet", b"PAR1", "cannot be read as vectors"),
    ],
)
def test_a_file_that_holds_no_vectors_is_refused(tmp_path: Path, name: str, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=problem) as caught:
        read_vectors(str(tmp_path / name), crs=UTM)

    assert caught.value.hint


def test_a_table_without_geometry_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")

    with pytest.raises(DataError, match="without geometry"):
        read_vectors(str(tmp_path / "a.csv"), crs=UTM)


@pytest.mark.realdata
def test_footprints_of_a_town_are_read(realdata: Path) -> None:
    found = read_vectors(str(realdata / "banepa_buildings/train/osm/buildings.geojson"), crs="EPSG:32645")

    assert len(found) == 1466
    assert found.is_valid.all()


def test_a_long_edge_keeps_its_course_in_another_crs(tmp_path: Path) -> None:
    wide = shapely.Polygon([(8.0, 60.0), (10.0, 60.0), (10.0, 60.5), (8.0, 60.5)])
    geopandas.GeoDataFrame(geometry=[wide], crs="EPSG:4326").to_parquet(tmp_path / "a.parquet")

    [shape] = read_vectors(str(tmp_path / "a.parquet"), crs=UTM).geometry

    x, y = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform([8.7, 10.0], [60.0, 60.21])
    assert shape.boundary.distance(shapely.points(x, y)).max() < 0.1


def test_short_edges_get_no_points(tmp_path: Path) -> None:
    geopandas.GeoDataFrame(geometry=[shapely.box(8.0, 60.0, 8.001, 60.001)], crs="EPSG:4326").to_parquet(tmp_path / "a.parquet")

    [shape] = read_vectors(str(tmp_path / "a.parquet"), crs=UTM).geometry

    assert len(shape.exterior.coords) == 5
