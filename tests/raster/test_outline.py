"""Footprints in longitude and latitude: valid GeoJSON wherever on the earth a grid lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from shapely.geometry import Point, shape

from geohydra.raster.outline import bbox, footprint
from geohydra.types import Grid, Shape


def grid(crs: str, size: float, x: float, y: float, rows: int = 100, cols: int = 100) -> Grid:
    return Grid(crs, (size, 0, x, 0, -size, y), Shape(rows, cols))


def test_a_place_is_one_polygon_with_its_box() -> None:
    found = footprint(grid("EPSG:4326", 0.01, 10, 50))

    assert found is not None
    assert found["type"] == "Polygon"
    assert bbox(found) == pytest.approx([10, 49, 11, 50])


@pytest.mark.parametrize(
    "place",
    [
        grid("EPSG:4326", 0.001, 179.9, -16.9, 200, 200),
        grid("EPSG:4326", 0.001, -180.1, -16.9, 200, 200),
        grid("EPSG:32760", 100, 800_000, 8_123_616, 300, 300),
        grid("EPSG:3832", 100, 3_330_000, -1_900_000, 400, 400),
    ],
    ids=lambda place: f"{place.crs} {place.transform[2]}",
)
def test_what_crosses_the_date_line_is_cut_there(place: Grid) -> None:
    found = footprint(place)

    assert found is not None
    assert found["type"] == "MultiPolygon"
    outline = shape(found)
    assert outline.is_valid
    assert outline.area < 0.3
    west, _, east, _ = bbox(found)
    assert 179 < west < 180
    assert -180 < east < -179


def test_what_ends_at_the_date_line_is_not_cut() -> None:
    found = footprint(grid("EPSG:4326", 0.01, 179, 10))

    assert found is not None
    assert found["type"] == "Polygon"
    assert bbox(found) == pytest.approx([179, 9, 180, 10])


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90), ("EPSG:3031", -90), ("EPSG:32661", 90)])
def test_what_holds_a_pole_goes_round_the_earth(crs: str, pole: int) -> None:
    x = y = 2_000_000 if crs == "EPSG:32661" else 0
    found = footprint(grid(crs, 10_000, x - 500_000, y + 400_000))

    assert found is not None
    outline = shape(found)
    assert outline.is_valid
    assert outline.covers(Point(0, pole))
    assert outline.bounds[::2] == (-180, 180)


def test_the_whole_earth_is_one_rectangle() -> None:
    found = footprint(grid("EPSG:4326", 1, -180, 90, 180, 360))

    assert found is not None
    assert shape(found).area == 360 * 180


def test_a_place_that_is_not_known_has_no_footprint() -> None:
    assert footprint(grid("", 1, 0, 0)) is None


@given(lon=st.floats(-180, 180), zone=st.integers(1, 60), north=st.floats(100_000, 9_000_000), size=st.floats(1, 300))
def test_a_footprint_is_as_large_as_its_grid_wherever_it_lies(lon: float, zone: int, north: float, size: float) -> None:
    place = grid(f"EPSG:{32600 + zone}", size, 500_000 + lon * 1000, north)

    found = footprint(place)

    assert found is not None
    outline = shape(found)
    assert outline.is_valid
    area = sum(abs(Geod(ellps="WGS84").geometry_area_perimeter(part)[0]) for part in getattr(outline, "geoms", [outline]))
    assert area == pytest.approx((100 * size) ** 2, rel=0.01)
