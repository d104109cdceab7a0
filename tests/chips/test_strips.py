"""Windows served from strips."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.chips.sampling import Candidate
from geohydra.chips.strips import RollingGround, panel_of, panels, rolling_image
from geohydra.types import IGNORE, Grid, Image, Shape, Window

SCENE = np.arange(300 * 200).reshape(1, 300, 200)


def candidates(places, size):
    return [Candidate("a", Window(row, col, Shape(size, size)), "train", 0.5) for row, col in places]


class Counting:
    """Reads from an array, and counts how often each pixel was asked for."""

    def __init__(self):
        self.seen = np.zeros((300, 200), int)

    def __call__(self, window):
        self.seen[window.slices] += 1
        return Image(SCENE[:, *window.slices], np.ones((window.shape.rows, window.shape.cols), bool))


@settings(max_examples=40, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 268), st.integers(0, 168)), min_size=1, max_size=30),
    block=st.sampled_from([1, 16, 50, 512]),
    ahead=st.booleans(),
)
def test_every_window_is_right_and_no_pixel_of_a_panel_is_read_twice(places, block, ahead):
    with ThreadPoolExecutor(1) as pool:
        for members in panels(candidates(places, 32)):
            reader = Counting()
            read = rolling_image(reader, panel_of(members, block=block), pool=pool if ahead else None)
            for candidate in members:
                assert np.array_equal(read(candidate.window).pixels, SCENE[:, *candidate.window.slices])
            assert reader.seen.max() == 1


def test_scattered_windows_are_read_alone():
    reader = Counting()
    for members in panels(candidates([(0, 0), (268, 168)], 32)):
        rolling_image(reader, panel_of(members, block=64))(members[0].window)

    assert reader.seen.sum() == 2 * 32 * 32


def test_windows_side_by_side_share_their_strips():
    (members,) = panels(candidates([(row, col) for row in range(0, 288, 32) for col in range(0, 192, 32)], 32))

    assert [candidate.window.row for candidate in members] == sorted(candidate.window.row for candidate in members)


def test_a_very_wide_scene_has_several_panels():
    found = list(panels(candidates([(0, col) for col in range(0, 40_000, 32)], 32)))

    assert len(found) == 5
    assert all(panel_of(members, block=1).cols <= 8192 + 32 for members in found)


class Quarters:
    """Four classes in the corners of the scene; counts how often it is asked."""

    grid = Grid("EPSG:32633", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), Shape(300, 200))

    def __init__(self):
        self.asked = 0
        self.names = np.zeros((300, 200), int)
        self.names[150:] += 2
        self.names[:, 100:] += 1

    def mask(self, window, *, ids, background):
        self.asked += 1
        table = np.array([ids.get(name, background) for name in "abcd"], np.uint8)
        return table[self.names[window.slices]]


@pytest.mark.parametrize("ids", [{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3, "d": IGNORE}])
def test_counting_classes_burns_nothing_again(ids):
    ground = Quarters()
    members = candidates([(134, 84)], 32) * 2
    rolling = RollingGround(ground, panel_of(members, block=512))
    mask = rolling.mask(members[0].window, ids=ids, background=0)

    counts = rolling.counts(members[0].window, np.ones((32, 32), bool), ("a", "b", "c"))

    assert counts == {name: int((mask == number).sum()) for name, number in ids.items() if name != "d"} == dict.fromkeys("abc", 256)
    assert ground.asked == 1


def test_classes_that_a_mask_does_not_tell_apart_are_burnt_again():
    ground = Quarters()
    members = candidates([(134, 84)], 32) * 2
    rolling = RollingGround(ground, panel_of(members, block=512))
    rolling.mask(members[0].window, ids={"a": 1, "b": 1}, background=0)

    assert rolling.counts(members[0].window, np.ones((32, 32), bool), ("a", "b")) == {"a": 256, "b": 256}
    assert ground.asked == 2


@settings(max_examples=40, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(20, 240), st.integers(20, 140)), min_size=1, max_size=12),
    around=st.integers(0, 20),
    block=st.sampled_from([16, 512]),
)
def test_a_task_may_ask_for_more_ground_than_the_chip(places, around, block):
    ground, ids = Quarters(), {"a": 1, "b": 2, "c": 3}
    for members in panels(candidates(places, 32)):
        rolling = RollingGround(ground, panel_of(members, block=block))
        for candidate in members:
            wide = Window(candidate.window.row - around, candidate.window.col - around, Shape(32 + 2 * around, 32 + 2 * around))
            for window in (wide, candidate.window):
                found = rolling.mask(window, ids=ids, background=0)
                assert np.array_equal(found, ground.mask(window, ids=ids, background=0))
