from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geohydra.errors import ConfigError, DataError
from geohydra.raster.clouds import CloudMask, flagged
from geohydra.raster.dilation import dilated, write_dilated
from geohydra.raster.series import SeriesReader
from geohydra.types import Asset, Grid, MaskAsset, Scene, Shape, Window

_GRID = Grid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), Shape(30, 40))
_TIME = datetime(2020, 1, 1, tzinfo=UTC)


def _write(path: Path, band: Any) -> str:
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=30, width=40, dtype=band.dtype.name, crs=_GRID.crs, transform=Affine(*_GRID.transform)
    ) as file:
        file.write(band, 1)
    return str(path)


def _scene(folder: Path, band: Any) -> Scene:
    red = Asset(_write(folder / "red.tif", np.ones((30, 40), np.uint8)), ("red",), (1,), "uint8", time=_TIME)
    return Scene("s", _GRID, (red, Asset(_write(folder / "scl.tif", band), ("scl",), (1,), "uint8", time=_TIME)))


def test_a_band_becomes_a_mask_and_is_no_band_any_more(tmp_path: Path) -> None:
    classes = np.full((30, 40), 4, np.uint8)
    classes[:10], classes[10:12] = 9, 3

    masked = CloudMask(band="scl", classes=["cloud_high", "cloud_shadow"]).masked(_scene(tmp_path, classes))
    with SeriesReader(masked) as reader:
        series = reader.read(Window(0, 0, _GRID.shape))

    assert masked.bands == ("red",)
    np.testing.assert_array_equal(series.valid[0], classes == 4)


@given(numbers=st.lists(st.integers(0, 2**16 - 1), min_size=1), bits=st.sets(st.integers(0, 15), max_size=3))
def test_bits_flag_what_has_any_of_them(numbers: list[int], bits: set[int]) -> None:
    found = flagged(np.array(numbers, np.uint16), MaskAsset("x", bits=tuple(bits)))

    assert found.tolist() == [any(number >> bit & 1 for bit in bits) for number in numbers]


def test_bits_have_the_names_of_landsat() -> None:
    assert CloudMask(band="qa", bits=["cloud", "cloud_shadow", 1]).bits == (1, 3, 4)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"band": "scl", "classes": ["clouds_high"]}, "did you mean 'cloud_high'"),
        ({"band": "scl"}, "nothing says which pixels"),
        ({"values": [1]}, "either the band or the file"),
        ({"band": "scl", "file": "x.tif", "values": [1]}, "either the band or the file"),
    ],
)
def test_a_mask_that_cannot_be_meant_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CloudMask(**told)


def test_a_band_that_is_not_there_is_named(tmp_path: Path) -> None:
    scene = _scene(tmp_path, np.zeros((30, 40), np.uint8))

    with pytest.raises(DataError, match=r"has no band 'scl2', which tells its clouds; did you mean 'scl'\?"):
        CloudMask(band="scl2", values=[1]).masked(scene)


def test_a_scene_of_clouds_alone_is_refused(tmp_path: Path) -> None:
    scene = _scene(tmp_path, np.zeros((30, 40), np.uint8))

    with pytest.raises(DataError, match="has no band beside 'scl'"):
        CloudMask(band="scl", values=[1]).masked(replace(scene, assets=scene.assets[1:]))


def test_masks_grow_by_metres(tmp_path: Path) -> None:
    classes = np.zeros((30, 40), np.uint8)
    classes[15, 20] = 9
    mask = CloudMask(band="scl", values=[9], dilate=30)

    grown = mask.written(mask.masked(_scene(tmp_path, classes)), tmp_path / "out")
    with SeriesReader(grown) as reader:
        valid = reader.read(Window(0, 0, _GRID.shape)).valid[0]

    rows, cols = np.mgrid[:30, :40]
    np.testing.assert_array_equal(valid, np.hypot(rows - 15, cols - 20) > 3)


def test_strips_of_a_grown_mask_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = np.random.default_rng(0).random((30, 40)) < 0.02
    uri = _write(tmp_path / "m.tif", flags.astype(np.uint8))
    monkeypatch.setattr("geohydra.raster.dilation._STRIP", 7)

    written = write_dilated(MaskAsset(uri, values=(1,)), _GRID, radius=4, path=tmp_path / "grown.tif")

    with rasterio.open(written.uri) as file:
        np.testing.assert_array_equal(file.read(1), dilated(flags, 4))
