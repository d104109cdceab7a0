"""What pixels are like, in one pass."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.raster.statistics import Statistics
from geohydra.types import IGNORE, Image

PERCENTILES = (0, 1, 2, 5, 25, 50, 75, 95, 98, 99, 100)
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def image_of(seed: int, dtype: str, rows: int, share: float) -> Image:
    """Two bands, of which about `share` is valid."""
    random = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        pixels = random.normal(random.normal(), 3, (2, rows, 7)).astype(kind)
    else:
        info = np.iinfo(kind)
        pixels = random.integers(info.min // 2, info.max // 2, (2, rows, 7), kind)
    return Image(pixels, random.random((rows, 7)) < share)


def close(found: float, expected: float) -> bool:
    return found == pytest.approx(expected, rel=1e-9, abs=1e-9) or (math.isnan(found) and math.isnan(expected))


images = st.builds(
    lambda seed, dtype, rows, share: image_of(seed, dtype, rows, share),
    st.integers(0, 10**6),
    st.shared(st.sampled_from(DTYPES), key="dtype"),
    st.integers(1, 30),
    st.sampled_from([0.0, 0.1, 0.9, 1.0]),
)


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(images, min_size=1, max_size=5), split=st.integers(0, 5))
def test_any_split_and_merge_gives_the_numbers_of_all_valid_pixels(parts: list[Image], split: int) -> None:
    dtype = parts[0].pixels.dtype.name
    first, second = Statistics(["a", "b"], dtype), Statistics(["a", "b"], dtype)
    for number, image in enumerate(parts):
        (first if number < split else second).update(image)

    first.merge(Statistics.from_dict(json.loads(json.dumps(second.as_dict()))))

    for number, band in enumerate(first.bands.values()):
        values = np.concatenate([image.pixels[number][image.valid] for image in parts]).astype(np.float64)
        assert band.count == values.size
        if values.size:
            assert close(band.mean, values.mean())
            assert close(band.std, values.std())
            assert (band.min, band.max) == (values.min(), values.max())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), dtype=st.sampled_from(["uint8", "int8", "uint16", "int16"]), share=st.sampled_from([0.2, 0.8, 1.0]))
def test_percentiles_of_small_integers_are_exact(seed: int, dtype: str, share: float) -> None:
    image = image_of(seed, dtype, 20, share)
    statistics = Statistics(["a", "b"], dtype)
    statistics.update(image)

    for band, pixels in zip(statistics.bands.values(), image.pixels, strict=True):
        expected = np.percentile(pixels[image.valid], PERCENTILES, method="inverted_cdf") if image.valid.any() else []
        assert [band.percentile(q) for q in PERCENTILES][: len(expected)] == list(expected)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "float32"])
@pytest.mark.parametrize("share", [0.1, 0.99, 1.0])
def test_large_images_are_counted_like_small_ones(dtype: str, share: float) -> None:
    image = image_of(3, dtype, 60_001, share)
    whole, parts = Statistics(["a", "b"], dtype), Statistics(["a", "b"], dtype)

    whole.update(image)
    for row in range(0, 60_001, 5000):
        parts.update(Image(image.pixels[:, row : row + 5000], image.valid[row : row + 5000]))

    for name, band in whole.bands.items():
        other = parts.bands[name]
        assert band.count == image.valid.sum()
        assert close(band.mean, other.mean)
        assert close(band.std, other.std)
        assert [band.percentile(q) for q in PERCENTILES] == [other.percentile(q) for q in PERCENTILES]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 1.0, 300.0, 1e9]), offset=st.sampled_from([-3.0, 0.0, 5.0]))
def test_percentiles_of_floats_are_right_to_a_fifth_of_a_percent(seed: int, scale: float, offset: float) -> None:
    values = ((np.random.default_rng(seed).normal(size=(1, 50, 60)) + offset) * scale).astype(np.float32)
    statistics = Statistics(["a"], "float32")
    statistics.update(Image(values, np.ones((50, 60), bool)))

    for q in PERCENTILES:
        found = statistics.bands["a"].percentile(q)
        low, high = (
            np.percentile(values.astype(np.float64), q, method="lower"),
            np.percentile(values.astype(np.float64), q, method="higher"),
        )
        room = 0.002 * max(abs(low), abs(high))
        assert low - room <= found <= high + room


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_histogram_holds_every_pixel(dtype: str) -> None:
    statistics = Statistics(["a", "b"], dtype)
    statistics.update(image_of(1, dtype, 30, 1.0))

    edges, counts = statistics.bands["a"].histogram(16)

    assert counts.sum() == 210
    assert (edges[0], edges[-1]) == (statistics.bands["a"].min, statistics.bands["a"].max)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_without_valid_pixels_nothing_is_known(dtype: str) -> None:
    statistics = Statistics(["a"], dtype)
    statistics.update(Image(np.zeros((1, 4, 4), dtype), np.zeros((4, 4), bool)))

    band = statistics.bands["a"]
    assert (band.count, statistics.valid_share) == (0, 0.0)
    assert math.isnan(band.mean)
    assert math.isnan(band.percentile(50))
    assert band.histogram(4)[1].sum() == 0
    assert statistics.as_dict()["bands"]["a"]["mean"] is None


def test_numbers_beyond_float32_do_not_overflow() -> None:
    statistics = Statistics(["a"], "float64")
    statistics.update(Image(np.array([[[1e100, -1e100]]]), np.ones((1, 2), bool)))

    assert (statistics.bands["a"].min, statistics.bands["a"].max) == (-1e100, 1e100)


def test_classes_are_counted_where_pixels_are_valid() -> None:
    statistics = Statistics(["a"], "uint8", classes=["rest", "roof"])
    ids = np.array([[0, 1, 1], [IGNORE, 1, 0]], np.uint8)
    valid = np.array([[True, True, True], [True, False, True]])

    statistics.update(Image(np.ones((1, 2, 3), np.uint8), valid), ids, pixel_area=4.0)

    assert list(statistics.class_areas()) == [("rest", 2, 8.0), ("roof", 2, 8.0), ("", 1, 4.0)]


def test_class_areas_survive_json_and_merging() -> None:
    statistics = Statistics(["a"], "uint8", classes=["rest", "roof"])
    statistics.update(Image(np.ones((1, 2, 3), np.uint8), np.ones((2, 3), bool)), np.ones((2, 3), np.uint8), pixel_area=2.0)

    again = Statistics.from_dict(json.loads(json.dumps(statistics.as_dict())))
    again.merge(statistics)

    assert list(again.class_areas())[1] == ("roof", 12, 24.0)
    assert again.valid_share == 1.0


def test_statistics_of_other_bands_are_not_merged() -> None:
    with pytest.raises(ValueError, match="same bands"):
        Statistics(["a"], "uint8").merge(Statistics(["b"], "uint8"))


def test_a_wider_type_than_declared_is_refused() -> None:
    with pytest.raises(TypeError, match="safe"):
        Statistics(["a"], "uint8").update(Image(np.zeros((1, 2, 2), np.uint16), np.ones((2, 2), bool)))


def test_another_number_of_bands_is_refused() -> None:
    with pytest.raises(ValueError, match="2 bands for a"):
        Statistics(["a"], "uint8").update(Image(np.zeros((2, 2, 2), np.uint8), np.ones((2, 2), bool)))
