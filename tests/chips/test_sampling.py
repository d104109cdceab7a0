"""Where chips are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.build import problems
from geohydra.chips.index import Region
from geohydra.chips.sampling import Candidate, Keep, Random, Sliding, tiles
from geohydra.types import Asset, Grid, Scene, Shape, Window


def scene(rows, cols, name="a"):
    return Scene(name, Grid("EPSG:32633", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), Shape(rows, cols)), (Asset("a.tif", ("red",), (1,), "uint8"),))


def region(row, col, rows, cols, split="train"):
    return Region("a", Window(row, col, Shape(rows, cols)), split)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40), st.integers(1, 16), st.integers(1, 16))
def test_tiles_lie_within_their_region_and_cover_it(row, col, rows, cols, size, stride):
    image = Shape(100, 100)
    found = list(tiles(region(row, col, rows, cols), image, size=size, stride=min(stride, size)))
    if rows < size or cols < size:
        assert found == []
        return
    seen = np.zeros((100, 100), bool)
    for window in found:
        seen[window.slices] = True
    assert seen[row : row + rows, col : col + cols].all()
    assert seen.sum() == rows * cols


def test_an_image_smaller_than_a_chip_has_one_padded_chip():
    assert list(tiles(region(0, 0, 10, 20), Shape(10, 20), size=32, stride=32)) == [Window(0, 0, Shape(32, 32))]


def test_a_low_image_is_tiled_along_its_width():
    assert [window.col for window in tiles(region(0, 0, 10, 80), Shape(10, 80), size=32, stride=32)] == [0, 32, 48]


def test_part_of_an_image_smaller_than_a_chip_has_none():
    assert list(tiles(region(0, 0, 10, 20), Shape(10, 40), size=32, stride=32)) == []


def test_a_cap_keeps_so_many_of_each_split():
    found = Sliding(size=10, cap=3).windows(scene(100, 100), [region(0, 0, 50, 100), region(50, 0, 50, 100, "val")], seed=0)

    assert [candidate.split for candidate in found] == ["train"] * 3 + ["val"] * 3


def test_random_chips_lie_within_their_regions_and_differ():
    regions = [region(0, 0, 40, 100), region(40, 0, 60, 100, "test")]

    found = Random(size=16, count=50).windows(scene(100, 100), regions, seed=0)

    train = [candidate.window for candidate in found if candidate.split == "train"]
    assert 40 <= len(set(train)) == len(train) <= 50
    assert all(window.row_stop <= 40 and window.within(Shape(100, 100)) for window in train)
    assert sum(candidate.split == "test" for candidate in found) == 4 * 7


def test_random_chips_in_a_region_without_room_are_none():
    assert Random(size=16).windows(scene(100, 100), [region(0, 0, 12, 100)], seed=0) == []


@pytest.mark.parametrize("sampling", [Sliding(size=10, cap=5), Random(size=10, count=5)])
def test_the_same_seed_gives_the_same_chips(sampling):
    one = sampling.windows(scene(100, 100), [region(0, 0, 100, 100)], seed=4)

    assert one == sampling.windows(scene(100, 100), [region(0, 0, 100, 100)], seed=4)
    assert one != sampling.windows(scene(100, 100), [region(0, 0, 100, 100)], seed=5)


def test_what_is_dropped_is_told_why():
    lucky, unlucky = (Candidate("a", Window(0, 0, Shape(1, 1)), "train", luck) for luck in (0.1, 0.9))
    keep = Keep(max_nodata=0.5, min_labelled=0.0, keep_empty=0.5)

    assert keep.too_empty(0.4) == "too much nodata"
    assert keep.too_empty(0.5) is None
    assert keep.too_bare(lucky, labelled=0.0) is None
    assert keep.too_bare(unlucky, labelled=0.0) is not None
    assert keep.too_bare(unlucky, labelled=0.1) is None
    assert Keep(min_labelled=0.2).too_bare(lucky, labelled=0.1) == "too few labels"


def test_a_misspelt_argument_is_told():
    found = problems({"_target_": "geohydra.chips.sampling.Sliding", "sise": 3}, where="chip")

    assert "size" in str(found[0])
