"""Pixels as a network sees them."""

from __future__ import annotations

import numpy as np
import pytest

from geohydra.chips.normalise import Normalise
from geohydra.errors import DataError
from geohydra.types import Image


def test_a_band_has_its_mean_taken_off_and_is_divided_by_its_deviation() -> None:
    pixels = np.array([[[10, 20]], [[1, 3]]], np.uint8)

    found = Normalise([10, 1], [5, 2])(Image(pixels, np.ones((1, 2), bool)))

    assert found.dtype == np.float32
    assert found.tolist() == [[[0, 2]], [[0, 1]]]


def test_what_is_not_valid_is_zero_even_if_it_is_no_number() -> None:
    pixels = np.array([[[np.nan, -1e308, 7.0]]])

    found = Normalise([5], [2])(Image(pixels, np.array([[False, False, True]])))

    assert found.tolist() == [[[0, 0, 1]]]


def test_a_band_that_never_changes_becomes_zero() -> None:
    assert not Normalise([3], [0])(Image(np.full((1, 2, 2), 3, np.uint16), np.ones((2, 2), bool))).any()


def test_statistics_are_taken_by_the_names_of_bands() -> None:
    found = Normalise.from_statistics({"red": {"mean": 1, "std": 2}, "nir": {"mean": 3, "std": 4}}, ["nir", "red"])

    assert (found.mean.tolist(), found.std.tolist()) == ([3, 1], [4, 2])


def test_a_band_without_statistics_is_named() -> None:
    with pytest.raises(DataError, match="nir"):
        Normalise.from_statistics({"red": {"mean": 1, "std": 2}}, ["nir"])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_a_batch_gives_what_its_images_give(dtype: str) -> None:
    rng = np.random.default_rng(0)
    pixels, valid = rng.integers(0, 200, (3, 2, 4, 5)).astype(dtype), rng.random((3, 4, 5)) > 0.3
    normalise = Normalise([100, 50], [30, 10])

    batch = normalise.batch(pixels, valid)

    assert all(np.array_equal(normalise(Image(*one)), other) for one, other in zip(zip(pixels, valid, strict=True), batch, strict=True))
