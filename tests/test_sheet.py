"""Sheets of pictures: what is given is there pixel by pixel, with its words around it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geohydra.sheet import sheet


def opened(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)))


def holds(picture: NDArray[np.uint8], part: NDArray[np.uint8]) -> bool:
    rows, cols = part.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (rows, cols, 3))[:, :, 0]
    starts = np.argwhere((picture[: len(windows), : windows.shape[1]] == part[0, 0]).all(-1))
    return any(np.array_equal(picture[row : row + rows, col : col + cols], part) for row, col in starts.tolist())


def test_pictures_stand_beside_each_other_unchanged() -> None:
    left, right = (np.random.default_rng(seed).integers(0, 250, (400, 300, 3)).astype(np.uint8) for seed in (0, 1))

    found = opened(sheet([("image", left), ("objects", right)]))

    assert found.shape[1] < 700
    assert holds(found, left)
    assert holds(found, right)


def test_of_small_pictures_each_pixel_is_several() -> None:
    small = np.random.default_rng(0).integers(0, 250, (40, 50, 3)).astype(np.uint8)

    assert holds(opened(sheet([("", small)])), small.repeat(10, axis=0).repeat(10, axis=1))


def test_a_title_and_a_legend_add_rows_and_the_colours_are_there() -> None:
    blank = np.full((500, 500, 3), 255, np.uint8)
    legend = {f"a class with a rather long name {place}": (10 * place, 200, 50) for place in range(8)}

    bare, told = opened(sheet([("", blank)])), opened(sheet([("", blank)], title="place", legend=legend))

    assert told.shape[0] > bare.shape[0] + 3 * 20
    assert (bare == 255).all()
    for color in legend.values():
        assert (told == color).all(axis=-1).sum() > 100
    assert (told[:40] < 100).any()


def test_a_sheet_is_as_wide_as_its_title() -> None:
    assert opened(sheet([("", np.zeros((500, 20, 3), np.uint8))], title="a long name of a place " * 5)).shape[1] > 900
