"""Files above each other, masks over them, numbers that are scaled: what comes of it, and what counts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from geohydra.errors import DataError
from geohydra.raster import read as reading
from geohydra.raster.read import SceneReader, probe
from geohydra.types import Asset, Grid, Image, MaskAsset, Scene, Shape, Window

GRID = Grid("EPSG:32618", (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0), Shape(20, 30))
SHIFTED = Grid("EPSG:32618", (10.0, 0.0, 500003.0, 0.0, -10.0, 4000004.0), Shape(20, 30))
MAY, JUNE = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)


def tif(path: Path, pixels: Any, *, grid: Grid = GRID, at: Window | None = None, **options: Any) -> Path:
    """A file on a part of a grid; by default on all of it."""
    data = np.asarray(pixels)
    data = data[None] if data.ndim == 2 else data
    place = grid.at(at) if at else grid
    shape = {"count": len(data), "height": data.shape[1], "width": data.shape[2], "dtype": data.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", crs=grid.crs, transform=Affine(*place.transform), **shape, **options) as file:
        file.write(data)
    return path


def flat(value: float, dtype: str = "uint8", shape: Shape = GRID.shape) -> np.ndarray:
    return np.full((shape.rows, shape.cols), value, dtype)


def asset(path: Path, *bands: str, **settings: Any) -> Asset:
    header = probe(str(path))
    return Asset(header.uri, bands, header.indexes[: len(bands)], header.dtypes[0], header.nodata, **settings)


def read(*assets: Asset, masks: tuple[MaskAsset, ...] = (), bands: list[str] | None = None, window: Window | None = None) -> Image:
    with SceneReader(Scene("s", GRID, assets, masks=masks), bands=bands) as reader:
        return reader.read(window or Window(0, 0, GRID.shape))


def test_of_files_above_each_other_the_first_valid_pixel_counts(tmp_path: Path) -> None:
    upper, lower = flat(1), flat(2)
    upper[:, 10:] = 0
    lower[:, 20:] = 0
    paths = tif(tmp_path / "a.tif", upper, nodata=0), tif(tmp_path / "b.tif", lower, nodata=0)

    image = read(*(asset(path, "red") for path in paths))

    assert [set(np.unique(part).tolist()) for part in np.split(image.pixels[0], [10, 20], axis=1)] == [{1}, {2}, {0}]
    assert image.valid[:, :20].all()
    assert not image.valid[:, 20:].any()


def test_the_order_of_assets_is_the_order_of_a_mosaic(tmp_path: Path) -> None:
    one, two = (asset(tif(tmp_path / f"{value}.tif", flat(value)), "red") for value in (1, 2))

    assert (read(one, two).pixels == 1).all()
    assert (read(two, one).pixels == 2).all()


def test_each_band_has_a_mosaic_of_its_own(tmp_path: Path) -> None:
    half = Window(0, 0, Shape(20, 15))
    red = asset(tif(tmp_path / "r.tif", flat(1, shape=half.shape), at=half), "red")
    rest = asset(tif(tmp_path / "b.tif", np.stack([flat(5), flat(6)])), "red", "nir")

    image = read(red, rest)

    assert image.valid.all()
    assert (image.pixels[0, :, :15] == 1).all()
    assert (image.pixels[0, :, 15:] == 5).all()
    assert (image.pixels[1] == 6).all()


def test_a_pixel_counts_only_where_the_mosaic_of_every_band_has_one(tmp_path: Path) -> None:
    left, right = Window(0, 0, Shape(20, 18)), Window(0, 12, Shape(20, 18))
    parts = [asset(tif(tmp_path / f"r{w.col}.tif", flat(1, shape=w.shape), at=w), "red") for w in (left, right)]
    nir = asset(tif(tmp_path / "n.tif", flat(2, shape=left.shape), at=left), "nir")

    image = read(*parts, nir)

    assert image.valid[:, :18].all()
    assert not image.valid[:, 18:].any()
    assert read(*parts, nir, bands=["red"]).valid.all()


@settings(max_examples=80, deadline=None)
@given(
    corners=st.lists(st.tuples(st.integers(-5, 19), st.integers(-5, 29)), min_size=2, max_size=5),
    row=st.integers(-8, 22),
    col=st.integers(-8, 32),
    rows=st.integers(1, 25),
    cols=st.integers(1, 25),
)
def test_any_window_of_a_mosaic_is_a_cut_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, corners: list[tuple[int, int]], row: int, col: int, rows: int, cols: int
) -> None:
    folder = tmp_path_factory.mktemp("tiles")
    tiles = [Window(r, c, Shape(9, 11)) for r, c in corners]
    parts = [asset(tif(folder / f"{k}.tif", flat(k + 1, shape=w.shape), at=w), "red") for k, w in enumerate(tiles)]
    expected = np.zeros((60, 70), np.uint8)
    for k, tile in reversed(list(enumerate(tiles))):
        expected[tile.shift(10, 10).slices] = k + 1
    inside = np.zeros((60, 70), np.bool_)
    inside[10:30, 10:40] = True
    expected[~inside] = 0

    window = Window(row, col, Shape(rows, cols))
    image = read(*parts, window=window)

    np.testing.assert_array_equal(image.pixels[0], expected[window.shift(10, 10).slices])
    np.testing.assert_array_equal(image.valid, expected[window.shift(10, 10).slices] > 0)


def test_a_mosaic_of_more_files_than_may_be_open_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_OPEN", 3)
    tiles = [Window(row, col, Shape(5, 5)) for row in range(0, 20, 5) for col in range(0, 30, 5)]
    parts = [asset(tif(tmp_path / f"{w.row}-{w.col}.tif", flat(w.row + w.col + 1, shape=w.shape), at=w), "red") for w in tiles]

    with SceneReader(Scene("s", GRID, tuple(parts))) as reader:
        images = [reader.read(Window(0, 0, GRID.shape)) for _ in range(2)]

        assert sum(layer.is_open for layer in reader._layers) <= 3
    for image in images:
        assert image.valid.all()
        assert all((image.pixels[0][w.slices] == w.row + w.col + 1).all() for w in tiles)


def test_an_overview_of_a_mosaic_shows_all_its_files(tmp_path: Path) -> None:
    left, right = Window(0, 0, Shape(20, 15)), Window(0, 15, Shape(20, 15))
    parts = [asset(tif(tmp_path / f"{w.col}.tif", flat(w.col + 1, shape=w.shape), at=w), "red") for w in (left, right)]

    with SceneReader(Scene("s", GRID, tuple(parts))) as reader:
        image = reader.read_overview(10)

    assert image.valid.all()
    assert set(np.unique(image.pixels).tolist()) == {1, 16}


@pytest.mark.parametrize("grid", [GRID, SHIFTED], ids=["as it is", "warped"])
def test_numbers_are_compared_with_nodata_first_and_scaled_after(tmp_path: Path, grid: Grid) -> None:
    pixels = np.stack([flat(1000, "int16"), flat(2000, "int16")])
    pixels[:, 5:9, 5:9] = -9999
    path = tif(tmp_path / "a.tif", pixels, grid=grid, nodata=-9999)

    image = read(asset(path, "red", "nir", scale=(0.5, 0.001), offset=(-100.0, 0.0)))

    assert image.pixels.dtype == np.float32
    assert not image.valid[6:8, 6:8].any()
    assert image.valid[10:18, 10:28].all()
    np.testing.assert_allclose(image.pixels[:, 12, 12], [400, 2], rtol=1e-6)


def test_bands_are_scaled_each_by_its_own_numbers_in_any_order(tmp_path: Path) -> None:
    path = tif(tmp_path / "a.tif", np.stack([flat(10), flat(10)]))

    image = read(asset(path, "red", "nir", scale=(2.0, 3.0), offset=(0.0, 1.0)), bands=["nir", "red"])

    assert image.pixels[:, 0, 0].tolist() == [31, 20]


def mask_of(path: Path, codes: np.ndarray, **settings: Any) -> MaskAsset:
    return MaskAsset(str(tif(path, codes, **{k: v for k, v in settings.items() if k in ("grid", "nodata", "at")})), 1, **{
        k: v for k, v in settings.items() if k in ("values", "bits", "time")
    })  # fmt: skip


def test_a_mask_forbids_pixels_by_values_and_by_bits(tmp_path: Path) -> None:
    codes = flat(4)
    codes[0, 0], codes[0, 1], codes[0, 2] = 9, 8 + 4, 16
    path = tif(tmp_path / "a.tif", flat(1))

    by_value = read(asset(path, "red"), masks=(mask_of(tmp_path / "m.tif", codes, values=(9,)),))
    by_bit = read(asset(path, "red"), masks=(mask_of(tmp_path / "n.tif", codes, bits=(3, 4)),))

    assert np.argwhere(~by_value.valid).tolist() == [[0, 0]]
    assert np.argwhere(~by_bit.valid).tolist() == [[0, 0], [0, 1], [0, 2]]


def test_a_coarser_mask_comes_onto_the_grid_by_the_nearest_pixel(tmp_path: Path) -> None:
    coarse = Grid(GRID.crs, (20.0, 0, 500000.0, 0, -20.0, 4000000.0), Shape(10, 15))
    codes = np.zeros((10, 15), np.uint8)
    codes[3, 4] = 9
    mask = mask_of(tmp_path / "m.tif", codes, grid=coarse, values=(9,))

    image = read(asset(tif(tmp_path / "a.tif", flat(1)), "red"), masks=(mask,))

    assert {tuple(place) for place in np.argwhere(~image.valid).tolist()} == {(r, c) for r in (6, 7) for c in (8, 9)}


def test_of_masks_of_one_rule_the_first_that_says_anything_counts_and_rules_add_up(tmp_path: Path) -> None:
    left = Window(0, 0, Shape(20, 15))
    first = mask_of(tmp_path / "1.tif", flat(1, shape=left.shape), at=left, values=(9,))
    second = mask_of(tmp_path / "2.tif", flat(9), values=(9,))
    other = flat(0)
    other[0] = 1
    third = mask_of(tmp_path / "3.tif", other, bits=(0,))

    image = read(asset(tif(tmp_path / "a.tif", flat(1)), "red"), masks=(first, second, third))

    assert image.valid[1:, :15].all()
    assert not image.valid[:, 15:].any()
    assert not image.valid[0].any()


def test_an_overview_knows_masks_too(tmp_path: Path) -> None:
    scene = Scene("s", GRID, (asset(tif(tmp_path / "a.tif", flat(1)), "red"),), masks=(mask_of(tmp_path / "m.tif", flat(9), values=(9,)),))

    with SceneReader(scene) as reader:
        assert not reader.read_overview(10).valid.any()


def test_several_acquisitions_are_no_image_until_something_says_how(tmp_path: Path) -> None:
    path = tif(tmp_path / "a.tif", flat(1))
    scene = Scene("s", GRID, (asset(path, "red", time=MAY), asset(path, "red", time=JUNE), asset(path, "dem")))

    with pytest.raises(DataError, match=r"s: holds 2 acquisitions \(2024-05-01 to 2024-06-01\).*source\.composite"):
        SceneReader(scene)

    with SceneReader(scene.at(MAY)) as reader:
        assert reader.read(Window(0, 0, GRID.shape)).pixels.shape == (2, 20, 30)
    assert SceneReader(scene, bands=["dem"]).bands == ("dem",)


def with_alpha(path: Path, dtype: str, grid: Grid) -> Path:
    top = {"uint8": 255, "uint16": 65535, "int16": 32767, "float32": 1.0}[dtype]
    pixels = np.stack([flat(7, dtype), flat(9, dtype), flat(top, dtype)])
    pixels[2, 5:12, 8:20] = 0
    tif(path, pixels, grid=grid, alpha="unspecified")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha]
    return path


@pytest.mark.parametrize("grid", [GRID, SHIFTED], ids=["as it is", "warped"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_alpha_of_any_type_makes_pixels_invalid(tmp_path: Path, dtype: str, grid: Grid) -> None:
    path = with_alpha(tmp_path / "a.tif", dtype, grid)

    image = read(asset(path, "a", "b"))

    assert probe(str(path)).mask == "alpha"
    assert not image.valid[6:11, 9:19].any()
    assert image.valid[13:18, 2:28].all()
    np.testing.assert_allclose(image.pixels[:, 15, 15], [7, 9], rtol=1e-3)


def test_a_band_that_a_file_calls_alpha_weighs_nothing_where_it_is_named(tmp_path: Path) -> None:
    path = with_alpha(tmp_path / "a.tif", "uint8", SHIFTED)
    header = probe(str(path))

    image = read(Asset(header.uri, ("a", "b", "nir"), (1, 2, 3), "uint8"))

    assert image.valid[2:18, 2:28].all()
    assert (image.pixels[2, 7:10, 10:18] == 0).all()
    assert (image.pixels[0, 7:10, 10:18] == 7).all()


@pytest.mark.parametrize("grid", [GRID, SHIFTED], ids=["as it is", "warped"])
@pytest.mark.parametrize("beside", [False, True], ids=["in the file", "beside it"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_mask_of_a_file_makes_pixels_invalid(tmp_path: Path, dtype: str, beside: bool, grid: Grid) -> None:
    path = tif(tmp_path / "a.tif", flat(7, dtype), grid=grid)
    mask = np.full((20, 30), 255, np.uint8)
    mask[5:12, 8:20] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=not beside), rasterio.open(path, "r+") as file:
        file.write_mask(mask)

    image = read(asset(path, "a"))

    assert not image.valid[6:11, 9:19].any()
    assert image.valid[13:18, 2:28].all()


@pytest.mark.parametrize("nodata", [-9999, 32767, 255])
def test_nodata_in_one_band_is_never_mixed_into_what_is_warped(tmp_path: Path, nodata: int) -> None:
    pixels = np.stack([flat(100, "int16"), flat(200, "int16")])
    pixels[1, 5:12, 8:20] = nodata

    image = read(asset(tif(tmp_path / "a.tif", pixels, grid=SHIFTED, nodata=nodata), "a", "b"))

    assert not image.valid[6:11, 9:19].any()
    assert set(np.unique(image.pixels[1][image.valid]).tolist()) == {200}
    assert set(np.unique(image.pixels[0][image.valid]).tolist()) == {100}


def test_zero_in_one_band_is_a_measurement_in_what_is_warped_too(tmp_path: Path) -> None:
    pixels = np.stack([flat(100), flat(50)])
    pixels[1, 5:12, 8:20] = 0

    image = read(asset(tif(tmp_path / "a.tif", pixels, grid=SHIFTED, nodata=0), "a", "b"))

    assert image.valid[2:18, 2:28].all()
    assert (image.pixels[1, 7:10, 10:18] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -9999.0])
def test_not_a_number_stays_out_of_what_is_warped(tmp_path: Path, value: float) -> None:
    pixels = np.stack([flat(1.5, "float32"), flat(2.5, "float32")])
    pixels[0, 5:12, 8:20] = value
    options = {"nodata": value} if value == -9999 else {}

    image = read(asset(tif(tmp_path / "a.tif", pixels, grid=SHIFTED, **options), "a", "b"))

    assert not image.valid[6:11, 9:19].any()
    np.testing.assert_allclose(image.pixels[0][image.valid], 1.5)
    assert image.valid[13:18, 2:28].all()
