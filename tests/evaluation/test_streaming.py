"""Counts over windows equal counts over whole arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.errors import DataError
from geohydra.evaluation.streaming import compare, joint, tiles
from geohydra.raster.write import write_image
from geohydra.types import IGNORE, Grid, Shape, Window


def write(path: Path, pixels: np.ndarray) -> Path:
    grid = Grid("EPSG:32633", (1, 0, 500_000, 0, -1, 5_000_000), Shape(*pixels.shape[1:]))
    write_image(path, pixels, grid=grid)
    return path


@given(st.integers(1, 254), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_fused_count_equals_the_plain_one(classes: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth, prediction = draw.integers(0, classes, (2, 50, 40)).astype(np.uint8)
    truth[:3], prediction[5:8] = IGNORE, IGNORE
    known = (truth != IGNORE) & (prediction != IGNORE)
    plain = np.zeros((classes, classes), np.int64)
    np.add.at(plain, (truth[known], prediction[known]), 1)

    assert (joint(truth, prediction, classes) == plain).all()


boxes_in_or_near = st.tuples(st.integers(-5, 40), st.integers(-5, 40), st.integers(1, 30), st.integers(1, 30))


@given(st.lists(boxes_in_or_near, max_size=6), st.integers(1, 50), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_tiles_cover_every_pixel_of_the_windows_once(boxes: list[tuple[int, int, int, int]], rows: int, cols: int) -> None:
    windows = [Window(row, col, Shape(height, width)) for row, col, height, width in boxes]
    shape, wanted, seen = Shape(37, 29), np.zeros((37, 29), int), np.zeros((37, 29), int)
    for window in windows:
        if inside := window.clip(shape):
            wanted[inside.slices] = 1
    for box, region in tiles(shape, windows, Shape(rows, cols)):
        assert box.within(shape)
        seen[box.slices] += 1 if region is None else region

    assert (seen == wanted).all()


def test_only_the_windows_of_the_split_count(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    truth, prediction = draw.integers(0, 3, (2, 1100, 700)).astype(np.uint8)
    windows = [Window(0, 0, Shape(600, 300)), Window(500, 200, Shape(400, 900))]
    inside = np.zeros(truth.shape, bool)
    for window in windows:
        inside[window.slices] = True
    file = write(tmp_path / "classes.tif", prediction[None])
    tally = compare(file, None, shape=Shape(1100, 700), windows=windows, truth=lambda box: truth[box.slices], classes=3, longest=100)

    assert (tally.matrix == joint(truth[inside], prediction[inside], 3)).all()
    assert (tally.overview == np.where(inside, truth, IGNORE)[:: tally.step, :: tally.step]).all()
    assert tally.levels.sum() == 0


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_probabilities_are_counted_by_level(tmp_path: Path, kind: str) -> None:
    draw = np.random.default_rng(2)
    shape = Shape(20, 30)
    level = draw.integers(0, 255, (2, 20, 30))
    truth = draw.integers(0, 2, (20, 30)).astype(np.uint8)
    truth[0] = IGNORE
    pixels = level.astype(np.uint8) if kind == "uint8" else (level / 254).astype(np.float32)
    pixels[:, 1] = 255 if kind == "uint8" else np.nan
    classes = write(tmp_path / "classes.tif", np.zeros((1, 20, 30), np.uint8))
    tally = compare(
        classes,
        write(tmp_path / "p.tif", pixels),
        shape=shape,
        windows=[Window(0, 0, shape)],
        truth=lambda box: truth[box.slices],
        classes=2,
    )
    known = np.zeros((20, 30), bool)
    known[2:] = True

    for place in range(2):
        assert (tally.levels[place, 0] == np.bincount(level[place][known & (truth == place)], minlength=255)).all()
        assert (tally.levels[place, 1] == np.bincount(level[place][known & (truth != place)], minlength=255)).all()


def test_a_prediction_of_another_shape_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "classes.tif", np.zeros((1, 5, 5), np.uint8))

    with pytest.raises(DataError, match="predict this scene again"):
        compare(file, None, shape=Shape(5, 6), windows=[], truth=lambda box: np.zeros((1, 1), np.uint8), classes=2)
