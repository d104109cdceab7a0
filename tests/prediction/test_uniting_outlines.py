"""Objects found in overlapping windows: the same as if one window had seen them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.prediction.uniting_outlines import Piece, Uniting, piece, united
from geohydra.raster.windows import WindowPlan
from geohydra.types import Shape

SCENE = Shape(120, 150)


def objects_of(seed: int, count: int) -> list[tuple[Any, int, float]]:
    """Turned rectangles that do not overlap, some of them touching, as polygons, with a class and a score."""
    draw = np.random.default_rng(seed)
    kept: list[tuple[Any, int, float]] = []
    for _ in range(count):
        col, row = draw.uniform((5, 5), (SCENE.cols - 5, SCENE.rows - 5))
        box = shapely.affinity.rotate(shapely.box(col, row, col + draw.uniform(4, 60), row + draw.uniform(4, 25)), draw.uniform(0, 90))
        box = box.intersection(shapely.box(0, 0, SCENE.cols, SCENE.rows))
        if box.area > 12 and not any(box.intersection(other).area > 1e-9 for other, _, _ in kept):
            kept.append((box, int(draw.integers(2)), float(draw.uniform(0.3, 1))))
    return kept


def seen_by(plan: WindowPlan, objects: Sequence[tuple[Any, int, float]], row: int) -> list[Piece]:
    """What an honest detector finds in a row of windows: all parts of at least four pixels."""
    found = []
    for col in plan.col_starts:
        top = plan.row_starts[row]
        frame = (top, col, min(top + plan.size.rows, SCENE.rows), min(col + plan.size.cols, SCENE.cols))
        window = shapely.box(frame[1], frame[0], frame[3], frame[2])
        for shape, kind, score in objects:
            for part in shapely.get_parts(shape.intersection(window)):
                if part.geom_type == "Polygon" and part.area >= 4:
                    found.append(piece(part, kind, score, window=frame, scene=(SCENE.rows, SCENE.cols)))
    return found


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 30), st.sampled_from([(48, 32), (64, 40), (120, 90), (40, 20)]))
def test_objects_of_windows_are_those_of_the_scene(seed: int, count: int, sizes: tuple[int, int]) -> None:
    objects = objects_of(seed, count)
    plan = WindowPlan(SCENE, Shape(sizes[0], sizes[0]), Shape(sizes[1], sizes[1]))
    uniting, found = Uniting(), []
    for row in range(len(plan.row_starts)):
        uniting.add(seen_by(plan, objects, row))
        found += uniting.finished(plan.row_starts[row + 1] if row + 1 < len(plan.row_starts) else float("inf"))

    assert len(found) == len(objects)
    for shape, kind, score in objects:
        best = max(found, key=lambda one: one.outline.intersection(shape).area)
        assert best.outline.symmetric_difference(shape).area < max(8.0, 0.02 * shape.area)
        assert best.kind == kind
        assert abs(best.score - score) < 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999))
def test_it_does_not_matter_when_pieces_come(seed: int) -> None:
    objects = objects_of(seed, 20)
    plan = WindowPlan(SCENE, Shape(48, 48), Shape(32, 32))
    every = [one for row in range(len(plan.row_starts)) for one in seen_by(plan, objects, row)]
    shuffled = [every[place] for place in np.random.default_rng(seed).permutation(len(every))]

    first, second = (sorted(one.outline.normalize().wkb for one in united(pieces)) for pieces in (every, shuffled))

    assert first == second


def test_two_touching_objects_of_one_class_stay_two() -> None:
    frames = [(0, 0, 50, 60), (0, 40, 50, 100)]
    found = []
    for frame in frames:
        window = shapely.box(frame[1], frame[0], frame[3], frame[2])
        for shape in (shapely.box(30, 10, 50, 30), shapely.box(50, 10, 75, 30)):
            part = shape.intersection(window)
            if part.area > 0:
                found.append(piece(part, 0, 0.9, window=frame, scene=(50, 100)))

    kept = united(found)

    assert sorted(one.outline.bounds for one in kept) == [(30, 10, 50, 30), (50, 10, 75, 30)]


def test_an_object_that_one_window_sees_whole_is_taken_from_there() -> None:
    whole = piece(shapely.box(45, 10, 58, 20), 0, 0.6, window=(0, 40, 50, 100), scene=(50, 100))
    cut = piece(shapely.box(44, 10, 50, 22), 0, 0.9, window=(0, 0, 50, 50), scene=(50, 100))

    assert united([cut, whole]) == [whole]


def test_an_outline_that_also_touches_the_ground_of_both_windows_from_outside_is_compared_too() -> None:
    bent = shapely.union_all([shapely.box(10, 5, 48, 10), shapely.box(10, 5, 15, 48)])
    edge = shapely.union_all([shapely.box(44, 44, 60, 47), shapely.box(50, 47, 53, 49)])
    first = piece(bent, 0, 0.9, window=(0, 0, 50, 50), scene=(90, 90))
    second = piece(edge, 0, 0.8, window=(40, 40, 90, 90), scene=(90, 90))
    assert shapely.intersection(edge, shapely.intersection(first.seen, second.seen)).geom_type == "GeometryCollection"

    assert united([second, first]) == [first, second]


def test_groups_that_do_not_meet_stand_together_each_with_its_surest_first() -> None:
    near, far, surest = (
        piece(shapely.box(col, 5, col + 5, 10), 0, score, window=(0, 0, 50, 100), scene=(50, 100))
        for col, score in ((5, 0.4), (8, 0.5), (50, 0.9))
    )

    assert united([near, surest, far], [0, 1, 0]) == [far, near, surest]
    assert united([near, surest, far]) == [surest, far, near]
