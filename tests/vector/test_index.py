"""Boxes found by place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.vector.index import BoxTree


@settings(max_examples=80, deadline=None)
@given(count=st.integers(0, 700), seed=st.integers(0, 9999))
def test_a_tree_finds_what_a_look_at_every_box_finds(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    corner = random.integers(-50, 1000, (count, 2)) / 2
    boxes = np.hstack([corner, corner + random.integers(0, 100, (count, 2)) / 2])
    boxes[random.random(count) < 0.1] = np.nan
    left, top = random.integers(0, 900, 2) / 2
    right, bottom = left + random.integers(0, 200) / 2, top + random.integers(0, 200) / 2

    found = BoxTree(boxes).touching(left, top, right, bottom)

    meeting = (boxes[:, 0] <= right) & (boxes[:, 1] <= bottom) & (boxes[:, 2] >= left) & (boxes[:, 3] >= top)
    assert set(np.flatnonzero(meeting)) <= set(found)
    assert np.all(np.diff(found) > 0)
    near = (boxes[:, 0] <= right + 0.1) & (boxes[:, 1] <= bottom + 0.1) & (boxes[:, 2] >= left - 0.1) & (boxes[:, 3] >= top - 0.1)
    assert set(found) <= set(np.flatnonzero(near))


@pytest.mark.parametrize("count", [1, 16, 17, 1000])
def test_a_box_costs_few_bytes(count: int) -> None:
    assert BoxTree(np.ones((count, 4))).size <= 22 * count + 16
