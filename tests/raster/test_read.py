"""Headers and windows of rasters, and what is said of those that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from geohydra.errors import DataError
from geohydra.raster.read import SceneReader, probe
from geohydra.types import Asset, Grid, Scene, Shape, Window

UTM = (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0)


def write(path: Path, pixels: np.ndarray, *, crs: str = "EPSG:32618", transform: tuple[float, ...] = UTM, **options: Any) -> Path:
    """A GeoTIFF of an array `(band, row, col)`."""
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype.name} | options
    with rasterio.open(path, "w", crs=crs or None, transform=Affine(*transform), **profile) as file:
        file.write(pixels)
    return path


def scene_of(*paths: Path, grid: Grid | None = None, nodata: float | None = None) -> Scene:
    """All bands of some files, on the grid of the first."""
    headers = [probe(str(path), allow_no_crs=True) for path in paths]
    assets = tuple(
        Asset(header.uri, tuple(f"{place}.{index}" for index in header.indexes), header.indexes, header.dtypes[0], nodata)
        for place, header in enumerate(headers)
    )
    return Scene("s", grid or headers[0].grid, assets)


def ramp(bands: int, rows: int, cols: int, dtype: str = "uint8") -> np.ndarray:
    """Numbers from 1 up, all different as long as the type allows."""
    return (np.arange(bands * rows * cols).reshape(bands, rows, cols) % 250 + 1).astype(dtype)


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = ramp(3, 41, 57, "uint16")
    pixels[:, 10:12, 5:9] = 0
    return write(tmp_path_factory.mktemp("images") / "a.tif", pixels, nodata=0, tiled=True, blockxsize=16, blockysize=16)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.integers(-20, 60), col=st.integers(-20, 70), rows=st.integers(1, 50), cols=st.integers(1, 50))
def test_a_window_is_a_cut_of_the_padded_image(striped: Path, row: int, col: int, rows: int, cols: int) -> None:
    with rasterio.open(striped) as file:
        pixels = np.pad(file.read(), ((0, 0), (100, 100), (100, 100)))

    with SceneReader(scene_of(striped)) as reader:
        image = reader.read(Window(row, col, Shape(rows, cols)))

    expected = pixels[:, row + 100 : row + 100 + rows, col + 100 : col + 100 + cols]
    np.testing.assert_array_equal(image.pixels, expected)
    np.testing.assert_array_equal(image.valid, expected.any(axis=0))


def test_bands_come_in_the_order_in_which_they_are_asked_for(striped: Path) -> None:
    with SceneReader(scene_of(striped), bands=["0.3", "0.1"]) as reader:
        image = reader.read(Window(0, 0, Shape(4, 4)))

    with rasterio.open(striped) as file:
        np.testing.assert_array_equal(image.pixels, file.read([3, 1])[:, :4, :4])


def test_an_unknown_band_is_refused_with_the_bands_there_are(striped: Path) -> None:
    with pytest.raises(DataError, match=r"no band 'nir'.*0\.1, 0\.2, 0\.3"):
        SceneReader(scene_of(striped), bands=["nir"])


def test_a_band_index_beyond_the_file_is_refused(striped: Path) -> None:
    scene = Scene("s", probe(str(striped)).grid, (Asset(str(striped), ("red",), (7,), "uint16"),))

    with SceneReader(scene) as reader, pytest.raises(DataError, match="no band 7; it has 3"):
        reader.read(Window(0, 0, Shape(1, 1)))


def test_types_meet_in_the_smallest_that_holds_all(tmp_path: Path) -> None:
    scene = scene_of(write(tmp_path / "a.tif", ramp(1, 5, 5)), write(tmp_path / "b.tif", ramp(1, 5, 5, "int16")))

    with SceneReader(scene) as reader:
        assert reader.read(Window(0, 0, Shape(5, 5))).pixels.dtype == np.int16


def invalid(path: Path, *, nodata: float | None = None) -> list[tuple[int, int]]:
    scene = scene_of(path, nodata=nodata)
    with SceneReader(scene) as reader:
        rows, cols = np.nonzero(~reader.read(Window(0, 0, scene.grid.shape)).valid)
    return list(zip(rows.tolist(), cols.tolist(), strict=True))


def with_hole(dtype: str, value: float, bands: int = 2, hole: slice = slice(None)) -> np.ndarray:
    pixels = ramp(bands, 4, 5, dtype)
    pixels[hole, 1, 2] = value
    return pixels


def test_zero_as_nodata_needs_all_bands_of_a_file(tmp_path: Path) -> None:
    assert invalid(write(tmp_path / "a.tif", with_hole("uint8", 0), nodata=0)) == [(1, 2)]
    assert invalid(write(tmp_path / "b.tif", with_hole("uint8", 0, hole=slice(1)), nodata=0)) == []


@pytest.mark.parametrize(
    ("dtype", "value"), [("int16", -9999), ("uint16", 65535), ("float32", -3.4e38), ("float64", 1e20), ("float32", np.nan)]
)
def test_another_nodata_in_any_band_makes_a_pixel_invalid(tmp_path: Path, dtype: str, value: float) -> None:
    assert invalid(write(tmp_path / "a.tif", with_hole(dtype, value, hole=slice(1)), nodata=value)) == [(1, 2)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_invalid_without_any_declaration(tmp_path: Path, value: float) -> None:
    assert invalid(write(tmp_path / "a.tif", with_hole("float32", value, hole=slice(1)))) == [(1, 2)]


def test_the_declared_nodata_stands_above_that_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", with_hole("uint8", 77), nodata=255)

    assert (1, 2) in invalid(path, nodata=77)


def test_a_nodata_that_the_type_cannot_hold_matches_nothing(tmp_path: Path) -> None:
    assert invalid(write(tmp_path / "a.tif", with_hole("uint8", 255)), nodata=-9999) == []


@pytest.mark.parametrize("beside", [False, True])
def test_a_mask_in_the_file_or_beside_it_counts(tmp_path: Path, beside: bool) -> None:
    path = write(tmp_path / "a.tif", ramp(3, 4, 5))
    mask = np.full((4, 5), 255, np.uint8)
    mask[3, 4] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=not beside), rasterio.open(path, "r+") as file:
        file.write_mask(mask)

    assert invalid(path) == [(3, 4)]
    assert probe(str(path)).mask == "internal"


def test_alpha_counts_and_is_no_band(tmp_path: Path) -> None:
    pixels = ramp(4, 4, 5)
    pixels[3] = 255
    pixels[3, 0, 0] = 0
    path = write(tmp_path / "a.tif", pixels, photometric="RGB", alpha="unspecified")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]

    assert invalid(path) == [(0, 0)]
    assert (probe(str(path)).mask, probe(str(path)).indexes) == ("alpha", (1, 2, 3))


def test_a_band_that_is_named_is_a_measurement_even_if_the_file_calls_it_alpha(tmp_path: Path) -> None:
    pixels = ramp(4, 4, 5)
    pixels[3] = 0
    path = write(tmp_path / "a.tif", pixels, photometric="RGB", alpha="unspecified")
    scene = Scene("s", probe(str(path)).grid, (Asset(str(path), ("red", "green", "blue", "nir"), (1, 2, 3, 4), "uint8"),))

    with SceneReader(scene) as reader:
        image = reader.read(Window(0, 0, Shape(4, 5)))

    assert image.valid.all()
    np.testing.assert_array_equal(image.pixels, pixels)


def ground(grid: Grid, dtype: str = "float32") -> np.ndarray:
    """Pixels that tell their own place: easting less 500000 m, and northing less 3999000 m."""
    a, _, c, _, e, f = grid.transform
    rows, cols = np.mgrid[: grid.shape.rows, : grid.shape.cols] + 0.5
    return np.stack([a * cols + c - 500000, e * rows + f - 3999000]).astype(dtype)


@pytest.mark.parametrize("options", [{}, {"nodata": -1}, {"nodata": float("nan")}], ids=str)
def test_another_resolution_is_warped_bilinearly_and_not_dropped(tmp_path: Path, options: Mapping[str, Any]) -> None:
    fine = Grid("EPSG:32618", UTM, Shape(30, 40))
    coarse = Grid("EPSG:32618", (25.0, 0, 500050.0, 0, -25.0, 3999950.0), Shape(9, 12))
    first = write(tmp_path / "a.tif", ground(fine), transform=fine.transform)
    second = write(tmp_path / "b.tif", ground(coarse), transform=coarse.transform, **options)

    with SceneReader(scene_of(first, second)) as reader:
        image = reader.read(Window(0, 0, fine.shape))

    inner = image.valid.copy()
    inner[:7], inner[25:], inner[:, :7], inner[:, 33:] = False, False, False, False
    assert inner.sum() > 300
    np.testing.assert_allclose(image.pixels[2:, inner], image.pixels[:2, inner], atol=0.5)
    assert not image.valid[:4].any()
    assert not image.valid[:, :4].any()


def test_another_crs_is_warped_and_not_dropped(tmp_path: Path) -> None:
    grid = Grid("EPSG:32618", UTM, Shape(30, 40))
    first = write(tmp_path / "a.tif", ground(grid))
    with (
        rasterio.open(first) as file,
        rasterio.vrt.WarpedVRT(file, crs="EPSG:4326", resampling=rasterio.enums.Resampling.bilinear) as other,
    ):
        degrees = write(tmp_path / "b.tif", other.read(), crs="EPSG:4326", transform=other.transform[:6])

    with SceneReader(scene_of(first, degrees)) as reader:
        image = reader.read(Window(8, 8, Shape(14, 24)))

    assert image.valid.all()
    np.testing.assert_allclose(image.pixels[2:], image.pixels[:2], atol=2)


def test_a_file_on_whole_pixels_of_the_grid_is_read_as_it_is(tmp_path: Path) -> None:
    grid = Grid("EPSG:32618", UTM, Shape(10, 10))
    pixels = ramp(1, 4, 5)
    path = write(tmp_path / "a.tif", pixels, transform=(10.0, 0, 500030.0, 0, -10.0, 3999980.0))

    with SceneReader(scene_of(path, grid=grid)) as reader:
        image = reader.read(Window(-1, 0, Shape(11, 10)))

    np.testing.assert_array_equal(image.pixels[:, 3:7, 3:8], pixels)
    assert image.valid.sum() == 20
    assert image.valid[3:7, 3:8].all()


def test_an_overview_shows_the_whole_scene(striped: Path) -> None:
    with SceneReader(scene_of(striped)) as reader:
        image = reader.read_overview(19)

    assert image.pixels.shape == (3, 14, 19)
    assert image.valid.any()


def test_an_overview_is_no_larger_than_the_scene(striped: Path) -> None:
    with SceneReader(scene_of(striped)) as reader:
        np.testing.assert_array_equal(reader.read_overview(1000).pixels, reader.read(Window(0, 0, Shape(41, 57))).pixels)


def test_an_overview_holds_files_on_other_grids_too(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tif", ramp(1, 40, 40))
    second = write(tmp_path / "b.tif", ramp(1, 20, 20), transform=(20.0, 0, 500000.0, 0, -20.0, 4000000.0))

    with SceneReader(scene_of(first, second)) as reader:
        assert reader.read_overview(10).valid.all()


def test_a_scene_without_crs_is_read_in_pixels(tmp_path: Path) -> None:
    pixels = ramp(2, 6, 7)
    path = write(tmp_path / "a.tif", pixels, crs="")

    with SceneReader(scene_of(path)) as reader:
        np.testing.assert_array_equal(reader.read(Window(0, 0, Shape(6, 7))).pixels, pixels)


def test_a_reader_opens_again_after_it_was_closed(striped: Path) -> None:
    with SceneReader(scene_of(striped)) as reader:
        first = reader.read(Window(0, 0, Shape(3, 3)))
    assert np.array_equal(reader.read(Window(0, 0, Shape(3, 3))).pixels, first.pixels)
    reader.close()


def test_the_header_tells_what_the_file_says(striped: Path) -> None:
    header = probe(str(striped))

    assert (header.count, header.dtypes[0], header.nodata, header.mask) == (3, "uint16", 0.0, "nodata")
    assert header.grid == Grid("EPSG:32618", UTM, Shape(41, 57))
    assert header.block == Shape(16, 16)
    assert not header.scaled


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        probe(str(path))
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return caught.value.problem


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.tif") == "there is no such file"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>", "is a web page (HTML), not a raster"),
        (b"\n <HTML>", "is a web page (HTML), not a raster"),
        (b'{"error": "no such key"}', "is text (XML or JSON), not a raster"),
        (b"II*\0\xff\xff\xff\x7f", "is a TIFF whose header is truncated or damaged"),
        (b"\x07" * 4000, "is no raster that GDAL can read"),
    ],
)
def test_a_file_that_is_no_raster_is_refused_by_what_it_is(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a.tif").write_bytes(content)

    assert refusal(tmp_path / "a.tif") == problem


@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64}, {"interleave": "band"}], ids=str)
def test_a_truncated_tiff_is_refused_from_its_header(tmp_path: Path, options: Mapping[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(1, 200, (2, 300, 300), np.uint8)
    path = write(tmp_path / "a.tif", pixels, **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])

    assert refusal(path).startswith("is truncated")


def test_damaged_blocks_are_told_when_they_are_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 200, (1, 300, 300), np.uint8)
    path = write(tmp_path / "a.tif", pixels, compress="deflate")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 5000] = b"\xff" * 5000
    path.write_bytes(bytes(content))

    with SceneReader(scene_of(path)) as reader, pytest.raises(DataError, match="truncated or damaged"):
        reader.read(Window(0, 0, Shape(300, 300)))


def test_an_image_without_crs_is_refused_unless_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", ramp(1, 4, 4), crs="")

    assert "no coordinate reference system" in refusal(path)
    assert probe(str(path), allow_no_crs=True).grid.crs == ""


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    assert "complex numbers" in refusal(write(tmp_path / "a.tif", np.ones((1, 4, 4), np.complex64)))
