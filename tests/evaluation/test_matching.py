"""Who is matched with whom, against loops as published scorers have them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.evaluation.matching import NOBODY, best, by_choice, free
from geohydra.evaluation.overlaps import Pairs


def table(seed: int, found: int, truth: int) -> np.ndarray:
    """Overlaps `(found, truth)` with many ties; 0 where a pair does not meet."""
    draw = np.random.default_rng(seed)
    return np.where(draw.random((found, truth)) < 0.5, draw.integers(1, 5, (found, truth)) / 5, 0.0)


def pairs_of(overlaps: np.ndarray, seed: int) -> Pairs:
    left, right = np.nonzero(overlaps)
    order = np.random.default_rng(seed).permutation(len(left))
    return Pairs(left[order], right[order], overlaps[left[order], right[order]])


def free_by_hand(overlaps: np.ndarray, many: np.ndarray, last: np.ndarray) -> list[int]:
    """The loop of COCO's scorer."""
    taken, match = np.zeros(overlaps.shape[1], bool), []
    for row in overlaps:
        chosen, most = NOBODY, 1e-9
        for place in [*np.flatnonzero(~last), *np.flatnonzero(last)]:
            if taken[place] and not many[place]:
                continue
            if chosen != NOBODY and not last[chosen] and last[place]:
                break
            if row[place] >= most:
                most, chosen = row[place], int(place)
        match.append(chosen)
        if chosen != NOBODY:
            taken[chosen] = True
    return match


def best_by_hand(overlaps: np.ndarray, many: np.ndarray) -> list[int]:
    """The loop of VOC's scorer."""
    taken, match = np.zeros(overlaps.shape[1], bool), []
    for row in overlaps:
        chosen = int(row.argmax()) if row.size and row.max() > 0 else NOBODY
        if chosen != NOBODY and taken[chosen] and not many[chosen]:
            chosen = NOBODY
        match.append(chosen)
        if chosen != NOBODY:
            taken[chosen] = True
    return match


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 8))
def test_each_takes_the_best_that_is_still_free(seed: int, found: int, truth: int) -> None:
    overlaps, draw = table(seed, found, truth), np.random.default_rng(seed + 1)
    last = draw.random(truth) < 0.3
    many = last & (draw.random(truth) < 0.5)

    matches = free(by_choice(pairs_of(overlaps, seed)), found, many, last)

    assert matches.truth.tolist() == free_by_hand(overlaps, many, last)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 8))
def test_each_takes_the_best_or_nothing(seed: int, found: int, truth: int) -> None:
    overlaps, many = table(seed, found, truth), np.random.default_rng(seed + 1).random(truth) < 0.3

    matches = best(pairs_of(overlaps, seed), found, many)

    assert matches.truth.tolist() == best_by_hand(overlaps, many)


@pytest.mark.parametrize("seed", range(20))
def test_matches_name_the_pair_that_they_stand_on(seed: int) -> None:
    pairs = by_choice(pairs_of(table(seed, 10, 10), seed))
    none = np.zeros(10, bool)

    for matches in (free(pairs, 10, none, none), best(pairs, 10, none)):
        there = np.flatnonzero(matches.truth != NOBODY)
        assert pairs.found[matches.pair[there]].tolist() == there.tolist()
        assert pairs.truth[matches.pair[there]].tolist() == matches.truth[there].tolist()
