"""Matches of objects in chips, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geohydra.training.instance_scores import InstanceCounts

NAMES = ("background", "house", "shed")


def chip(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random blocks as objects of two classes."""
    draw = np.random.default_rng(seed)
    ids = np.kron(draw.integers(0, 5, (3, 4)), np.ones((4, 4), int))
    return np.roll(ids, draw.integers(0, 3), axis=0), np.concatenate([[0], draw.integers(1, 3, 6)])


def by_hand(chips: list[tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray], NDArray]]) -> dict[str, float]:  # type: ignore[type-arg]
    """Panoptic quality and F1, object by object."""
    sums = {kind: [0.0, 0, 0, 0] for kind in (1, 2)}
    for (found, kinds), (truth, true_kinds), known in chips:
        there = [number for number in np.unique(truth[known]) if number]
        mine = [number for number in np.unique(found[known]) if number]
        hits = set()
        for number in there:
            for other in mine:
                both = ((truth == number) & (found == other) & known).sum()
                either = (((truth == number) | (found == other)) & known).sum()
                if both / either > 0.5 and true_kinds[number] == kinds[other]:
                    sums[int(true_kinds[number])][0] += both / either
                    sums[int(true_kinds[number])][1] += 1
                    hits |= {("there", number), ("mine", other)}
        for number in there:
            sums[int(true_kinds[number])][2] += ("there", number) not in hits
        for other in mine:
            sums[int(kinds[other])][3] += ("mine", other) not in hits
    parts = [part for part in sums.values() if any(part[1:])]
    if not parts:
        return {"pq": float("nan"), "f1": float("nan")}
    pq = [overlap / (hit + missed / 2 + false / 2) for overlap, hit, missed, false in parts]
    f1 = [2 * hit / (2 * hit + missed + false) for _, hit, missed, false in parts]
    return {"pq": float(np.mean(pq)), "f1": float(np.mean(f1))}


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)), min_size=1, max_size=4), st.floats(0.5, 1))
def test_scores_equal_those_counted_by_hand(seeds: list[tuple[int, int]], share: float) -> None:
    counts, chips = InstanceCounts(NAMES), []
    for first, second in seeds:
        known = np.random.default_rng(first).random((12, 16)) < share
        chips.append((chip(second if first % 3 else first), chip(first), known))
        counts.update(*chips[-1])

    found, expected = counts.compute(), by_hand(chips)

    assert found["pq"] == pytest.approx(expected["pq"], nan_ok=True)
    assert found["f1"] == pytest.approx(expected["f1"], nan_ok=True)


def test_a_perfect_answer_scores_one_and_none_scores_nothing() -> None:
    truth = chip(3)
    right, wrong = InstanceCounts(NAMES), InstanceCounts(NAMES)
    known = np.ones(truth[0].shape, bool)
    right.update(truth, truth, known)
    wrong.update((np.zeros_like(truth[0]), np.array([0])), truth, known)

    assert right.compute() == {"pq": 1, "f1": 1, "match_iou": 1}
    assert wrong.compute() == {"pq": 0, "f1": 0, "match_iou": 0}
