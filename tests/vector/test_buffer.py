"""Radii in metres, anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import CRS, Geod
from shapely import LineString, Point, Polygon

from geohydra.vector.buffer import buffered, metric_crs

WGS84 = CRS("EPSG:4326")


@pytest.mark.parametrize(
    "place", [(9.0, 0.0), (9.0, 48.0), (11.9, 71.0), (15.0, 83.5), (-40.0, 86.0), (100.0, -79.0), (170.0, -88.0), (179.999, 65.0)]
)
def test_a_radius_is_the_same_in_all_directions_and_latitudes(place: tuple[float, float]) -> None:
    [area] = buffered(np.array([Point(place)], dtype=object), np.array([25.0]), WGS84)

    ring = np.array(area.exterior.coords)
    _, _, metres = Geod(ellps="WGS84").inv(np.full(len(ring), place[0]), np.full(len(ring), place[1]), ring[:, 0], ring[:, 1])
    np.testing.assert_allclose(metres, 25, rtol=0.003)


def test_places_in_several_zones_are_measured_each_in_its_own() -> None:
    points = np.array([Point(lon, 52.0) for lon in range(-170, 171, 20)], dtype=object)

    for shape, area in zip(points, buffered(points, np.full(len(points), 100.0), WGS84), strict=True):
        square_metres = abs(Geod(ellps="WGS84").geometry_area_perimeter(area)[0])
        assert square_metres == pytest.approx(np.pi * 100**2, rel=0.005)
        assert area.contains(shape)


def test_shapes_without_a_radius_stay_as_they_are() -> None:
    shapes = np.array([Polygon([(0, 0), (1, 0), (0, 1)]), LineString([(0, 0), (0.001, 0)]), None], dtype=object)

    same, wide, missing = buffered(shapes, np.array([np.nan, 10.0, 5.0]), WGS84)

    assert same.equals(shapes[0])
    assert wide.geom_type == "Polygon"
    assert missing is None


def test_zones_are_those_of_utm_and_of_the_poles() -> None:
    codes = metric_crs(np.array([-180.0, 9.0, 179.9, 9.0, 0.0, 0.0]), np.array([1.0, 48.0, 1.0, -48.0, 85.0, -85.0]))

    assert codes.tolist() == [32601, 32632, 32660, 32732, 32661, 32761]
