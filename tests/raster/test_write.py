"""COGs that are written row by row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rio_cogeo import cog_validate

from geohydra.raster.read import probe
from geohydra.raster.write import CogWriter, write_image
from geohydra.types import Grid, Shape

UTM = (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0)
COLORS = {0: (0, 0, 0, 255), 1: (200, 30, 30, 255)}
NAMES = {0: "background", 1: "roof & <wall>"}


def grid_of(rows: int, cols: int) -> Grid:
    return Grid("EPSG:32618", UTM, Shape(rows, cols))


def write_classes(path: Path, ids: np.ndarray, *, rows: int = 64, block: int = 512) -> None:
    with CogWriter(path, grid=grid_of(*ids.shape), bands=1, dtype="uint8", nodata=255, colors=COLORS, names=NAMES, block=block) as writer:
        for row in range(0, len(ids), rows):
            writer.write(row, ids[None, row : row + rows])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 150), cols=st.integers(1, 90), bands=st.integers(1, 3), steps=st.lists(st.integers(1, 70), min_size=1, max_size=9)
)
def test_what_is_written_in_any_strips_is_read_back(tmp_path: Path, rows: int, cols: int, bands: int, steps: list[int]) -> None:
    pixels = np.random.default_rng(rows * cols).integers(0, 60000, (bands, rows, cols), np.uint16)

    with CogWriter(tmp_path / "a.tif", grid=grid_of(rows, cols), bands=bands, dtype="uint16", block=64) as writer:
        row = place = 0
        while row < rows:
            writer.write(row, pixels[:, row : row + steps[place % len(steps)]])
            row, place = row + steps[place % len(steps)], place + 1

    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(), pixels)


@pytest.mark.parametrize("shape", [(1, 1), (100, 700), (1500, 1100)])
def test_the_file_is_a_valid_cog(tmp_path: Path, shape: tuple[int, int]) -> None:
    write_classes(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 2, shape, np.uint8))

    valid, errors, warnings = cog_validate(str(tmp_path / "a.tif"), strict=True, quiet=True)

    assert (valid, errors, warnings) == (True, [], [])


def test_classes_have_colours_names_and_nodata(tmp_path: Path) -> None:
    write_classes(tmp_path / "a.tif", np.ones((10, 10), np.uint8))

    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.colormap(1)[1] == COLORS[1]
        assert file.colormap(1)[255][3] == 0
        assert file.nodata == 255
        assert file.tags()["CLASS_1"] == NAMES[1]
        assert file.crs == "EPSG:32618"
        assert file.transform[:6] == UTM


def test_names_stand_where_qgis_and_gdal_look_for_them(tmp_path: Path) -> None:
    write_classes(tmp_path / "a.tif", np.ones((10, 10), np.uint8))

    tree = ElementTree.parse(tmp_path / "a.tif.aux.xml")

    assert [name.text for name in tree.iterfind("PAMRasterBand/CategoryNames/Category")] == list(NAMES.values())


def test_overviews_of_classes_hold_only_classes(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (1200, 1200))
    write_classes(tmp_path / "a.tif", ids)

    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        assert set(np.unique(file.read()).tolist()) <= {0, 1, 255}


def test_overviews_of_numbers_are_means_without_nodata(tmp_path: Path) -> None:
    pixels = np.full((1, 1200, 1200), 10.0, np.float32)
    pixels[:, ::2, ::2] = -9999
    write_image(tmp_path / "a.tif", pixels, grid=grid_of(1200, 1200), nodata=-9999, descriptions=["height"])

    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        assert set(np.unique(file.read()).tolist()) == {10.0}


def test_bands_keep_their_descriptions(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", np.ones((2, 4, 4), np.float32), grid=grid_of(4, 4), descriptions=["height", "slope"])

    assert probe(str(tmp_path / "a.tif")).descriptions == ("height", "slope")


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_no_band_of_bytes_is_taken_for_opacity(tmp_path: Path, bands: int) -> None:
    write_image(tmp_path / "a.tif", np.ones((bands, 4, 4), np.uint8), grid=grid_of(4, 4))

    assert probe(str(tmp_path / "a.tif")).indexes == tuple(range(1, bands + 1))
    assert probe(str(tmp_path / "a.tif")).mask == "none"


def test_bands_that_are_called_red_green_and_blue_are_shown_so(tmp_path: Path) -> None:
    bands = ["blue", "green", "red", "nir"]
    write_image(tmp_path / "a.tif", np.ones((4, 4, 4), np.uint8), grid=grid_of(4, 4), descriptions=bands)

    assert probe(str(tmp_path / "a.tif")).colors == ("blue", "green", "red", "undefined")


def test_a_scale_tells_readers_how_to_multiply(tmp_path: Path) -> None:
    with CogWriter(tmp_path / "a.tif", grid=grid_of(3, 3), bands=2, dtype="uint8", scale=1 / 250) as writer:
        writer.write(0, np.ones((2, 3, 3), np.uint8))

    assert probe(str(tmp_path / "a.tif")).scales == (1 / 250, 1 / 250)


def test_a_raster_without_crs_or_with_a_turned_grid_can_be_written(tmp_path: Path) -> None:
    for name, grid in (("a", Grid("", (1, 0, 0, 0, 1, 0), Shape(2, 2))), ("b", Grid("EPSG:32618", (8, 3, 5e5, 4, -9, 4e6), Shape(2, 2)))):
        write_image(tmp_path / f"{name}.tif", np.ones((1, 2, 2), np.uint8), grid=grid)

        assert probe(str(tmp_path / f"{name}.tif"), allow_no_crs=name == "a").grid == grid


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path: Path, error: Exception | None = None) -> None:
    with CogWriter(path, grid=grid_of(9, 9), bands=1, dtype="uint8") as writer:
        writer.write(0, np.zeros((1, 4, 9), np.uint8))
        if error:
            raise error


def test_an_error_leaves_nothing_and_keeps_what_stood_there(tmp_path: Path) -> None:
    write_classes(tmp_path / "a.tif", np.ones((10, 10), np.uint8))
    before = (tmp_path / "a.tif").read_bytes()

    with pytest.raises(RuntimeError, match="stop"):
        write_half(tmp_path / "a.tif", RuntimeError("stop"))

    assert names(tmp_path) == ["a.tif", "a.tif.aux.xml"]
    assert (tmp_path / "a.tif").read_bytes() == before


def test_missing_rows_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows 4 to 9 were not written"):
        write_half(tmp_path / "a.tif")

    assert names(tmp_path) == []


@pytest.mark.parametrize(("row", "shape"), [(1, (1, 4, 9)), (0, (2, 4, 9)), (0, (1, 4, 8)), (0, (1, 10, 9))])
def test_rows_that_are_not_next_or_do_not_fit_are_refused(tmp_path: Path, row: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="row"), CogWriter(tmp_path / "a.tif", grid=grid_of(9, 9), bands=1, dtype="uint8") as writer:
        writer.write(row, np.zeros(shape, np.uint8))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from geohydra.errors import StoreError
from geohydra.raster.write import write_image
from geohydra.types import Grid, Shape
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
pixels = np.random.default_rng(0).integers(0, 255, (1, 900, 900), np.uint8)
try:
    write_image(Path(sys.argv[1]), pixels, grid=Grid("EPSG:32618", (10, 0, 5e5, 0, -10, 4e6), Shape(900, 900)))
except StoreError as error:
    print("told:", error)
"""


@pytest.mark.parametrize("limit", [100_000, 850_000])
def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing(tmp_path: Path, repository: Path, limit: int) -> None:
    command: list[Any] = [sys.executable, "-c", FULL_DISK, tmp_path / "a.tif", str(limit)]

    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)

    assert "told:" in done.stdout, done.stderr
    assert "cannot be written" in done.stdout
    assert names(tmp_path) == []
