"""Odd rasters of the world: each is read rightly, or refused with a sentence that says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from geohydra.errors import DataError
from geohydra.raster.read import SceneReader, probe
from geohydra.raster.warp import pixel_at
from geohydra.types import Asset, Scene, Window

pytestmark = pytest.mark.realdata

READ = {
    "B01.jp2": "none",
    "LE07_L2SP_225078_20110306_02_T1_B1.tif": "nodata",
    "RGB.byte.tif": "nodata",
    "TCI.tif": "nodata",
    "above_cog.tif": "nodata",
    "cog.tif": "none",
    "cog_nodata.tif": "nodata",
    "cog_rgb_mask.tif": "internal",
    "cog_scale.tif": "nodata",
    "float_raster_with_nodata.tif": "nodata",
    "shade.tif": "nodata",
}
REFUSED = {"rotated.tif": "no coordinate reference system"}
WARPED = {"cog_gcps.tif"}


def whole(path: Path, *, allow_no_crs: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and validity, read in windows of 300 rows."""
    header = probe(str(path), allow_no_crs=allow_no_crs)
    asset = Asset(header.uri, tuple(map(str, header.indexes)), header.indexes, header.dtypes[0])
    scene = Scene(path.stem, header.grid, (asset,))
    shape = header.grid.shape
    windows = (Window(row, 0, type(shape)(min(300, shape.rows - row), shape.cols)) for row in range(0, shape.rows, 300))
    with SceneReader(scene) as reader:
        images = [reader.read(window) for window in windows]
    return np.concatenate([image.pixels for image in images], axis=1), np.concatenate([image.valid for image in images])


def test_every_file_is_spoken_of(realdata: Path) -> None:
    files = {path.name for path in (realdata / "raster_access").iterdir() if path.suffix != ".md"}

    assert files == READ.keys() | REFUSED.keys() | WARPED


@pytest.mark.parametrize("name", READ)
def test_files_that_can_be_read_are_read_rightly(realdata: Path, name: str) -> None:
    path = realdata / "raster_access" / name
    with rasterio.open(path) as file:
        pixels, mask, grid = file.read(), file.dataset_mask() > 0, (file.crs, file.transform[:6])

    found, valid = whole(path)

    header = probe(str(path))
    assert np.array_equal(found, pixels, equal_nan=pixels.dtype.kind == "f")
    assert (rasterio.CRS.from_user_input(header.grid.crs), header.grid.transform) == grid
    assert header.mask == READ[name]
    if name == "above_cog.tif":
        np.testing.assert_array_equal(valid, (pixels != 255).all(axis=0))
    else:
        np.testing.assert_array_equal(valid, mask & np.isfinite(pixels).all(axis=0))


def test_a_radar_image_that_only_control_points_place_is_read_where_they_say(realdata: Path) -> None:
    path = realdata / "raster_access" / "cog_gcps.tif"
    with rasterio.open(path) as file:
        raw, points = file.read(1), file.gcps[0]

    found, valid = whole(path)

    grid = probe(str(path)).grid
    assert (grid.crs, grid.upright) == ("EPSG:4326", True)
    assert 0.65 < valid.mean() < 0.75
    inner = [point for point in points if 20 < point.row < raw.shape[0] - 20 and 20 < point.col < raw.shape[1] - 20]
    assert len(inner) > 150
    means = []
    for point in inner:
        row, col = (int(value) for value in pixel_at(grid, point.x, point.y))
        assert valid[row, col]
        here = raw[int(point.row) - 4 : int(point.row) + 4, int(point.col) - 4 : int(point.col) + 4]
        means.append((found[0, row - 4 : row + 4, col - 4 : col + 4].mean(), here.mean()))
    assert np.corrcoef(np.log1p(means).T)[0, 1] > 0.97


@pytest.mark.parametrize("name", REFUSED)
def test_files_without_a_place_are_refused_with_a_reason(realdata: Path, name: str) -> None:
    with pytest.raises(DataError, match=REFUSED[name]) as caught:
        probe(str(realdata / "raster_access" / name))

    assert caught.value.hint


def test_a_rotated_file_without_crs_is_read_where_that_is_allowed(realdata: Path) -> None:
    path = realdata / "raster_access" / "rotated.tif"

    found, valid = whole(path, allow_no_crs=True)

    assert found.shape == (1, 15, 10)
    assert valid.all()
    assert not probe(str(path), allow_no_crs=True).grid.upright


def test_scale_and_offset_are_told_and_the_pixels_left_as_they_are(realdata: Path) -> None:
    header = probe(str(realdata / "raster_access" / "cog_scale.tif"))

    assert header.scaled
    assert (header.scales, header.offsets) == ((0.0001, 0.001), (1000.0, 2000.0))


def test_bands_of_two_resolutions_and_two_crs_make_one_scene(realdata: Path) -> None:
    folder = realdata / "landsat8_elkton_multires"
    names = ("L8-B4-Elkton-VA.tiff", "L8-B8-Elkton-VA.tiff", "L8-B4-Elkton-VA-4326.tiff")
    headers = [probe(str(folder / name)) for name in names]
    assets = tuple(Asset(header.uri, (name,), (1,), header.dtypes[0], header.nodata) for header, name in zip(headers, names, strict=True))

    with SceneReader(Scene("elkton", headers[0].grid, assets)) as reader:
        image = reader.read(Window(0, 0, headers[0].grid.shape))

    red, pan, other = image.pixels[:, image.valid].astype(float)
    assert image.valid.mean() > 0.9
    assert np.corrcoef(red, pan)[0, 1] > 0.9
    assert np.corrcoef(red, other)[0, 1] > 0.9
