"""Cells of a coarse map as squares: as many as there are, where they are, with their scores."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from geohydra.raster.write import write_image
from geohydra.types import Grid, Shape
from geohydra.vector.cells import write_cells

NAMES = ("land", "water", "road")
UTM = Grid("EPSG:32633", (16, 0, 500_000, 0, -16, 5_000_000), Shape(7, 5))
SOUTH_UP = Grid("EPSG:32633", (16, 0, 500_000, 0, 16, 5_000_000), Shape(7, 5))


def world(folder: Path, grid: Grid) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    draw = np.random.default_rng(0)
    labels = draw.choice([0, 1, 2, 255], (7, 5)).astype(np.uint8)
    levels = draw.random((3, 7, 5)).astype(np.float32)
    write_image(folder / "classes.tif", labels[None], grid=grid, nodata=255)
    write_image(folder / "probabilities.tif", levels, grid=grid, nodata=float("nan"))
    return labels, levels


@pytest.mark.parametrize("grid", [UTM, SOUTH_UP])
def test_every_cell_that_is_wanted_is_a_square_of_its_own(tmp_path: Path, grid: Grid) -> None:
    labels, levels = world(tmp_path, grid)

    paths, counts = write_cells(
        tmp_path / "classes.tif", tmp_path / "probabilities.tif", tmp_path / "c.parquet", tmp_path / "c.geojson", names=NAMES, skip=["land"]
    )

    frame, features = geopandas.read_parquet(paths[0]), geopandas.read_file(paths[1])
    assert counts == {"water": int((labels == 1).sum()), "road": int((labels == 2).sum())}
    assert len(frame) == len(features) == sum(counts.values())
    assert frame.crs == "EPSG:32633"
    assert frame.area.tolist() == pytest.approx([256] * len(frame))
    assert shapely.is_ccw(frame.exterior).all()
    for square, name, score in zip(frame.geometry, frame["class"], frame["score"], strict=True):
        col, row = (square.centroid.x - 500_000) / 16 - 0.5, (square.centroid.y - 5_000_000) / grid.transform[4] - 0.5
        place = NAMES.index(name)
        assert labels[round(row), round(col)] == place
        assert score == pytest.approx(levels[place, round(row), round(col)])
    assert (features.to_crs(frame.crs).geometry.symmetric_difference(frame.geometry).area < 1).all()


def test_without_probabilities_there_is_no_score(tmp_path: Path) -> None:
    world(tmp_path, UTM)

    paths, _ = write_cells(tmp_path / "classes.tif", None, tmp_path / "c.parquet", tmp_path / "c.geojson", names=NAMES)

    assert list(geopandas.read_parquet(paths[0]).columns) == ["class", "geometry"]
