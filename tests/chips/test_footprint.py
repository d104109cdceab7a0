"""Where windows lie on the ground."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.chips.footprint import clusters, footprints, metres, pixel_metres, seen_from, trim
from geohydra.types import Grid, Shape, Window

UTM = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), Shape(100, 200))


def test_a_window_of_a_grid_is_seen_where_it_lies():
    assert seen_from(UTM, UTM.at(Window(20, 30, Shape(5, 7)))) == Window(20, 30, Shape(5, 7))


def test_a_turned_grid_is_seen_as_the_rectangle_around_it():
    turned = Grid("EPSG:32633", (10.0, 10.0, 500_500.0, 10.0, -10.0, 4_999_500.0), Shape(10, 10))

    assert seen_from(UTM, turned) == Window(40, 50, Shape(20, 20))


def test_a_grid_in_degrees_is_seen_too():
    degrees = Grid("EPSG:4326", (1e-4, 0.0, 15.0, 0.0, -1e-4, 45.15), Shape(10, 10))

    window = seen_from(UTM, degrees)

    assert (window.shape.rows, window.shape.cols) == pytest.approx((12, 9), abs=1)


def test_footprints_of_one_crs_stay_in_it():
    shapes, crs = footprints([UTM])

    assert crs == "EPSG:32633"
    assert shapes[0].bounds == UTM.bounds


def test_a_pixel_of_a_foot_is_measured_in_metres():
    feet = Grid("EPSG:2263", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), Shape(10, 10))

    assert pixel_metres(feet) == pytest.approx((0.3048, 0.3048), rel=1e-4)


def test_degrees_are_narrower_near_the_poles():
    across, along = metres("EPSG:4326", 60.0, 60.0)

    assert across == pytest.approx(along / 2, rel=0.01)


windows = st.builds(Window, st.integers(0, 20), st.integers(0, 20), st.builds(Shape, st.integers(1, 20), st.integers(1, 20)))


@given(windows, windows, st.integers(0, 5))
def test_what_is_left_keeps_its_distance(window, other, gap):
    left = trim(window, other, gap)

    if left is not None:
        rows = max(left.row - other.row_stop, other.row - left.row_stop)
        cols = max(left.col - other.col_stop, other.col - left.col_stop)
        assert max(rows, cols) >= gap
        assert left.intersect(window) == left
    else:
        near = Window(other.row - gap, other.col - gap, Shape(other.shape.rows + 2 * gap, other.shape.cols + 2 * gap))
        assert near.intersect(window) == window


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=15))
def test_clusters_are_what_pairs_hold_together(count, pairs):
    pairs = [(one, other) for one, other in pairs if one < count and other < count]
    reach = np.eye(count, dtype=bool)
    for one, other in pairs:
        reach[one, other] = reach[other, one] = True
    reach = np.linalg.matrix_power(reach.astype(float), count) > 0

    found = clusters(count, pairs)

    assert sorted(place for group in found for place in group) == list(range(count))
    assert all(set(group) == set(np.flatnonzero(reach[group[0]])) for group in found)
