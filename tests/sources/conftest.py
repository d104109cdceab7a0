"""Small real files: rasters and labels in a temporary folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning
from shapely import box

UTM = "EPSG:32632"
CORNER = (500_000.0, 5_500_000.0)


@pytest.fixture
def tif(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small GeoTIFF of 10 m pixels, by default 64 x 64 with two bands of noise."""

    def write(
        name: str,
        *,
        bands: int = 2,
        size: int = 64,
        crs: str | None = UTM,
        shift: float = 0.0,
        pixels: Any = None,
        names: tuple[str, ...] = (),
        resolution: float = 10.0,
        **profile: Any,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = np.random.default_rng(0).integers(1, 255, (bands, size, size), dtype=np.uint8) if pixels is None else pixels
        place = {"transform": Affine(resolution, 0, CORNER[0] + shift, 0, -resolution, CORNER[1])} if crs else {}
        shape = {"count": data.shape[0], "height": data.shape[1], "width": data.shape[2], "dtype": data.dtype}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            file = rasterio.open(path, "w", driver="GTiff", crs=crs, **place, **shape, **profile)
        with file:
            file.write(data)
            for index, text in enumerate(names, start=1):
                file.set_band_description(index, text)
        return path

    return write


@pytest.fixture
def vectors(tmp_path: Path) -> Callable[..., Path]:
    """Writes squares, by default one of the class `road` in the middle of such a GeoTIFF, in any format."""

    def write(name: str, classes: tuple[str | None, ...] = ("road",), *, shapes: Any = None, crs: str = UTM, prop: str = "class") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        middle = box(CORNER[0] + 200, CORNER[1] - 400, CORNER[0] + 400, CORNER[1] - 200)
        frame = geopandas.GeoDataFrame({prop: list(classes)}, geometry=shapes or [middle] * len(classes), crs=crs)
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        elif path.suffix == ".geojson":
            frame.to_crs("EPSG:4326").to_file(path, engine="pyogrio")
        else:
            frame.to_file(path, engine="pyogrio")
        return path

    return write
