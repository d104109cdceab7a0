"""Masks grown by a few pixels, written strip by strip."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

from geohydra.errors import DataError
from geohydra.raster.clouds import flagged
from geohydra.raster.files import gdal_env, open_raster, reading
from geohydra.raster.read import pixel_offset
from geohydra.raster.write import CogWriter
from geohydra.types import Grid, MaskAsset

_STRIP = 1024


def write_dilated(mask: MaskAsset, grid: Grid, *, radius: int, path: Path) -> MaskAsset:
    """A mask of 0 and 1 on the scene's grid, 1 also within so many pixels of what the given mask flags."""
    rows, cols = grid.shape.rows, grid.shape.cols
    writing = CogWriter(path, grid=grid, bands=1, dtype="uint8", nodata=None, block=512)
    with open_raster(mask.uri) as file, _on_grid(file, mask, grid) as pixels, writing as writer:
        for row in range(0, rows, _STRIP):
            top, stop = max(0, row - radius), min(rows, row + _STRIP + radius)
            with reading(mask.uri):
                numbers = pixels.read(mask.index, window=RasterWindow(0, top, cols, stop - top))
            grown = dilated(flagged(numbers, mask), radius)
            writer.write(row, grown[None, row - top : min(rows, row + _STRIP) - top].astype(np.uint8))
    return MaskAsset(str(path), 1, values=(1,), time=mask.time)


def dilated(flags: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """True also within so many pixels of what is true, as the crow flies."""
    import cv2

    if not flags.any():
        return flags
    away = cv2.distanceTransform(np.logical_not(flags).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away <= radius)


def _on_grid(file: Any, mask: MaskAsset, grid: Grid) -> Any:
    """The mask's file on the scene's grid, by nearest neighbour."""
    if pixel_offset(file, grid) == (0, 0) and (file.height, file.width) == (grid.shape.rows, grid.shape.cols):
        return nullcontext(file)
    if not grid.crs or not file.crs:
        raise DataError(mask.uri, "does not lie on the grid of its scene, and without a CRS it cannot be warped", "give the file a CRS")
    with gdal_env(mask.uri):
        return WarpedVRT(
            file,
            crs=grid.crs,
            transform=Affine(*grid.transform),
            width=grid.shape.cols,
            height=grid.shape.rows,
            resampling=Resampling.nearest,
        )
