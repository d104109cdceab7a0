"""Sharing parts out to splits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geohydra.chips.strata import share_out

THIRDS = {"train": 0.6, "val": 0.2, "test": 0.2}


def test_fractions_of_the_area_are_met() -> None:
    found = share_out(np.ones((100, 1)), THIRDS, seed=1)

    assert [found.count(split) for split in THIRDS] == [60, 20, 20]


def test_a_rare_class_stands_in_every_split() -> None:
    weights = np.ones((50, 2))
    weights[:, 1] = 0
    weights[[3, 17, 40], 1] = 1

    found = share_out(weights, THIRDS, seed=5)

    assert {found[3], found[17], found[40]} == set(THIRDS)


def test_a_class_of_one_part_is_for_training() -> None:
    weights = np.ones((20, 2))
    weights[:, 1] = 0
    weights[7, 1] = 1

    assert all(share_out(weights, THIRDS, seed=seed)[7] == "train" for seed in range(10))


@given(st.integers(3, 40), st.integers(1, 4), st.integers(0, 1000))
def test_every_class_of_enough_equal_parts_is_everywhere(parts: int, classes: int, seed: int) -> None:
    weights = np.ones((parts, 1 + classes))

    found = share_out(weights, THIRDS, seed=seed)

    assert set(found) == set(THIRDS)
    assert found == share_out(weights, THIRDS, seed=seed)


def test_another_seed_gives_another_answer() -> None:
    assert share_out(np.ones((30, 1)), THIRDS, seed=0) != share_out(np.ones((30, 1)), THIRDS, seed=1)
