"""The learning rate depends on where training stands, and on nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.training.schedules import LEAST, plateau, rate

NAMES = ["cosine", "one_cycle", "plateau", "constant"]


@given(schedule=st.sampled_from(NAMES), part=st.floats(0, 1), warmup=st.floats(0, 0.5))
def test_a_rate_is_never_more_than_full_and_never_nothing(schedule, part, warmup):
    assert LEAST - 1e-9 <= rate(schedule, part, warmup=warmup) <= 1


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_a_falling_schedule_ends_low(schedule):
    assert rate(schedule, 1.0, warmup=0.1) == pytest.approx(LEAST)


def test_the_rate_rises_until_the_warmup_is_over():
    rates = [rate("constant", part, warmup=0.2) for part in (0.0, 0.1, 0.2, 1.0)]

    assert rates == pytest.approx([0.01, 0.505, 1.0, 1.0])


def test_without_warmup_the_rate_is_full_at_once():
    assert rate("cosine", 0.0, warmup=0.0) == 1


def test_a_plateau_divides_the_rate_by_ten():
    assert plateau([0.5, 0.4, 0.4], 2) == pytest.approx(0.1)
    assert plateau([0.5, 0.4, 0.4, 0.4, 0.4], 2) == pytest.approx(0.01)
    assert plateau([0.5, 0.6, 0.7], 2) == 1
    assert plateau([], 2) == 1
