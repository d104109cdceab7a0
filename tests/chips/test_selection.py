"""Quotas and negatives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geohydra.chips.index import Chip
from geohydra.chips.sampling import Keep
from geohydra.chips.selection import select
from geohydra.types import Shape, Window

SHARES = st.fixed_dictionaries({"building": st.sampled_from([0.0, 0.0, 0.3]), "road": st.sampled_from([0.0, 0.0, 0.0, 0.1])})
CHIPS = st.lists(st.tuples(SHARES, st.sampled_from(["train", "train", "val"])), min_size=1, max_size=60)


def chips(drawn):
    return [Chip("a", Window(place, 0, Shape(1, 1)), split, 1.0, shares) for place, (shares, split) in enumerate(drawn)]


def kept(found, luck, keep):
    return [found[place] for place in select(found, luck, keep).places]


def count(found, name):
    return sum(chip.split == "train" and chip.shares[name] > 0 for chip in found)


@given(CHIPS, st.integers(0, 99), st.integers(1, 12), st.integers(1, 6))
def test_quotas_are_filled_where_they_can_be(drawn, seed, buildings, roads):
    found = chips(drawn)
    luck = np.random.default_rng(seed).random(len(found))

    left = kept(found, luck, Keep(quotas={"building": buildings, "road": roads}))

    assert count(left, "building") >= min(buildings, count(found, "building"))
    assert count(left, "road") >= min(roads, count(found, "road"))
    assert sum(chip.split == "train" and any(chip.shares.values()) for chip in left) <= buildings + roads
    assert [chip for chip in left if chip.split == "val"] == [chip for chip in found if chip.split == "val"]


@given(CHIPS, st.integers(0, 99), st.sampled_from([0.0, 0.25, 1.0]))
def test_chips_without_a_label_are_so_many_at_most(drawn, seed, negatives):
    found = chips(drawn)
    luck = np.random.default_rng(seed).random(len(found))

    left = [chip for chip in kept(found, luck, Keep(negatives=negatives)) if chip.split == "train"]

    empty = sum(not any(chip.shares.values()) for chip in left)
    there = sum(chip.split == "train" and not any(chip.shares.values()) for chip in found)
    assert empty == min(there, round(negatives * (len(left) - empty)))


@given(CHIPS, st.integers(0, 99))
def test_what_stays_does_not_depend_on_the_order(drawn, seed):
    rng = np.random.default_rng(seed)
    found = chips(drawn)
    luck, order = rng.random(len(found)), rng.permutation(len(found))
    keep = Keep(negatives=0.5, quotas={"building": 5, "road": 2})

    one = kept(found, luck, keep)
    other = kept([found[place] for place in order], luck[order], keep)

    assert sorted(one, key=lambda chip: chip.window.row) == sorted(other, key=lambda chip: chip.window.row)


def test_a_quota_that_cannot_be_filled_is_told():
    found = chips([({"building": 0.5, "road": 0.0}, "train")] * 3)

    selection = select(found, [0.1, 0.2, 0.3], Keep(quotas={"building": 2, "road": 5}))

    assert selection.notes == ("Only 0 training chips show 'road', where 5 are asked for.",)
    assert selection.dropped == {"classes of which there are enough": 1}
    assert selection.places == (0, 1)
