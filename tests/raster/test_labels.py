"""Label rasters, read onto the grid of a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.raster.labels import RasterGround
from geohydra.task import Ground
from geohydra.types import IGNORE, Asset, Grid, LabelAsset, Scene, Shape, Window

GRID = Grid("EPSG:32618", (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0), Shape(8, 10))
VALUES = {1: "field", 7: "house"}
IDS = {"field": 0, "house": 3}


def write(path: Path, labels: np.ndarray, *, transform: tuple[float, ...] = GRID.transform, **options: Any) -> str:
    height, width = labels.shape
    profile = {"driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": labels.dtype.name, "crs": GRID.crs} | options
    with rasterio.open(path, "w", transform=Affine(*transform), **profile) as file:
        file.write(labels, 1)
    return str(path)


def labels(dtype: str = "uint8") -> np.ndarray:
    found = np.zeros((8, 10), dtype)
    found[2:4, 2:6], found[5, 5] = 1, 7
    return found


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
def test_values_become_ids_and_the_rest_background(tmp_path: Path, dtype: str) -> None:
    ground = RasterGround(write(tmp_path / "a.tif", labels(dtype)), GRID, VALUES)

    mask = ground.mask(Window(0, 0, Shape(8, 10)), ids=IDS, background=9)

    np.testing.assert_array_equal(mask, np.select([labels() == 1, labels() == 7], [0, 3], 9))
    ground.close()


def test_classes_without_an_id_are_background(tmp_path: Path) -> None:
    ground = RasterGround(write(tmp_path / "a.tif", labels()), GRID, VALUES)

    assert ground.mask(Window(5, 5, Shape(1, 1)), ids={"field": 0}, background=9).item() == 9


def test_nodata_is_ignored_unless_it_is_named(tmp_path: Path) -> None:
    uri = write(tmp_path / "a.tif", labels(), nodata=0)
    window = Window(0, 0, Shape(1, 1))

    assert RasterGround(uri, GRID, VALUES).mask(window, ids=IDS, background=9).item() == IGNORE
    assert RasterGround(uri, GRID, VALUES | {0: "rest"}).mask(window, ids=IDS | {"rest": 5}, background=9).item() == 5


@pytest.mark.parametrize("zoom", [1, 2, 4])
def test_another_grid_gives_the_nearest_label_and_ignores_what_it_does_not_cover(tmp_path: Path, zoom: int) -> None:
    small = np.random.default_rng(0).choice(np.array([0, 1, 7], np.uint8), (3, 4))
    a, _, c, _, e, f = GRID.transform
    transform = (a * zoom, 0.0, c + 10, 0.0, e * zoom, f - 10)
    ground = RasterGround(write(tmp_path / "a.tif", small, transform=transform), GRID, VALUES)

    mask = ground.mask(Window(0, 0, GRID.shape), ids=IDS, background=9)

    expected = np.full((20, 20), IGNORE)
    large = np.kron(np.select([small == 1, small == 7], [0, 3], 9), np.ones((zoom, zoom)))
    expected[1 : 1 + len(large), 1 : 1 + len(large[0])] = large
    np.testing.assert_array_equal(mask, expected[:8, :10])


def test_a_window_beyond_the_scene_is_ignored_there(tmp_path: Path) -> None:
    ground = RasterGround(write(tmp_path / "a.tif", labels()), GRID, VALUES)

    mask = ground.mask(Window(6, 8, Shape(4, 4)), ids=IDS, background=9)

    assert (mask[:2, :2] == 9).all()
    assert (mask[2:] == IGNORE).all()
    assert (mask[:, 2:] == IGNORE).all()


def test_an_internal_mask_is_ignored(tmp_path: Path) -> None:
    uri = write(tmp_path / "a.tif", labels())
    hidden = np.full((8, 10), 255, np.uint8)
    hidden[2, 2] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(uri, "r+") as file:
        file.write_mask(hidden)

    mask = RasterGround(uri, GRID, VALUES).mask(Window(2, 2, Shape(1, 2)), ids=IDS, background=9)

    assert mask.tolist() == [[IGNORE, 0]]


def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path) -> None:
    ground = RasterGround(write(tmp_path / "a.tif", labels("float32")), GRID, VALUES)

    with pytest.raises(DataError, match="labels are whole numbers"):
        ground.mask(Window(0, 0, Shape(1, 1)), ids=IDS, background=0)


def test_the_ground_of_a_scene_is_opened_by_the_kind_of_its_labels(tmp_path: Path) -> None:
    uri = write(tmp_path / "a.tif", labels())
    asset = Asset(uri, ("a",), (1,), "uint8")

    ground: Ground | None = open_ground(Scene("s", GRID, (asset,), LabelAsset(uri, "raster", VALUES)))

    assert ground is not None
    assert ground.grid == GRID
    assert ground.mask(Window(5, 5, Shape(1, 1)), ids=IDS, background=9).item() == 3
    assert open_ground(Scene("s", GRID, (asset,))) is None


def test_an_unknown_kind_of_labels_is_refused() -> None:
    with pytest.raises(DataError, match="known are vector, raster"):
        open_ground(Scene("s", GRID, (Asset("a.tif", ("a",), (1,), "uint8"),), LabelAsset("x", "points")))
