"""Windows put together to rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.raster.mosaic import StripMosaic
from geohydra.raster.windows import Blend, WindowPlan, shares, stride_of
from geohydra.types import Shape, Window, tile_windows

sizes = st.builds(Shape, st.integers(1, 40), st.integers(1, 40))
blends = st.sampled_from(("none", "linear", "hann"))


def predicted(image: Shape, size: Shape, stride: Shape, blend: Blend) -> list[tuple[int, np.ndarray]]:
    """Every pixel predicted as its own coordinates."""
    mosaic = StripMosaic(image, 2, size, stride, blend)
    strips = []
    for window in tile_windows(image, size, stride):
        rows, cols = np.mgrid[window.slices]
        mosaic.add(window, np.stack([rows, cols]).astype(np.float32))
        strips += list(mosaic.finished())
    return strips


@settings(max_examples=300, deadline=None)
@given(image=sizes, size=sizes, overlap=st.floats(0, 0.95), blend=blends)
def test_the_mosaic_of_a_function_of_place_is_that_function(image: Shape, size: Shape, overlap: float, blend: Blend) -> None:
    strips = predicted(image, size, stride_of(size, overlap), blend)

    whole = np.concatenate([strip for _, strip in strips], axis=1)
    np.testing.assert_allclose(whole, np.mgrid[: image.rows, : image.cols], rtol=1e-5, atol=1e-5)
    assert [row for row, _ in strips] == list(np.cumsum([0, *(strip.shape[1] for _, strip in strips)])[:-1])


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 200), size=st.integers(1, 60), overlap=st.floats(0, 0.95), blend=blends)
def test_weights_add_up_to_one_in_every_pixel(length: int, size: int, overlap: float, blend: Blend) -> None:
    plan = WindowPlan(Shape(length, 1), Shape(size, 1), stride_of(Shape(size, 1), overlap))
    total = np.zeros(length)

    for start, (part, weight) in shares(plan.row_starts, size, length, blend).items():
        total[start + part.start : start + part.stop] += 1 if weight is None else weight

    np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_blending_is_smooth_where_windows_disagree() -> None:
    mosaic = StripMosaic(Shape(1, 24), 1, Shape(1, 16), Shape(1, 8), "linear")
    for value, window in enumerate(mosaic.plan.strips().__next__()[1]):
        mosaic.add(window, np.full((1, 1, 16), value, np.float32))

    ((_, strip),) = mosaic.finished()

    np.testing.assert_allclose(np.diff(strip[0, 0]), [0] * 7 + [1 / 16] + [1 / 8] * 7 + [1 / 16] + [0] * 7, atol=1e-6)


def test_rows_leave_as_soon_as_no_window_touches_them() -> None:
    strips = predicted(Shape(100, 10), Shape(20, 10), Shape(15, 10), "hann")

    assert [strip.shape[1] for _, strip in strips] == [15] * 5 + [5, 20]


def test_without_overlap_any_dtype_is_copied() -> None:
    mosaic = StripMosaic(Shape(4, 4), 1, Shape(4, 4), Shape(4, 4), dtype=np.uint8)
    ids = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    mosaic.add(Window(0, 0, Shape(4, 4)), ids)

    ((row, strip),) = mosaic.finished()

    assert row == 0
    assert strip.dtype == np.uint8
    np.testing.assert_array_equal(strip, ids)


def test_a_window_out_of_order_is_refused() -> None:
    mosaic = StripMosaic(Shape(4, 8), 1, Shape(4, 4), Shape(4, 4))

    with pytest.raises(ValueError, match="not the next window"):
        mosaic.add(Window(0, 4, Shape(4, 4)), np.zeros((1, 4, 4)))


def test_a_stride_beyond_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves gaps"):
        WindowPlan(Shape(10, 10), Shape(2, 2), Shape(3, 2))


@given(image=sizes, size=sizes)
def test_a_plan_lists_the_windows_that_tile_an_image(image: Shape, size: Shape) -> None:
    plan = WindowPlan(image, size, size)

    windows = [window for _, row in plan.strips() for window in row]

    assert windows == list(tile_windows(image, size, size))
    assert plan.total == len(windows)


def test_an_overlap_of_a_whole_window_is_refused() -> None:
    with pytest.raises(ValueError, match="less than 1"):
        stride_of(Shape(4, 4), 1.0)
