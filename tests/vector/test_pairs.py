from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.vector.pairs import Pairs, assigned, overlapping


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 5))
def test_the_best_pairs_weigh_as_much_as_the_best_of_all_orders(seed: int, rows: int, cols: int) -> None:
    rng = np.random.default_rng(seed)
    table = np.where(rng.random((rows, cols)) < 0.6, rng.random((rows, cols)) + 0.01, 0)
    ones, others = np.nonzero(table)

    best = assigned(Pairs(ones, others, table[ones, others]))

    wide = table if rows <= cols else table.T
    most = max(sum(wide[row, col] for row, col in enumerate(order)) for order in permutations(range(wide.shape[1]), wide.shape[0]))
    assert len(set(best.ones)) == len(set(best.others)) == len(best)
    assert best.weights.sum() == pytest.approx(most)


@pytest.mark.parametrize("count", [6, 400])
def test_overlaps_are_those_of_a_table_of_all_with_all(count: int) -> None:
    rng = np.random.default_rng(count)
    low = rng.uniform(0, 10 * count**0.5, (2, count, 2))
    ones, others = (np.hstack([part, part + rng.uniform(1, 20, (count, 2))]) for part in low)
    top, bottom = np.maximum(ones[:, None, :2], others[None, :, :2]), np.minimum(ones[:, None, 2:], others[None, :, 2:])
    shared = np.clip(bottom - top, 0, None).prod(axis=-1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (ones, others)]
    table = shared / (areas[0][:, None] + areas[1][None] - shared)

    found = overlapping(ones, others)

    rows, cols = np.nonzero(table)
    assert (found.ones.tolist(), found.others.tolist()) == (rows.tolist(), cols.tolist())
    np.testing.assert_allclose(found.weights, table[rows, cols])


def test_nothing_pairs_with_nothing() -> None:
    assert len(assigned(overlapping(np.empty((0, 4)), np.zeros((3, 4))))) == 0
