from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.errors import ConfigError
from geohydra.raster.composites import Series, composite, monthly, regular

_START = datetime(2020, 1, 31, 10, tzinfo=UTC)


@st.composite
def series(draw: st.DrawFn, dtypes: tuple[str, ...] = ("uint8", "int16", "float32")) -> Series:
    """A few dates at irregular distances, a few pixels, some of which are not valid on some dates."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    times, bands, rows, cols = (int(rng.integers(1, most)) for most in (9, 4, 5, 5))
    days = sorted(rng.choice(120, times, replace=False).tolist())
    pixels = rng.integers(0, 200, (times, bands, rows, cols)).astype(draw(st.sampled_from(dtypes)))
    valid = rng.random((times, rows, cols)) < draw(st.sampled_from([0.2, 0.6, 1.0]))
    if pixels.dtype.kind == "f":
        pixels[(rng.random(pixels.shape) < 0.1)] = np.nan
    return Series(pixels, valid, tuple(_START + timedelta(days=day) for day in days))


def _good(one: Series, row: int, col: int) -> list[int]:
    return [t for t in range(len(one.times)) if one.valid[t, row, col] and np.isfinite(one.pixels[t, :, row, col].astype(float)).all()]


def _rounded(values: Any, dtype: np.dtype[Any]) -> Any:
    return np.rint(values).astype(dtype) if dtype.kind in "iu" else np.asarray(values, dtype)


@pytest.mark.parametrize("how", ["median", "mean", "min", "max", "first", "last", "best:band0 - 2 * band1"])
@settings(max_examples=40, deadline=None)
@given(one=series())
def test_composites_are_what_a_loop_over_pixels_finds(one: Series, how: str) -> None:
    bands = [f"band{place}" for place in range(max(2, one.pixels.shape[1]))][: one.pixels.shape[1]]
    if how.startswith("best") and len(bands) < 2:
        how = "best:-band0"

    image = composite(one, how, bands=bands)

    assert image.pixels.dtype == one.pixels.dtype
    for row, col in np.ndindex(*one.valid.shape[1:]):
        good = _good(one, row, col)
        assert image.valid[row, col] == bool(good)
        here = one.pixels[good, :, row, col]
        if not good:
            assert (image.pixels[:, row, col] == 0).all()
        elif how in ("first", "last"):
            np.testing.assert_array_equal(image.pixels[:, row, col], here[0 if how == "first" else -1])
        elif how.startswith("best"):
            score = -here[:, 0].astype(float) if how == "best:-band0" else here[:, 0].astype(float) - 2.0 * here[:, 1]
            np.testing.assert_array_equal(image.pixels[:, row, col], here[int(score.argmax())])
        else:
            wanted = _rounded(getattr(np, how)(here.astype(np.float64), axis=0), one.pixels.dtype)
            np.testing.assert_allclose(image.pixels[:, row, col], wanted, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(one=series())
def test_months_hold_the_composites_of_their_acquisitions(one: Series) -> None:
    months = monthly(one, "mean")

    assert list(months.times) == sorted(set(months.times))
    assert (months.times[0].year, months.times[0].month) == (one.times[0].year, one.times[0].month)
    assert (months.times[-1].year, months.times[-1].month) == (one.times[-1].year, one.times[-1].month)
    for place, month in enumerate(months.times):
        theirs = [t for t, time in enumerate(one.times) if (time.year, time.month) == (month.year, month.month)]
        if theirs:
            wanted = composite(one.some(theirs), "mean")
            np.testing.assert_array_equal(months.pixels[place], wanted.pixels)
            np.testing.assert_array_equal(months.valid[place], wanted.valid)
        else:
            assert not months.valid[place].any()


@pytest.mark.parametrize("how", ["nearest", "linear", "mean"])
@settings(max_examples=40, deadline=None)
@given(one=series(), days=st.sampled_from([5, 12.5, 40]))
def test_regular_steps_are_what_a_loop_over_pixels_finds(one: Series, how: Any, days: float) -> None:
    found = regular(one, days=days, how=how)

    for place, step in enumerate(found.times):
        assert step == one.times[0] + place * timedelta(days=days)
        for row, col in np.ndindex(*one.valid.shape[1:]):
            wanted = _step(one, how, step, days, row, col)
            assert found.valid[place, row, col] == (wanted is not None)
            if wanted is not None:
                np.testing.assert_allclose(found.pixels[place, :, row, col], _rounded(wanted, one.pixels.dtype), rtol=1e-5, atol=1e-4)


def _step(one: Series, how: str, step: datetime, days: float, row: int, col: int) -> Any:
    good = [(one.times[t], one.pixels[t, :, row, col].astype(np.float64)) for t in _good(one, row, col)]
    if how == "nearest":
        close = [(abs(time - step), values) for time, values in good if abs(time - step) <= timedelta(days=days)]
        return min(close, key=lambda pair: pair[0])[1] if close else None
    if how == "mean":
        inside = [values for time, values in good if step - timedelta(days=days) / 2 <= time < step + timedelta(days=days) / 2]
        return np.mean(inside, axis=0) if inside else None
    before = [pair for pair in good if pair[0] <= step]
    after = [pair for pair in good if pair[0] >= step]
    if not before or not after:
        return None
    (start, low), (stop, high) = before[-1], after[0]
    return low if start == stop else low + (high - low) * ((step - start) / (stop - start))


def test_linear_steps_do_not_bridge_a_longer_gap_than_is_allowed() -> None:
    times = (_START, _START + timedelta(days=60))
    one = Series(np.array([0.0, 60.0]).reshape(2, 1, 1, 1), np.ones((2, 1, 1), bool), times)

    free, bounded = regular(one, days=20, how="linear"), regular(one, days=20, how="linear", within=30)

    assert free.pixels.ravel().tolist() == [0, 20, 40, 60]
    assert bounded.valid.ravel().tolist() == [True, False, False, True]


def test_a_pixel_without_a_score_comes_after_those_with_one() -> None:
    pixels = np.array([[0, 0], [0, 10], [10, 20]], np.uint8).reshape(3, 2, 1, 1)
    one = Series(pixels, np.ones((3, 1, 1), bool), tuple(_START + timedelta(days=day) for day in range(3)))

    image = composite(one, "best:(red - nir) / (red + nir)", bands=["red", "nir"])

    assert image.pixels.ravel().tolist() == [10, 20]


def test_an_unknown_composite_is_named_with_the_nearest_known_one() -> None:
    one = Series(np.zeros((1, 1, 1, 1)), np.ones((1, 1, 1), bool), (_START,))

    with pytest.raises(ConfigError, match=r"'medain' names no composite; did you mean 'median'\?"):
        composite(one, "medain")
    with pytest.raises(ConfigError, match="asks for the band 'nir'"):
        composite(one, "best:nir", bands=["red"])


def test_a_series_is_in_the_order_of_time() -> None:
    with pytest.raises(ValueError, match="not in order"):
        Series(np.zeros((2, 1, 1, 1)), np.ones((2, 1, 1), bool), (_START + timedelta(days=1), _START))
