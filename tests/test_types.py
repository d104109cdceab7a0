"""The shared values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.types import Asset, Grid, Image, LockEntry, Scene, Shape, Window, tile_windows

shapes = st.builds(Shape, st.integers(1, 60), st.integers(1, 60))
windows = st.builds(Window, st.integers(-40, 40), st.integers(-40, 40), shapes)
TURNED = Grid("EPSG:32618", (8.0, 3.0, 500000.0, 4.0, -9.0, 4000000.0), Shape(10, 20))


@given(image=shapes, size=shapes, stride=shapes)
def test_windows_cover_every_pixel_and_stay_inside_where_they_can(image: Shape, size: Shape, stride: Shape) -> None:
    stride = Shape(min(stride.rows, size.rows), min(stride.cols, size.cols))
    seen = np.zeros((image.rows, image.cols), bool)

    for window in tile_windows(image, size, stride):
        seen[window.slices] = True
        assert window.shape == size
        assert window.row_stop <= max(image.rows, size.rows)
        assert window.col_stop <= max(image.cols, size.cols)

    assert seen.all()


@given(image=shapes, size=shapes)
def test_no_window_is_listed_twice(image: Shape, size: Shape) -> None:
    found = list(tile_windows(image, size, size))

    assert len(found) == len(set(found))
    assert found == sorted(found, key=lambda window: (window.row, window.col))


@given(one=windows, other=windows)
def test_the_intersection_holds_the_common_pixels(one: Window, other: Window) -> None:
    def pixels(window: Window | None) -> set[tuple[int, int]]:
        if window is None:
            return set()
        return {(row, col) for row in range(window.row, window.row_stop) for col in range(window.col, window.col_stop)}

    assert pixels(one.intersect(other)) == pixels(one) & pixels(other)


@given(window=windows, image=shapes)
def test_a_window_is_within_an_image_if_clipping_changes_nothing(window: Window, image: Shape) -> None:
    assert window.within(image) == (window.clip(image) == window)


def test_a_shape_has_at_least_one_pixel() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        Shape(0, 4)


def test_a_grid_that_maps_onto_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match="onto a line"):
        Grid("EPSG:32618", (1, 1, 0, 1, 1, 0), Shape(2, 2))


def test_the_grid_of_a_window_starts_at_its_corner() -> None:
    part = TURNED.at(Window(2, 3, Shape(4, 5)))

    assert part.corners[0] == (8 * 3 + 3 * 2 + 500000, 4 * 3 - 9 * 2 + 4000000)
    assert part.shape == Shape(4, 5)
    assert not part.upright


def test_bounds_hold_all_corners() -> None:
    left, bottom, right, top = TURNED.bounds

    assert all(left <= x <= right and bottom <= y <= top for x, y in TURNED.corners)


def test_resolution_is_height_and_width_of_a_pixel() -> None:
    assert Grid("EPSG:32618", (5.0, 0, 0, 0, -20.0, 0), Shape(1, 1)).resolution == (20.0, 5.0)


def test_an_image_needs_a_validity_of_its_shape() -> None:
    with pytest.raises(ValueError, match="do not match"):
        Image(np.zeros((1, 2, 3)), np.zeros((3, 2), bool))


def test_an_asset_needs_a_name_for_each_band() -> None:
    with pytest.raises(ValueError, match="2 band names for 1 bands"):
        Asset("a.tif", ("red", "green"), (1,), "uint8")


def test_the_bands_of_a_scene_are_those_of_its_assets_in_order() -> None:
    scene = Scene("s", TURNED, (Asset("a", ("x", "y"), (2, 1), "uint8"), Asset("b", ("z",), (1,), "uint8")))

    assert scene.bands == ("x", "y", "z")


def test_a_lock_entry_tells_only_what_is_known() -> None:
    assert LockEntry("a.tif", size=3).as_dict() == {"uri": "a.tif", "size": 3, "role": "image"}
