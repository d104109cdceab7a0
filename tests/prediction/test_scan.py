"""Windows are read in runs of bounded width, and batched in order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geohydra.prediction.scan import batches, groups
from geohydra.raster.windows import WindowPlan
from geohydra.types import Shape


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 64), st.integers(1, 200))
def test_runs_hold_every_window_once_and_are_short(length: int, size: int, stride: int, longest: int) -> None:
    plan = WindowPlan(Shape(1, length), Shape(1, size), Shape(1, min(stride, size)))
    runs = groups(plan.col_starts, size, longest=longest)

    assert [place for run in runs for place in run] == list(range(len(plan.col_starts)))
    assert all(plan.col_starts[run[-1]] + size - plan.col_starts[run[0]] <= max(longest, size) for run in runs)


def test_batches_keep_order_and_the_last_one_is_shorter() -> None:
    pieces = [(place, np.full((3, 4, 5), place, np.float32)) for place in range(5)]
    seen = [(places, batch.shape, batch[:, 0, 0, 0].tolist()) for places, batch in batches(iter(pieces), 2)]

    assert seen == [([0, 1], (2, 3, 4, 5), [0, 1]), ([2, 3], (2, 3, 4, 5), [2, 3]), ([4], (1, 3, 4, 5), [4])]
