"""Objects of windows become those of the scene, however it is tiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geohydra.prediction.uniting import Uniter, unite
from geohydra.raster.windows import WindowPlan, stride_of
from geohydra.task import Detections
from geohydra.types import Shape, Window

GAP = 5


def scattered(seed: int, image: Shape, count: int = 40) -> Detections:
    """Boxes of many sizes that keep apart from each other, in two classes; some are larger than any window."""
    rng = np.random.default_rng(seed)
    kept: list[NDArray[np.float64]] = []
    for _ in range(count):
        sides = np.exp(rng.uniform(np.log(3), np.log(150), 2))
        top = rng.uniform(0, np.maximum(1, [image.rows, image.cols] - sides))
        box = np.round(np.concatenate([top, np.minimum(top + sides, [image.rows, image.cols])]))
        apart = all((box[:2] >= other[2:] + GAP).any() or (other[:2] >= box[2:] + GAP).any() for other in kept)
        if apart and (box[2:] - box[:2] >= 2).all():
            kept.append(box)
    scores = rng.uniform(0.1, 1, len(kept)).astype(np.float32)
    return Detections(np.array(kept).reshape(-1, 4), scores, rng.integers(0, 2, len(kept)))


def seen(every: Detections, window: Window) -> Detections:
    """What a perfect detector finds in a window: of each object the part that lies in it."""
    top = np.maximum(every.boxes[:, :2], [window.row, window.col])
    bottom = np.minimum(every.boxes[:, 2:], [window.row_stop, window.col_stop])
    here = (bottom > top).all(axis=1)
    return Detections(np.concatenate([top, bottom], axis=1), every.scores, every.classes).take(here)


def windows_of(plan: WindowPlan) -> list[Window]:
    return [Window(row, col, plan.size) for row in plan.row_starts for col in plan.col_starts]


def rows_of(found: Detections) -> list[tuple[float, ...]]:
    columns = (*found.boxes.T, found.classes, found.scores)
    return sorted(tuple(float(value) for value in row) for row in zip(*columns, strict=True))


scenes = st.tuples(
    st.integers(0, 10_000), st.integers(20, 300), st.integers(20, 300), st.sampled_from([32, 64]), st.sampled_from([0.0, 0.125, 0.25, 0.5])
)


@given(scenes)
@settings(max_examples=60, deadline=None)
def test_tiled_prediction_of_a_perfect_detector_equals_the_untiled_one(drawn: tuple[int, int, int, int, float]) -> None:
    seed, rows, cols, side, overlap = drawn
    every = scattered(seed, Shape(rows, cols))
    plan = WindowPlan(Shape(rows, cols), Shape(side, side), stride_of(Shape(side, side), overlap))

    found = unite([(window, seen(every, window)) for window in windows_of(plan)], plan)

    assert rows_of(found) == rows_of(every)


@given(scenes)
@settings(max_examples=40, deadline=None)
def test_objects_are_the_same_in_any_order_and_row_by_row(drawn: tuple[int, int, int, int, float]) -> None:
    seed, rows, cols, side, overlap = drawn
    rng = np.random.default_rng(seed)
    plan = WindowPlan(Shape(rows, cols), Shape(side, side), stride_of(Shape(side, side), overlap))
    parts = [(window, noisy(seen(scattered(seed, Shape(rows, cols)), window), rng)) for window in windows_of(plan)]

    whole = rows_of(unite(parts, plan))

    assert rows_of(unite([parts[place] for place in rng.permutation(len(parts))], plan)) == whole
    assert rows_of(streamed(parts, plan)) == whole


def noisy(found: Detections, rng: np.random.Generator) -> Detections:
    """Boxes moved a little, with scores of their own, some twice and some missing."""
    places = rng.integers(0, max(1, len(found)), len(found))
    moved = found.boxes[places] + rng.normal(0, 1.5, (len(found), 4))
    boxes = np.concatenate([moved[:, :2], np.maximum(moved[:, :2] + 0.5, moved[:, 2:])], axis=1)
    return Detections(boxes, rng.uniform(0, 1, len(found)).astype(np.float32), found.classes[places])


def streamed(parts: Sequence[tuple[Window, Detections]], plan: WindowPlan) -> Detections:
    uniter, found = Uniter(plan), []
    for row, start in enumerate(plan.row_starts):
        for window, there in parts:
            if window.row == start:
                uniter.add(there, window)
        found.append(uniter.settled(row))
    found.append(uniter.rest())
    return Detections(*(np.concatenate([getattr(one, name) for one in found]) for name in ("boxes", "scores", "classes")))


def test_objects_are_settled_before_the_last_row() -> None:
    plan = WindowPlan(Shape(640, 64), Shape(64, 64), Shape(48, 48))
    every = scattered(3, Shape(640, 64), count=400)
    uniter = Uniter(plan)
    early = 0
    for row, start in enumerate(plan.row_starts[:-1]):
        uniter.add(seen(every, window := Window(start, 0, plan.size)), window)
        early += len(uniter.settled(row))

    assert early >= (every.boxes[:, 2] < 500).sum() > 5


def test_classes_are_kept_apart_and_the_surer_of_two_alike_is_told() -> None:
    plan = WindowPlan(Shape(64, 64), Shape(64, 64), Shape(64, 64))
    boxes = np.array([[10, 10, 30, 30], [11, 11, 31, 31], [10, 10, 30, 30.0]])
    found = Detections(boxes, np.array([0.6, 0.9, 0.5], np.float32), np.array([0, 0, 1]))

    united = unite([(Window(0, 0, Shape(64, 64)), found)], plan)

    assert rows_of(united) == rows_of(found.take(np.array([1, 2])))


def test_what_lies_in_the_padding_is_left_out_and_boxes_end_at_the_scene() -> None:
    plan = WindowPlan(Shape(40, 40), Shape(64, 64), Shape(64, 64))
    found = Detections(np.array([[30, 30, 44, 42], [42, 42, 60, 60.0]]), np.ones(2, np.float32), np.zeros(2, np.int64))

    united = unite([(Window(0, 0, Shape(64, 64)), found)], plan)

    assert united.boxes.tolist() == [[30, 30, 40, 40]]


@pytest.mark.parametrize("angle", [0.3, 0.8])
def test_turned_boxes_side_by_side_stay_two_and_one_seen_twice_is_one(angle: float) -> None:
    plan = WindowPlan(Shape(100, 160), Shape(100, 100), Shape(100, 60))
    along, across = np.array([np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), -np.sin(angle)])
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    rectangle = np.array([50.0, 80.0]) + signs[:, :1] * along * 15 + signs[:, 1:] * across * 3
    corners = np.stack([rectangle, rectangle + across * 7])
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    both = Detections(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int64), corners)

    found = unite([(Window(0, 0, plan.size), both), (Window(0, 60, plan.size), both)], plan)

    assert found.corners is not None
    assert len(found) == 2
    shapes = [shapely.polygons(one) for one in (found.corners, corners)]
    assert float(shapely.area(shapely.union_all(shapes[0]).symmetric_difference(shapely.union_all(shapes[1])))) < 1e-6
