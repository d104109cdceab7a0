"""Chips on disk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.chips.store import ChipStore, ChipWriter
from geohydra.errors import StoreError
from geohydra.types import Image, Shape


def chip(seed, *, bands=3, rows=7, cols=5, dtype="uint16"):
    rng = np.random.default_rng(seed)
    image = Image(rng.integers(0, 255, (bands, rows, cols)).astype(dtype), rng.random((rows, cols)) > 0.4)
    return image, {"mask": rng.integers(0, 5, (rows, cols)).astype(np.uint8), "count": np.array(seed, np.int32)}


def write(folder, chips, *, bands=3, shape=None, dtype="uint16"):
    with ChipWriter(folder, bands=[f"b{place}" for place in range(bands)], shape=shape or Shape(7, 5), dtype=dtype) as writer:
        for one in chips:
            writer.add(*one)


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(1, 5),
    rows=st.integers(1, 20),
    cols=st.integers(1, 20),
    bands=st.integers(1, 6),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"]),
)
def test_chips_come_back_as_they_were_in_any_order(tmp_path_factory, count, rows, cols, bands, dtype):
    folder = tmp_path_factory.mktemp("store")
    chips = [chip(seed, bands=bands, rows=rows, cols=cols, dtype=dtype) for seed in range(count)]
    write(folder, chips, bands=bands, shape=Shape(rows, cols), dtype=dtype)
    places = [*[*range(count)][::-1], 0]

    store = ChipStore(folder)

    assert store.dtype == np.dtype(dtype)
    assert np.array_equal(store.pixels(places), np.stack([chips[place][0].pixels for place in places]))
    assert np.array_equal(store.valid(places), np.stack([chips[place][0].valid for place in places]))
    assert np.array_equal(store.target("mask", places), np.stack([chips[place][1]["mask"] for place in places]))
    assert store.target("count", places).tolist() == places


def test_views_of_larger_arrays_are_kept_whole(tmp_path):
    pixels = np.arange(2 * 20 * 20, dtype=np.uint16).reshape(2, 20, 20)[:, 3:10, 4:9]
    write(tmp_path, [(Image(pixels, np.ones((7, 5), bool)), {})], bands=2)

    assert np.array_equal(ChipStore(tmp_path).pixels([0])[0], pixels)


def test_a_store_that_was_not_finished_cannot_be_opened(tmp_path):
    with pytest.raises(AttributeError):
        write(tmp_path, [chip(0), (None, None)])

    with pytest.raises(StoreError, match="no chips are stored"):
        ChipStore(tmp_path)


def test_a_file_that_lost_its_end_is_told(tmp_path):
    write(tmp_path, [chip(0), chip(1)])
    path = tmp_path / "image.raw"
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(StoreError, match="419 bytes where 420"):
        ChipStore(tmp_path)


def test_a_chip_that_looks_otherwise_is_refused(tmp_path):
    with pytest.raises(ValueError, match="in a store of"):
        write(tmp_path, [chip(0), chip(1, rows=8)])
    with pytest.raises(ValueError, match="in a store of"):
        write(tmp_path, [chip(0), (chip(1)[0], {"mask": np.zeros((7, 5), np.int64)})])
