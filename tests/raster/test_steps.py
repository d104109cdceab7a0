"""Series made regular hold what was measured within each step, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from geohydra.errors import ConfigError
from geohydra.raster.steps import check_steps, step_times, stepped
from geohydra.types import Series, Steps

_START = datetime(2023, 11, 20, 10, tzinfo=UTC)


def _series(seed: int, count: int = 12) -> Series:
    draw = np.random.default_rng(seed)
    days = np.sort(draw.choice(140, count, replace=False))
    times = tuple(_START + timedelta(days=int(day)) for day in days - days[0])
    return Series(draw.integers(1, 100, (count, 2, 4, 5)).astype(np.int16), draw.random((count, 4, 5)) < 0.7, times)


@pytest.mark.parametrize("days", [None, 7, 16])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_is_the_composite_of_the_acquisitions_within_it(days: int | None, seed: int) -> None:
    series, steps = _series(seed), Steps(days, "max")

    found = stepped(series, steps, bands=("a", "b"))

    assert found.times == step_times(series.times, steps)
    assert found.pixels.dtype == series.pixels.dtype
    for place, start in enumerate(found.times):
        stop = found.times[place + 1] if place + 1 < len(found.times) else datetime.max.replace(tzinfo=UTC)
        within = np.array([start <= time < stop for time in series.times])
        valid = series.valid[within]
        expected = np.where(valid[:, None], series.pixels[within], 0).max(axis=0, initial=0)
        np.testing.assert_array_equal(found.valid[place], valid.any(axis=0))
        np.testing.assert_array_equal(found.pixels[place], expected)


def test_months_go_over_the_turn_of_the_year() -> None:
    last = datetime(2024, 2, 3, tzinfo=UTC)

    found = step_times([_START, last], Steps())

    assert [f"{time:%Y-%m-%d}" for time in found] == ["2023-11-01", "2023-12-01", "2024-01-01", "2024-02-01"]


def test_linear_steps_lie_between_what_was_measured() -> None:
    pixels = np.array([10, 99, 30], np.float32)[:, None, None, None]
    valid = np.array([True, False, True])[:, None, None]
    series = Series(pixels, valid, (_START, _START + timedelta(days=5), _START + timedelta(days=20)))

    found = stepped(series, Steps(10, "linear"), bands=("a",))

    assert found.pixels.ravel().tolist() == [10, 20, 30]
    assert found.valid.all()


def test_the_best_of_a_step_is_chosen_by_an_expression() -> None:
    series = _series(4)

    found = stepped(series, Steps(None, "best:a"), bands=("a", "b"))

    np.testing.assert_array_equal(found.pixels[:, 0], stepped(series, Steps(None, "max"), bands=("a", "b")).pixels[:, 0])


def test_what_makes_no_steps_is_told() -> None:
    with pytest.raises(ConfigError, match="months are not equally long"):
        check_steps(Steps(None, "nearest"), ("a",), where="steps_by")
