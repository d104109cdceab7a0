"""From a class raster to polygons."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Geod
from rasterio.features import shapes

from geohydra.raster.write import CogWriter, write_image
from geohydra.types import Grid, Shape
from geohydra.vector.outlines import joined, trace
from geohydra.vector.polygonize import Traced, polygonize
from geohydra.vector.seams import Seams

NAMES = {0: "rest", 1: "field", 2: "house"}
UTM = (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0)


def pictures(max_rows: int = 24, max_cols: int = 24) -> st.SearchStrategy[np.ndarray]:
    """Blocky noise: long edges, holes, corners that touch."""
    return st.builds(
        lambda rows, cols, zoom, classes, seed: np.kron(
            np.random.default_rng(seed).integers(0, classes, (-(-rows // zoom), -(-cols // zoom)), np.uint8),
            np.ones((zoom, zoom), np.uint8),
        )[:rows, :cols],
        st.integers(1, max_rows),
        st.integers(1, max_cols),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(0, 10**6),
    )


def whole(pixels: np.ndarray, wanted: np.ndarray, transform: Affine) -> list[tuple[int, shapely.Polygon]]:
    """The areas of the whole array at once, by rasterio."""
    return [(int(value), shapely.geometry.shape(geometry)) for geometry, value in shapes(pixels, mask=wanted, transform=transform)]


def same(found: list[tuple[int, shapely.Polygon]], expected: list[tuple[int, shapely.Polygon]]) -> bool:
    """Whether both hold the same polygons up to order, first vertex and vertices on straight lines."""

    def keys(pairs: list[tuple[int, shapely.Polygon]]) -> list[tuple[int, str]]:
        return sorted((value, shapely.normalize(shapely.simplify(polygon, 0)).wkt) for value, polygon in pairs)

    return keys(found) == keys(expected)


@settings(max_examples=400, deadline=None)
@given(pixels=pictures(), rows=st.integers(1, 12), skip=st.booleans())
def test_strips_give_the_polygons_of_the_whole_array(pixels: np.ndarray, rows: int, skip: bool) -> None:
    wanted = pixels > 0 if skip else np.ones_like(pixels, bool)
    seams = Seams(pixels.shape[1])
    tops = range(0, len(pixels), rows)

    parts = []
    for top in tops:
        strip = trace(pixels[top : top + rows], wanted[top : top + rows], top)
        bottom = min(top + rows, len(pixels))
        parts.append(seams.add(strip, top=top, bottom=bottom, last=bottom == len(pixels)))

    areas = joined(parts)
    polygons = areas.polygons(areas.points)
    expected = whole(pixels, wanted, Affine.identity())
    assert shapely.is_valid(polygons).all()
    assert len(polygons) == len(expected)
    assert same(list(zip(areas.values.tolist(), polygons, strict=True)), expected)


def write_classes(path: Path, pixels: np.ndarray, *, crs: str = "EPSG:32618", transform: tuple[float, ...] = UTM) -> Grid:
    grid = Grid(crs, transform, Shape(*pixels.shape))  # type: ignore[arg-type]
    with CogWriter(path, grid=grid, bands=1, dtype="uint8", nodata=255, names=NAMES) as writer:
        writer.write(0, pixels[None])
    return grid


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pixels=pictures())
def test_the_files_hold_the_polygons_of_the_whole_array(tmp_path: Path, pixels: np.ndarray) -> None:
    write_classes(tmp_path / "classes.tif", pixels)

    traced = polygonize(tmp_path / "classes.tif", tmp_path / "p.parquet", tmp_path / "p.geojson", names=NAMES, skip=["rest"], strip_rows=5)

    table = geopandas.read_parquet(tmp_path / "p.parquet")
    assert same(list(zip(table["class_id"], table.geometry, strict=True)), whole(pixels, pixels > 0, Affine(*UTM)))
    assert table.area.tolist() == pytest.approx(table["area_m2"].tolist())
    assert sum(row.polygons for row in traced) == len(table)
    features = geopandas.read_file(tmp_path / "p.geojson") if len(table) else []
    assert len(features) == len(table)


def test_classes_are_named_and_measured(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8), np.uint8)
    pixels[1:3, 1:5], pixels[4, 7] = 1, 2
    write_classes(tmp_path / "classes.tif", pixels)

    traced = polygonize(tmp_path / "classes.tif", tmp_path / "p.parquet", names=NAMES, skip=["rest"])

    assert traced == [Traced("field", 1, 800.0), Traced("house", 1, 100.0)]
    assert geopandas.read_parquet(tmp_path / "p.parquet")["class"].tolist() == ["field", "house"]


def test_small_areas_can_be_left_out(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8), np.uint8)
    pixels[1:3, 1:5], pixels[4, 7] = 1, 1
    write_classes(tmp_path / "classes.tif", pixels)

    polygonize(tmp_path / "classes.tif", tmp_path / "p.parquet", names=NAMES, skip=["rest"], min_area_m2=101)

    assert geopandas.read_parquet(tmp_path / "p.parquet")["area_m2"].tolist() == [800.0]


def test_simplified_polygons_have_fewer_points_and_stay_valid(tmp_path: Path) -> None:
    rows, cols = np.mgrid[:60, :60]
    write_classes(tmp_path / "classes.tif", (np.hypot(rows - 30, cols - 30) < 25).astype(np.uint8))
    for name, tolerance in (("exact", 0.0), ("simple", 15.0)):
        polygonize(
            tmp_path / "classes.tif",
            tmp_path / f"{name}.parquet",
            tmp_path / f"{name}.geojson",
            names=NAMES,
            skip=["rest"],
            simplify_m=tolerance,
        )

    (exact,), (simple,) = (geopandas.read_parquet(tmp_path / f"{name}.parquet").geometry for name in ("exact", "simple"))
    assert simple.is_valid
    assert shapely.get_num_coordinates(simple) < shapely.get_num_coordinates(exact) / 4
    assert shapely.hausdorff_distance(simple, exact) <= 15


@pytest.mark.parametrize("bands", [1, 3])
def test_the_score_is_the_mean_probability_of_the_class_within(tmp_path: Path, bands: int) -> None:
    random = np.random.default_rng(4)
    pixels = np.kron(random.integers(0, 2, (6, 6), np.uint8), np.ones((4, 4), np.uint8))
    grid = write_classes(tmp_path / "classes.tif", pixels)
    probabilities = random.random((bands, 24, 24)).astype(np.float32)
    write_image(tmp_path / "probabilities.tif", probabilities, grid=grid)

    polygonize(tmp_path / "classes.tif", tmp_path / "p.parquet", names=NAMES, probabilities=tmp_path / "probabilities.tif", strip_rows=7)

    own = np.where(pixels == 1, probabilities[0], 1 - probabilities[0]) if bands == 1 else np.where(pixels == 1, *probabilities[[1, 0]])
    for row in geopandas.read_parquet(tmp_path / "p.parquet").itertuples():
        inside = rasterio.features.geometry_mask([row.geometry], pixels.shape, Affine(*UTM), invert=True)
        assert row.score == pytest.approx(own[inside].mean(), rel=1e-4)


def test_geojson_is_longitude_and_latitude_with_outer_rings_counterclockwise(tmp_path: Path) -> None:
    pixels = np.ones((6, 8), np.uint8)
    pixels[2:4, 2:4] = 0
    write_classes(tmp_path / "classes.tif", pixels)

    polygonize(tmp_path / "classes.tif", tmp_path / "p.parquet", tmp_path / "p.geojson", names=NAMES, skip=["rest"])

    content = json.loads((tmp_path / "p.geojson").read_text())
    (feature,) = content["features"]
    outer, hole = feature["geometry"]["coordinates"]
    assert feature["properties"] == {"class_id": 1, "class": "field", "area_m2": 4400}
    assert shapely.LinearRing(outer).is_ccw
    assert not shapely.LinearRing(hole).is_ccw
    expected = geopandas.read_parquet(tmp_path / "p.parquet").to_crs("EPSG:4326").geometry[0]
    assert shapely.geometry.shape(feature["geometry"]).symmetric_difference(expected).area < 1e-3 * expected.area


@pytest.mark.parametrize(("crs", "degrees"), [("EPSG:4326", 1e-4), ("EPSG:3857", None)])
def test_areas_are_those_of_the_ground(tmp_path: Path, crs: str, degrees: float | None) -> None:
    transform = (1e-4, 0, 85.5, 0, -1e-4, 47.6) if degrees else (10.0, 0, 9.5e6, 0, -10.0, 6.0e6)
    write_classes(tmp_path / "classes.tif", np.ones((300, 200), np.uint8), crs=crs, transform=transform)

    (row, *_) = polygonize(tmp_path / "classes.tif", tmp_path / "p.parquet", names={1: "field"})

    shape = geopandas.read_parquet(tmp_path / "p.parquet").to_crs("EPSG:4326").geometry[0]
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(shape, 1e-3))
    assert row.area_m2 == pytest.approx(abs(area), rel=1e-4)


def test_without_a_crs_only_parquet_is_written(tmp_path: Path) -> None:
    write_classes(tmp_path / "classes.tif", np.ones((3, 4), np.uint8), crs="", transform=(1, 0, 0, 0, 1, 0))

    traced = polygonize(tmp_path / "classes.tif", tmp_path / "p.parquet", tmp_path / "p.geojson", names={1: "field"})

    assert traced == [Traced("field", 1, 12.0)]
    assert geopandas.read_parquet(tmp_path / "p.parquet").crs is None
    assert not (tmp_path / "p.geojson").exists()


def test_nothing_to_trace_gives_files_without_features(tmp_path: Path) -> None:
    write_classes(tmp_path / "classes.tif", np.full((3, 4), 255, np.uint8))

    polygonize(tmp_path / "classes.tif", tmp_path / "p.parquet", tmp_path / "p.geojson", names=NAMES)

    assert len(geopandas.read_parquet(tmp_path / "p.parquet")) == 0
    assert json.loads((tmp_path / "p.geojson").read_text())["features"] == []


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    write_classes(tmp_path / "classes.tif", np.ones((3, 4), np.uint8))

    def broken(done: int, total: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        polygonize(tmp_path / "classes.tif", tmp_path / "p.parquet", tmp_path / "p.geojson", names=NAMES, progress=broken)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.tif", "classes.tif.aux.xml"]
