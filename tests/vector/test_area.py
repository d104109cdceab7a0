"""Square metres of pixels."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer

from geohydra.types import Grid, Shape
from geohydra.vector.area import pixel_area, row_areas


def geodesic(grid: Grid, row: int) -> float:
    """The area on the ellipsoid of the middle pixel of a row."""
    a, b, c, d, e, f = grid.transform
    col = grid.shape.cols // 2
    corners = [(col, row), (col + 1, row), (col + 1, row + 1), (col, row + 1)]
    points = [(a * x + b * y + c, d * x + e * y + f) for x, y in corners]
    lonlat = [Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(*point) for point in points]
    return abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.Polygon(lonlat))[0])


@pytest.mark.parametrize(
    "grid",
    [
        Grid("EPSG:4326", (1e-4, 0, 85.5, 0, -1e-4, 60.0), Shape(2000, 300)),
        Grid("EPSG:4326", (1e-4, 2e-5, 85.5, 3e-5, -1e-4, -40.0), Shape(20, 30)),
        Grid("EPSG:3857", (10.0, 0, 9.5e6, 0, -10.0, 6.0e6), Shape(2000, 300)),
        Grid("EPSG:32645", (10.0, 0, 3e5, 0, -10.0, 3.4e6), Shape(20, 30)),
    ],
    ids=["degrees", "turned", "web mercator", "utm"],
)
def test_pixels_have_the_area_of_the_ground(grid: Grid) -> None:
    areas = row_areas(grid)

    for row in (0, grid.shape.rows - 1):
        assert areas[row] == pytest.approx(geodesic(grid, row), rel=2e-3)


def test_a_projected_crs_counts_as_it_is() -> None:
    assert set(row_areas(Grid("EPSG:32645", (10.0, 0, 3e5, 0, -10.0, 3.4e6), Shape(20, 30))).tolist()) == {100.0}


def test_feet_become_metres() -> None:
    grid = Grid("EPSG:2264", (10.0, 0, 2_000_000.0, 0, -10.0, 700_000.0), Shape(4, 4))

    assert pixel_area(grid) == pytest.approx(100 * 0.3048006**2, rel=1e-6)


def test_without_a_crs_a_pixel_counts_as_one() -> None:
    np.testing.assert_array_equal(row_areas(Grid("", (1, 0, 0, 0, 1, 0), Shape(3, 3))), 1)
