"""Rasters on disk for a while: written row by row, read in the same way, in memory of a few rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from geohydra.raster.files import gdal_env
from geohydra.raster.flooding import blocks
from geohydra.types import Shape

_STRIP_PIXELS = 1 << 21


class Rows:
    """A raster on disk that is written row by row and then read in the same way; gone with the folder that it lies in."""

    def __init__(self, path: Path, shape: Shape, *, bands: int, dtype: str) -> None:
        self._path = path
        # any place will do: without one, rasterio warns
        self._profile = {"height": shape.rows, "width": shape.cols, "count": bands, "dtype": dtype, "transform": Affine.scale(2)}
        self._cols = shape.cols
        self._file: Any = None

    def __enter__(self) -> Rows:
        with gdal_env():
            self._file = rasterio.open(
                self._path, "w", "GTiff", **self._profile, blockysize=16, compress="zstd", zstd_level=1, bigtiff="if_safer"
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, row: int, pixels: NDArray[Any]) -> None:
        """The next rows `(band, row, col)`."""
        with gdal_env():
            self._file.write(pixels, window=RasterWindow(0, row, self._cols, pixels.shape[1]))

    def reopen(self) -> None:
        """End writing, begin reading."""
        self._file.close()
        with gdal_env():
            self._file = rasterio.open(self._path)

    def read(self, top: int, bottom: int) -> NDArray[Any]:
        """Rows `(band, row, col)` from `top` to before `bottom`."""
        with gdal_env():
            return np.asarray(self._file.read(window=RasterWindow(0, top, self._cols, bottom - top)))


def strip_rows(cols: int, *, least: int = 256) -> int:
    """Rows that are looked at together: as many as bounded memory allows, and no fewer than `least`."""
    return max(least, _STRIP_PIXELS // cols // 16 * 16)


def strips(path: Path, rows: int) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """First row, row after the last, and pixels of the first band of a raster, from the top."""
    with gdal_env(), rasterio.open(path) as dataset:
        for top, bottom in blocks(dataset.height, rows):
            yield top, bottom, dataset.read(1, window=RasterWindow(0, top, dataset.width, bottom - top))
