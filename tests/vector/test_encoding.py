"""Rings of points as the bytes of file formats."""

from __future__ import annotations

import json

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geohydra.vector.encoding import geojson_coordinates, wkb
from geohydra.vector.outlines import Outlines, trace

degrees = st.one_of(st.floats(-180, 180), st.sampled_from([0.0, -0.0, 9.99999999, -9.99999999, 99.99999996, -0.00000004, 180.0, -100.0]))


def ring_of(points: list[tuple[float, float]]) -> tuple[Outlines, np.ndarray]:
    closed = np.array([*points, points[0]])
    one = np.array([1])
    return Outlines(closed, np.array([len(closed)]), one, one, np.zeros(1)), closed


@given(points=st.lists(st.tuples(degrees, degrees), min_size=3, max_size=9))
def test_coordinates_are_json_with_seven_decimals(points: list[tuple[float, float]]) -> None:
    areas, closed = ring_of(points)

    (text,) = geojson_coordinates(areas, closed)

    (ring,) = json.loads(text)
    np.testing.assert_allclose(ring, closed, rtol=0, atol=0.5000001e-7)


def test_numbers_are_filled_up_only_where_others_are_wider() -> None:
    areas, closed = ring_of([(85.5, 27.25), (85.6, 27.5), (85.7, 27.0)])

    assert geojson_coordinates(areas, closed)[0].startswith("[[[85.5000000,27.2500000],[85.6000000,27.5000000],")


def test_wkb_is_what_shapely_writes() -> None:
    pixels = np.random.default_rng(0).integers(0, 3, (30, 40), np.uint8)
    areas = trace(pixels, pixels > 0, 0)
    points = areas.points * 0.1 + 500000.3

    found = shapely.from_wkb(wkb(areas, points).to_numpy(zero_copy_only=False))

    assert shapely.equals_exact(found, areas.polygons(points)).all()
    assert wkb(areas, points).to_pylist() == list(shapely.to_wkb(areas.polygons(points)))


def test_nothing_gives_nothing() -> None:
    none = trace(np.zeros((2, 2), np.uint8), np.zeros((2, 2), bool), 0)

    assert len(wkb(none, none.points)) == 0
    assert geojson_coordinates(none, none.points) == []
