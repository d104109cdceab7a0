"""Targets with a row for each object: stored, padded, turned and warped with their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geohydra.chips.augment import Augment
from geohydra.chips.dataset import Chips
from geohydra.chips.gathering import Gathered
from geohydra.chips.index import Chip
from geohydra.chips.rows import padded, points_of, rows_from, stacked, turned_points, within
from geohydra.chips.store import ChipStore, ChipWriter
from geohydra.task import Rows
from geohydra.types import Image, Shape, Window

SIDE = 16
BOX = (3, 5, 9, 7)


def _painted(box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    image = np.zeros((1, SIDE, SIDE), np.uint8)
    top, left, bottom, right = box
    image[0, top:bottom, left:right] = 200
    return image


def _box_of(image: NDArray[Any]) -> tuple[int, int, int, int]:
    rows, cols = np.nonzero(image[0] > 100)
    return int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1


class _Memory:
    """One chip with a rectangle and the box around it, as often as it is asked for."""

    dtype = np.dtype(np.uint8)

    def __call__(self, places: Any) -> Gathered:
        count = len(places)
        boxes = np.array([[BOX, (np.nan,) * 4]] * count, np.float32)
        targets = {"boxes": boxes, "classes": np.array([[0, -1]] * count), "corners": _corners(boxes)}
        kinds = {"boxes": "boxes", "classes": "plain", "corners": "points"}
        return Gathered(np.stack([_painted(BOX)] * count), np.ones((count, SIDE, SIDE), np.bool_), targets, kinds)


def _corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([points_of(chip, "boxes").reshape(-1, 4, 2) for chip in boxes]).astype(np.float32)


def _chips(transforms: list[dict[str, Any]], count: int = 40) -> Chips:
    index = [Chip("a", Window(0, 0, Shape(SIDE, SIDE)), "train", 1.0, {})] * count
    return Chips(_Memory(), range(count), index, normalise=None, augment=Augment(transforms=transforms), seed=3)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_a_store_gives_back_the_rows_of_every_chip_in_any_order(tmp_path_factory: pytest.TempPathFactory, counts: list[int]) -> None:
    folder: Path = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    given_rows = [rng.random((count, 4)).astype(np.float32) for count in counts]
    image = Image(np.zeros((1, 4, 4), np.uint8), np.ones((4, 4), np.bool_))
    with ChipWriter(folder, bands=["b"], shape=Shape(4, 4), dtype="uint8") as writer:
        for rows in given_rows:
            writer.add(image, {"boxes": Rows(rows, "boxes"), "classes": Rows(np.arange(len(rows)))})
    store = ChipStore(folder)

    places = list(rng.permutation(len(counts)))
    boxes, classes = store.target("boxes", places), store.target("classes", places)

    assert store.rows == {"boxes": "boxes", "classes": "plain"}
    for found, numbers, place in zip(boxes, classes, places, strict=True):
        expected = given_rows[place]
        assert np.array_equal(found[: len(expected)], expected)
        assert np.isnan(found[len(expected) :]).all()
        assert numbers.tolist() == [*range(len(expected)), *([-1] * (len(numbers) - len(expected)))]


def test_rows_read_from_scenes_are_padded_like_stored_ones() -> None:
    parts = [np.ones((2, 4), np.float32), np.ones((0, 4), np.float32)]

    found = stacked([{"boxes": Rows(part, "boxes"), "mask": np.zeros((3, 3))} for part in parts])

    assert np.array_equal(found["boxes"], padded(parts), equal_nan=True)
    assert found["mask"].shape == (2, 3, 3)


@given(st.integers(0, 3), st.booleans())
def test_points_turn_as_pixels_do(quarters: int, mirrored: bool) -> None:
    image = np.rot90(_painted(BOX), quarters, axes=(-2, -1))
    image = image[..., ::-1] if mirrored else image
    boxes = np.array([BOX], np.float64)

    turned = rows_from(turned_points(points_of(boxes, "boxes"), SIDE, quarters, mirrored), boxes, "boxes")

    assert turned[0].tolist() == list(_box_of(image))


@pytest.mark.parametrize(
    "transforms",
    [
        [{"D4": {}}],
        [{"HorizontalFlip": {"p": 0.5}}, {"RandomRotate90": {}}],
        [{"VerticalFlip": {"p": 0.5}}, {"RandomBrightnessContrast": {"brightness_limit": 0.1}}],
        [{"Transpose": {"p": 0.5}}, {"Affine": {"translate_px": {"x": [-2, 2], "y": [-2, 2]}, "p": 1.0}}],
    ],
)
def test_boxes_stay_around_what_they_bound(transforms: list[dict[str, Any]]) -> None:
    chips = _chips(transforms)

    batch = chips.__getitems__(list(range(40)))

    seen = set()
    for image, boxes, corners in zip(batch["image"].numpy(), batch["boxes"].numpy(), batch["corners"].numpy(), strict=True):
        expected = _box_of(image)
        assert np.abs(boxes[0] - expected).max() < 0.01
        assert np.abs(corners[0].min(0) - expected[:2]).max() < 0.01
        assert np.isnan(boxes[1]).all()
        seen.add(expected)
    assert len(seen) > 1
    assert batch["classes"].tolist() == [[0, -1]] * 40


def test_what_leaves_a_chip_is_no_object_any_more() -> None:
    boxes = np.array([[-4.0, 2, 5, 8], [-9, 2, 0.5, 8], [20, 20, 24, 30]])

    found = within(boxes, "boxes", SIDE, SIDE)

    assert found[0].tolist() == [0, 2, 5, 8]
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize(("kind", "shape"), [("boxes", (0, 4)), ("points", (0, 4, 2)), ("points", (0, 2))])
def test_a_batch_without_objects_has_nothing_to_cut_off(kind, shape):
    assert within(np.empty(shape), kind, SIDE, SIDE).shape == shape


def test_points_that_all_lie_outside_are_none():
    corners = np.array([[[-3.0, 2], [-1, 2], [-1, 5], [-3, 5]], [[-3, 2], [1, 2], [1, 5], [-3, 5]]])

    assert np.isnan(within(corners, "points", SIDE, SIDE)).all(axis=(1, 2)).tolist() == [True, False]
