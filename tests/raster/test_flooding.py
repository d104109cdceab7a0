"""Flooding of objects from seeds, whole and in pieces."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import watershed

from geohydra.raster.flooding import SEED, Components, depths, flood, margin


def landscape(seed: int, shape: tuple[int, int], smooth: float) -> NDArray[np.uint8]:
    """Random hills: some pixels are no object, the highest are seeds."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), smooth, mode="wrap")
    height = (noise - noise.min()) / max(float(np.ptp(noise)), 1e-9)
    return (np.clip((height - 0.35) / 0.3, 0, 1) * SEED).astype(np.uint8)


def literal(levels: NDArray[np.uint8], seeds: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """The rule as it is told, pixel by pixel."""
    labels = seeds.copy()
    for level in range(SEED - 1, 0, -1):
        for _ in range(reach):
            around = np.pad(labels, 1)
            sides = np.stack([around[:-2, 1:-1], around[1:-1, :-2], around[1:-1, 2:], around[2:, 1:-1]])
            first = np.take_along_axis(sides, (sides > 0).argmax(0)[None], axis=0)[0]
            labels = np.where((labels == 0) & (levels >= level), first, labels)
    return labels


@given(st.integers(0, 999), st.tuples(st.integers(1, 40), st.integers(1, 40)), st.floats(0.3, 4), st.integers(1, 12))
def test_flooding_follows_its_rule_to_the_pixel(seed: int, shape: tuple[int, int], smooth: float, reach: int) -> None:
    levels = landscape(seed, shape, smooth)
    seeds = ndimage.label(levels == SEED)[0].astype(np.int64)

    assert (flood(levels, seeds, reach=reach) == literal(levels, seeds, reach)).all()


@given(st.integers(0, 999), st.integers(2, 40), st.integers(1, 5), st.data())
def test_a_piece_with_its_margin_is_flooded_as_in_the_whole(seed: int, size: int, reach: int, data: st.DataObject) -> None:
    shape = (data.draw(st.integers(2, 150)), size)
    levels = landscape(seed, shape, 1.5)
    seeds = ndimage.label(levels == SEED)[0]
    top = data.draw(st.integers(0, shape[0] - 1))
    bottom = data.draw(st.integers(top + 1, shape[0]))
    first, last = max(0, top - margin(reach)), bottom + margin(reach)

    piece = flood(levels[first:last], seeds[first:last], reach=reach)[top - first : bottom - first]

    assert (piece == flood(levels, seeds, reach=reach)[top:bottom]).all()


@given(st.integers(0, 999))
def test_with_a_long_reach_objects_are_those_of_a_watershed(seed: int) -> None:
    levels = landscape(seed, (80, 80), 3)
    seeds = ndimage.label(levels == SEED)[0]

    ours = flood(levels, seeds, reach=200)
    theirs = watershed(-levels.astype(np.int16), seeds, mask=levels > 0)

    assert ((ours > 0) == (theirs > 0)).all()
    assert (ours == theirs).sum() >= 0.85 * ours.size  # they part flat ground in another order


@settings(max_examples=60)
@given(st.integers(0, 999), st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 20), st.floats(0.2, 0.8))
def test_components_of_strips_are_those_of_the_whole(seed: int, heights: list[int], cols: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((sum(heights), cols)) < share
    components, parts, top = Components(), [], 0
    for rows in heights:
        parts.append(components.add(mask[top : top + rows]))
        top += rows

    found = components.united()[np.concatenate(parts)]

    expected = label(mask, connectivity=1)
    assert (found == expected).all()
    large = components.united(least=4)[np.concatenate(parts)]
    sizes = np.bincount(expected.ravel())
    assert ((large > 0) == (mask & (sizes[expected] >= 4))).all()
    assert (np.unique(large[large > 0]) == np.arange(1, large.max() + 1)).all()


@given(st.integers(0, 999), st.integers(1, 30))
def test_depths_are_those_of_each_object_by_itself(seed: int, most: int) -> None:
    ids = np.kron(np.random.default_rng(seed).integers(0, 4, (4, 5)), np.ones((7, 6), int))

    far, parts = depths(ids, most=most)

    for number in np.unique(ids[ids > 0]):
        own = ids == number
        if own.all():
            continue
        away = ndimage.distance_transform_edt(own)
        assert np.allclose(far[own], away[own])
        assert np.allclose(parts[own], np.minimum(away[own] / min(away.max(), most), 1))
    assert not far[ids == 0].any()


def test_an_object_that_the_array_cuts_has_no_edge_there() -> None:
    ids = np.zeros((6, 9), int)
    ids[:, :4] = 1

    far, _ = depths(ids, most=16)

    assert far[3, :5].tolist() == [4, 3, 2, 1, 0]


def test_neither_of_two_touching_objects_takes_from_the_other() -> None:
    levels = np.zeros((8, 20), np.uint8)
    levels[1:7, 1:19] = 4
    levels[2:6, 2:9] = SEED
    levels[2:6, 11:18] = SEED
    seeds = ndimage.label(levels == SEED)[0]

    found = flood(levels, seeds, reach=8)

    assert (found[1:7, 1:10] == 1).all()
    assert (found[1:7, 10:19] == 2).all()
