"""Which objects overlap, and by how much."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.evaluation.overlaps import ANY, Found, Pairs, Truth, mask_pairs, overlapping, raster_pairs


def boxes(draw: np.random.Generator, count: int, side: int = 60) -> np.ndarray:
    start = draw.integers(0, side, (count, 2))
    return np.hstack([start, start + draw.integers(1, 30, (count, 2))]).astype(float)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    rows = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    cols = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - rows * cols
    return rows * cols / union


def found_of(places: np.ndarray, classes: np.ndarray, outlines: np.ndarray | None = None) -> Found:
    return Found.of(places, classes, np.ones(len(places)), outlines)


def as_dict(pairs: Pairs) -> dict[tuple[int, int], float]:
    return {(a, b): c for a, b, c in zip(pairs.found.tolist(), pairs.truth.tolist(), pairs.overlap.tolist(), strict=True)}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 40, 400]), st.floats(0, 0.9))
def test_pairs_are_those_of_a_loop_over_all_with_all(seed: int, count: int, least: float) -> None:
    draw = np.random.default_rng(seed)
    left, right = boxes(draw, count, 10 * int(count**0.5)), boxes(draw, count, 10 * int(count**0.5))
    one, other = draw.integers(0, 3, count), draw.integers(-1, 3, count)

    pairs = as_dict(overlapping(found_of(left, one), Truth.of(right, other), least=least))

    some = range(0, count, max(1, count // 20))
    expected = {
        (a, b): value
        for a in some
        for b in range(count)
        if other[b] in (one[a], ANY) and (value := iou(left[a], right[b])) > 0 and value >= least
    }
    assert {key: value for key, value in pairs.items() if key[0] in some} == pytest.approx(expected)


def test_outlines_are_compared_by_the_area_they_share() -> None:
    draw = np.random.default_rng(1)
    angles = np.linspace(0, 2 * np.pi, 7)[:-1]

    def ring(centre: np.ndarray) -> shapely.Polygon:
        return shapely.Polygon(centre + draw.uniform(3, 12, (6, 1)) * np.column_stack([np.cos(angles), np.sin(angles)]))

    left, right = (np.array([ring(c) for c in draw.uniform(0, 60, (25, 2))]) for _ in range(2))
    one, other = (shapely.bounds(shapes)[:, [1, 0, 3, 2]] for shapes in (left, right))
    none = np.zeros(25, int)

    pairs = as_dict(overlapping(found_of(one, none, left), Truth.of(other, none, right), least=0.2))

    table = shapely.area(shapely.intersection(left[:, None], right)) / shapely.area(shapely.union(left[:, None], right))
    assert pairs == pytest.approx({(int(a), int(b)): table[a, b] for a, b in np.argwhere(table >= 0.2)})


def test_a_box_is_compared_with_an_outline_as_the_polygon_that_it_is() -> None:
    triangle = np.array([shapely.Polygon([(0, 0), (10, 0), (0, 10)])])
    found = found_of(np.array([[0.0, 0, 10, 10]]), np.array([0]))

    pairs = overlapping(found, Truth.of(np.array([[0.0, 0, 10, 10]]), np.array([0]), triangle), least=0.1)

    assert pairs.overlap == pytest.approx([0.5])


def test_what_lies_in_a_crowd_is_its_own() -> None:
    truth = Truth.of(np.array([[0.0, 0, 100, 100]]), np.array([0]))
    crowd = Truth(truth.boxes, truth.classes, truth.areas, np.array([True]), np.array([True]))

    pairs = overlapping(found_of(np.array([[10.0, 10, 20, 20], [-5, 0, 5, 10]]), np.array([0, 0])), crowd, least=0.1)

    assert pairs.overlap == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize("seed", range(5))
def test_masks_rasters_and_outlines_of_the_same_objects_overlap_alike(seed: int) -> None:
    draw = np.random.default_rng(seed)
    left, right = (draw.integers(0, 5, (6, 6)).repeat(4, 0).repeat(4, 1) for _ in range(2))
    masks = [np.stack([ids == number for number in range(1, 5)]) for ids in (left, right)]

    by_raster, by_mask = as_dict(raster_pairs(left, right)), as_dict(mask_pairs(*masks))

    expected = {(a, b): (x & y).sum() / (x | y).sum() for a, x in enumerate(masks[0]) for b, y in enumerate(masks[1]) if (x & y).any()}
    assert by_raster == pytest.approx(expected)
    assert by_mask == pytest.approx(expected)


def test_pairs_among_some_objects_count_rows_among_these() -> None:
    pairs = Pairs(np.array([0, 2, 2]), np.array([1, 0, 3]), np.array([0.1, 0.2, 0.3]))

    kept = pairs.among(np.array([False, True, True]), np.array([True, False, True, True]))

    assert as_dict(kept) == {(1, 0): 0.2, (1, 2): 0.3}
