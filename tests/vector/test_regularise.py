"""Right-angled outlines of buildings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize, shapes
from scipy import ndimage
from shapely import affinity

from geohydra.vector.regularise import ALIKE, likeness, regularised


def building(seed: int) -> Any:
    """A rectangle or an angle of walls, turned."""
    draw = np.random.default_rng(seed)
    width, height = draw.uniform(10, 40, 2)
    shape = shapely.box(0, 0, width, height)
    if draw.random() < 0.5:
        shape = shape.difference(shapely.box(width * 0.6, height * 0.5, width, height))
    return affinity.translate(affinity.rotate(shape, draw.uniform(0, 90)), 30, 30)


def found(shape: Any, seed: int, noise: float) -> Any:
    """Its outline as a network finds it: in pixels, with a rough edge."""
    draw = np.random.default_rng(seed)
    burnt = ndimage.gaussian_filter(rasterize([(shape, 1)], out_shape=(100, 100), dtype="uint8").astype(float), 1)
    mask = (burnt + noise * ndimage.gaussian_filter(draw.normal(size=burnt.shape), 1.5) > 0.5).astype(np.uint8)
    return max((shapely.geometry.shape(area) for area, _ in shapes(mask, mask=mask > 0)), key=lambda area: float(area.area))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9999), st.floats(0, 0.6))
def test_an_outline_stays_valid_keeps_its_area_and_is_much_as_it_was(seed: int, noise: float) -> None:
    rough = found(building(seed), seed, noise)

    [smooth] = regularised(np.array([rough]), 0.75)

    assert smooth.geom_type == "Polygon"
    assert smooth.is_valid
    assert smooth.area == pytest.approx(rough.area)
    assert likeness(smooth, rough) >= ALIKE


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9999))
def test_every_corner_is_a_right_angle(seed: int) -> None:
    rough = found(building(seed), seed, 0.2)

    [smooth] = regularised(np.array([rough]), 0.75)

    edges = np.diff(shapely.get_coordinates(smooth.exterior), axis=0)
    turns = np.degrees(np.arctan2(edges[:, 1], edges[:, 0])) % 90
    assert np.minimum(np.abs(turns - turns[0]), 90 - np.abs(turns - turns[0])).max() < 1e-6


def test_outlines_come_nearer_to_the_truth_and_have_few_corners() -> None:
    truth = [building(seed) for seed in range(60)]
    rough = np.array([found(shape, seed, 0.4) for seed, shape in enumerate(truth)])

    smooth = regularised(rough, 0.75)

    before, after = (np.mean([likeness(*pair) for pair in zip(shapes, truth, strict=True)]) for shapes in (rough, smooth))
    assert after > before + 0.015
    assert np.mean(shapely.get_num_coordinates(smooth)) < 8


def test_a_rectangle_comes_back_as_it_is() -> None:
    exact = affinity.rotate(shapely.box(3, 4, 20, 12), 30)

    [smooth] = regularised(np.array([exact]), 0.75)

    assert likeness(smooth, exact) > 0.999999


def test_courtyards_stay_and_what_is_no_building_is_left_alone() -> None:
    yard = shapely.box(0, 0, 30, 30).difference(shapely.box(10, 10, 20, 20))
    star = shapely.Polygon(
        [
            (15 + (14 if turn % 2 else 4) * np.cos(turn / 5 * np.pi), 15 + (14 if turn % 2 else 4) * np.sin(turn / 5 * np.pi))
            for turn in range(10)
        ]
    )

    kept, alone = regularised(np.array([yard, star]), 0.75)

    assert likeness(kept, yard) > 0.999999
    assert alone.is_valid
    assert likeness(alone, star) >= ALIKE
