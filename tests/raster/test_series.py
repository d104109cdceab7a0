from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geohydra import catalogue
from geohydra.errors import DataError
from geohydra.raster import stacks
from geohydra.raster.read import SceneReader
from geohydra.raster.series import CompositeReader, SeriesReader, composite, open_image
from geohydra.types import Asset, Grid, MaskAsset, Scene, Shape, Window

_GRID = Grid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), Shape(40, 50))
_WHOLE = Window(0, 0, _GRID.shape)
_TIMES = tuple(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in (0, 7, 30, 33))


def _write(path: Path, pixels: NDArray[Any], *, grid: Grid = _GRID, interleave: str = "pixel", **profile: Any) -> str:
    bands, rows, cols = pixels.shape
    shape = {"count": bands, "height": rows, "width": cols, "dtype": pixels.dtype.name}
    place = {"crs": grid.crs, "transform": Affine(*grid.transform)} if grid.crs else {}
    with rasterio.open(
        path, "w", driver="GTiff", interleave=interleave, tiled=True, blockxsize=16, blockysize=16, **shape, **place, **profile
    ) as file:
        file.write(pixels)
    return str(path)


def _pixels(times: int = 4, bands: int = 2, *, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 5, (times, bands, 40, 50)).astype(np.uint16)


def _by_date(folder: Path, pixels: NDArray[Any], **profile: Any) -> Scene:
    """A file for each date."""
    assets = tuple(
        Asset(_write(folder / f"{place}.tif", one, **profile), ("red", "nir"), (1, 2), "uint16", 0.0, time=time)
        for place, (time, one) in enumerate(zip(_TIMES, pixels, strict=True))
    )
    return Scene("s", _GRID, assets)


def _in_one(folder: Path, pixels: NDArray[Any]) -> Scene:
    """One file with the bands of all dates."""
    uri = _write(folder / "all.tif", pixels.reshape(-1, 40, 50))
    assets = tuple(
        Asset(uri, ("red", "nir"), (2 * place + 1, 2 * place + 2), "uint16", 0.0, time=time) for place, time in enumerate(_TIMES)
    )
    return Scene("s", _GRID, assets)


def test_each_date_comes_with_its_own_validity(tmp_path: Path) -> None:
    pixels = _pixels()

    with SeriesReader(_by_date(tmp_path, pixels)) as reader:
        series = reader.read(_WHOLE)

    assert series.times == _TIMES
    np.testing.assert_array_equal(series.pixels, pixels)
    np.testing.assert_array_equal(series.valid, pixels.any(axis=1))


@settings(max_examples=30, deadline=None)
@given(row=st.integers(-30, 45), col=st.integers(-30, 55), rows=st.integers(1, 60), cols=st.integers(1, 60))
def test_one_file_of_all_dates_reads_like_a_file_for_each(tmp_path_factory: Any, row: int, col: int, rows: int, cols: int) -> None:
    folder, pixels = tmp_path_factory.mktemp("series"), _pixels(seed=1)
    window = Window(row, col, Shape(rows, cols))

    with SeriesReader(_by_date(folder, pixels)) as apart, SeriesReader(_in_one(folder, pixels)) as together:
        one, other = apart.read(window), together.read(window)

    np.testing.assert_array_equal(one.valid, other.valid)
    np.testing.assert_array_equal(one.pixels, other.pixels)


def test_blocks_of_a_file_of_all_dates_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[str] = Counter()
    real = stacks._File.read

    def counted(self: stacks._File, indexes: Sequence[int], window: Window, scene: Shape) -> Any:
        reads[self.uri] += 1
        return real(self, indexes, window, scene)

    monkeypatch.setattr(stacks._File, "read", counted)

    with SeriesReader(_in_one(tmp_path, _pixels())) as reader:
        reader.read(_WHOLE)

    assert list(reads.values()) == [1]


def test_masks_hold_for_their_own_date(tmp_path: Path) -> None:
    pixels = _pixels() + np.uint16(1)
    flags = (np.random.default_rng(5).random((4, 40, 50)) < 0.3).astype(np.uint8)
    uri = _write(tmp_path / "masks.tif", flags)
    masks = tuple(MaskAsset(uri, place + 1, values=(1,), time=time) for place, time in enumerate(_TIMES))

    for scene in (_in_one(tmp_path, pixels), _by_date(tmp_path, pixels)):
        with SeriesReader(replace(scene, masks=masks)) as reader:
            series = reader.read(_WHOLE)

        np.testing.assert_array_equal(series.valid, flags == 0)


def test_bits_mask_too(tmp_path: Path) -> None:
    pixels = _pixels() + np.uint16(1)
    quality = np.zeros((1, 40, 50), np.uint16)
    quality[0, :10], quality[0, 10:20] = 0b1000, 0b100000
    scene = replace(_in_one(tmp_path, pixels), masks=(MaskAsset(_write(tmp_path / "qa.tif", quality), bits=(3,)),))

    with SeriesReader(scene) as reader:
        series = reader.read(_WHOLE)

    assert not series.valid[:, :10].any()
    assert series.valid[:, 10:].all()


def test_a_band_without_a_time_is_the_same_on_all_dates(tmp_path: Path) -> None:
    pixels = _pixels()
    height = np.random.default_rng(2).integers(1, 9, (1, 40, 50)).astype(np.uint16)
    still = Asset(_write(tmp_path / "dem.tif", height), ("height",), (1,), "uint16")
    scene = _by_date(tmp_path, pixels)

    with SeriesReader(replace(scene, assets=(*scene.assets, still)), bands=["nir", "height"]) as reader:
        series = reader.read(_WHOLE)

    np.testing.assert_array_equal(series.pixels[:, 0], pixels[:, 1])
    np.testing.assert_array_equal(series.pixels[:, 1], np.broadcast_to(height, (4, 40, 50)))


def test_files_that_lie_otherwise_are_warped(tmp_path: Path) -> None:
    finer = Grid(_GRID.crs, (5.0, 0.0, 500_000.0, 0.0, -5.0, 5_300_000.0), Shape(80, 100))
    pixels = np.repeat(np.repeat(np.full((8, 40, 50), 7, np.uint16), 2, axis=1), 2, axis=2)
    uri = _write(tmp_path / "fine.tif", pixels, grid=finer)
    assets = tuple(Asset(uri, ("red", "nir"), (2 * place + 1, 2 * place + 2), "uint16", time=time) for place, time in enumerate(_TIMES))

    with SeriesReader(Scene("s", _GRID, assets)) as reader:
        series = reader.read(Window(5, 5, Shape(20, 20)))

    assert series.valid.all()
    assert (series.pixels == 7).all()


def test_no_more_files_stay_open_than_allowed(tmp_path: Path) -> None:
    pixels = _pixels()

    with SeriesReader(_by_date(tmp_path, pixels), open_files=2) as reader:
        for _ in range(2):
            series = reader.read(_WHOLE)
        still_open = sum(bool(one._layers) for one in reader._readers.values())

    assert still_open == 2
    np.testing.assert_array_equal(series.pixels, pixels)


def test_some_dates_can_be_chosen(tmp_path: Path) -> None:
    pixels = _pixels()

    with SeriesReader(_in_one(tmp_path, pixels), times=[_TIMES[3], _TIMES[1]]) as reader:
        series = reader.read(_WHOLE)

    assert series.times == (_TIMES[1], _TIMES[3])
    np.testing.assert_array_equal(series.pixels, pixels[[1, 3]])


def test_a_date_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no acquisition of 2031"):
        SeriesReader(_by_date(tmp_path, _pixels()), times=[datetime(2031, 1, 1, tzinfo=UTC)])


def test_a_scene_with_a_composite_opens_as_one_image(tmp_path: Path) -> None:
    pixels = _pixels()
    scene = replace(_in_one(tmp_path, pixels), composite="median")

    with open_image(scene, bands=["nir"]) as reader, SeriesReader(scene, bands=["nir"]) as series:
        image = reader.read(_WHOLE)
        wanted = composite(series.read(_WHOLE), "median")

    assert reader.bands == ("nir",)
    assert reader.dtype == np.uint16
    assert reader.block == Shape(16, 16)
    np.testing.assert_array_equal(image.pixels, wanted.pixels)
    np.testing.assert_array_equal(image.valid, wanted.valid)


def test_a_score_may_look_at_bands_that_are_not_asked_for(tmp_path: Path) -> None:
    pixels = _pixels() + np.uint16(1)
    scene = replace(_by_date(tmp_path, pixels), composite="best:-red")

    with open_image(scene, bands=["nir"]) as reader:
        image = reader.read(_WHOLE)

    best = pixels[:, 0].argmin(axis=0)
    np.testing.assert_array_equal(image.pixels[0], np.take_along_axis(pixels[:, 1], best[None], axis=0)[0])


def test_overviews_of_a_composite_have_the_shape_of_plain_ones(tmp_path: Path) -> None:
    scene = replace(_in_one(tmp_path, _pixels()), composite="mean")

    with open_image(scene) as reader, SceneReader(scene.at(_TIMES[0])) as plain:
        image, other = reader.read_overview(20), plain.read_overview(20)

    assert image.pixels.shape == other.pixels.shape


def test_a_scene_of_one_acquisition_opens_as_it_is(tmp_path: Path) -> None:
    scene = _by_date(tmp_path, _pixels())
    one = replace(scene, assets=scene.assets[:1])

    reader = open_image(one)

    assert isinstance(reader, SceneReader)
    np.testing.assert_array_equal(reader.read(_WHOLE).pixels, _pixels()[0])


def test_several_acquisitions_without_a_composite_are_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 4 acquisitions"):
        open_image(_by_date(tmp_path, _pixels()))


def test_an_unknown_composite_of_a_scene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="names no composite"):
        CompositeReader(replace(_by_date(tmp_path, _pixels()), composite="maen"))


def test_a_series_survives_the_catalogue(tmp_path: Path) -> None:
    scene = replace(_in_one(tmp_path, _pixels()), composite="first")
    catalogue.write([scene], tmp_path)
    (again,) = catalogue.read(tmp_path)

    with open_image(scene) as one, open_image(again) as other:
        np.testing.assert_array_equal(one.read(_WHOLE).pixels, other.read(_WHOLE).pixels)
