"""Small scenes on disk, made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape

MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> MakeScene:
    """Writes pixels `(band, row, col)`, and labels `(row, col)` with their names, as a scene at `(x, y)`."""
    import rasterio

    def write(path: Path, array: NDArray[Any], grid: Grid, nodata: float | None) -> None:
        profile = {"driver": "GTiff", "count": len(array), "height": grid.shape.rows, "width": grid.shape.cols, "dtype": array.dtype}
        options = {"crs": grid.crs or None, "transform": Affine(*grid.transform), "nodata": nodata, "compress": "deflate"}
        with rasterio.open(path, "w", **profile, **options) as file:
            file.write(array)

    def make(
        name: str,
        pixels: NDArray[Any],
        labels: NDArray[np.uint8] | None = None,
        *,
        names: tuple[str, ...] = ("water", "road"),
        x: float = 500_000.0,
        y: float = 5_000_000.0,
        pixel: float = 1.0,
        crs: str = "EPSG:32633",
        nodata: float | None = None,
    ) -> Scene:
        grid = Grid(crs, (pixel, 0.0, x, 0.0, -pixel, y), Shape(*pixels.shape[1:]))
        write(tmp_path / f"{name}.tif", pixels, grid, nodata)
        bands = ("red", "green", "blue", "nir")[: len(pixels)]
        asset = Asset(str(tmp_path / f"{name}.tif"), bands, tuple(range(1, len(pixels) + 1)), str(pixels.dtype), nodata)
        known = None
        if labels is not None:
            write(tmp_path / f"{name}_labels.tif", labels[None], grid, None)
            known = LabelAsset(str(tmp_path / f"{name}_labels.tif"), "raster", dict(enumerate(names, start=1)), names)
        return Scene(name, grid, (asset,), known)

    return make


class Painted:
    """What lies where, told without files: weights of a window from a function."""

    def __init__(self, weigh: Callable[[str, Any], list[float]]) -> None:
        self._weigh = weigh

    def weights(self, scene: str, window: Any) -> NDArray[np.float64]:
        return np.array([window.shape.size, *self._weigh(scene, window)], float)


@pytest.fixture
def painted() -> type[Painted]:
    """A stand-in for labels on disk."""
    return Painted


@pytest.fixture
def empty_scene() -> MakeScene:
    """A scene that is only a place: no file behind it."""

    def make(name: str, rows: int, cols: int, *, x: float = 0.0, y: float = 0.0, pixel: float = 1.0, crs: str = "EPSG:32633") -> Scene:
        grid = Grid(crs, (pixel, 0.0, x, 0.0, -pixel, y), Shape(rows, cols))
        return Scene(name, grid, (Asset(f"{name}.tif", ("red",), (1,), "uint8"),))

    return make
