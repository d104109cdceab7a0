"""One file of a scene, read on the scene's grid: as it is where its pixels lie on it, else warped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.windows import Window as RasterWindow

from geohydra.errors import DataError
from geohydra.raster.clouds import flagged
from geohydra.raster.files import open_raster, reading
from geohydra.raster.header import block_shape
from geohydra.raster.validity import fits, valid_pixels
from geohydra.raster.warp import alpha_index, covered, pixel_offset, placed, warped, without_alpha
from geohydra.types import Asset, Grid, Image, MaskAsset, Shape, Window


class Layer:
    """Bands of one asset; `places` tells which band of an image each is: `{place in the image: index in the file}`.

    What it learns of the file at first stays after `close`, and the file is opened again when it is read.
    """

    def __init__(self, asset: Asset, places: Mapping[int, int], grid: Grid, *, alpha: bool = True) -> None:
        """`alpha=False`: a band that the file calls alpha tells nothing, as in a stack of masks."""
        self.asset = asset
        self.places = list(places)
        self.indexes = list(places.values())
        self._grid = grid
        self._file: Any = open_raster(asset.uri)
        self._refuse_missing()
        self._nodata = [_nodata(asset, self._file, index) for index in self.indexes]
        self._alpha = _alpha(asset, self._file) if alpha else None
        flags = self._file.mask_flag_enums[self.indexes[0] - 1]
        self._masked = self._alpha is None and MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
        self._scale = _column(asset.scale, asset, self.indexes, 1.0)
        self._offset = _column(asset.offset, asset, self.indexes, 0.0)
        self.block = block_shape(self._file)
        self._exact = pixel_offset(self._file, grid) is not None
        self.window = self._place()
        self._pixels: Any = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what it reads."""
        return dtype_of(self.asset)

    @property
    def is_open(self) -> bool:
        """Whether it holds a file handle."""
        return self._file is not None

    def close(self) -> None:
        """Close the file."""
        if self._pixels is not None:
            self._pixels[0].close()
        if self._file is not None:
            self._file.close()
        self._file = self._pixels = None

    def covers(self, window: Window) -> bool:
        """Whether every pixel of a window of the scene lies in the file, in order of its bands."""
        return self.window is not None and window.intersect(self.window) == window

    def read(self, window: Window, dtype: np.dtype[Any]) -> Image:
        """A window of the scene that the file covers."""
        if self.window is None:
            raise ValueError(f"{self.asset.uri} does not lie on the scene")
        source, alpha = self._opened(self.window)
        inside = window.shift(-self.window.row, -self.window.col)
        at = RasterWindow(inside.col, inside.row, inside.shape.cols, inside.shape.rows)
        with reading(self.asset.uri):
            if alpha:
                both = source.read([*self.indexes, alpha], window=at)
                pixels, mask = both[:-1], both[-1]
            else:
                pixels = source.read(self.indexes, window=at)
                mask = source.read_masks(self.indexes[0], window=at) if self._exact and self._masked else None
        return Image(self._scaled(pixels, dtype), valid_pixels(pixels, self._nodata, mask))

    def decimated(self, shape: Shape, dtype: np.dtype[Any]) -> Image:
        """An overview of the whole scene."""
        if self.window is None:
            return Image(np.zeros((len(self.places), shape.rows, shape.cols), dtype), np.zeros((shape.rows, shape.cols), np.bool_))
        whole = self._exact and self.window == Window(0, 0, self._grid.shape)
        self._reopen()
        source, alpha = (self._file, self._alpha) if whole else self._warped(_coarse(self._grid, shape))
        method = Resampling.nearest if self.asset.resampling in ("nearest", "mode") else Resampling.average
        size = (shape.rows, shape.cols)
        with reading(self.asset.uri):
            pixels = source.read(self.indexes, out_shape=(len(self.indexes), *size), resampling=method)
            mask = source.read(alpha, out_shape=size) if alpha else None
            if whole and self._masked:
                mask = source.read_masks(self.indexes[0], out_shape=size)
        if not whole:
            source.close()
        return Image(self._scaled(pixels, dtype), valid_pixels(pixels, self._nodata, mask))

    def _scaled(self, pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        if self._scale is None and self._offset is None:
            return pixels.astype(dtype, copy=False)
        numbers = pixels.astype(np.float32)
        if self._scale is not None:
            numbers *= self._scale
        if self._offset is not None:
            numbers += self._offset
        return numbers.astype(dtype, copy=False)

    def _place(self) -> Window | None:
        """Where the file lies on the grid: a window that may reach beyond it where it is read as it is."""
        if self._exact:
            row, col = pixel_offset(self._file, self._grid) or (0, 0)
            return Window(row, col, Shape(self._file.height, self._file.width))
        if not placed(self._file, self._grid):
            problem = "does not lie on the grid of its scene, and without a CRS it cannot be warped"
            raise DataError(self.asset.uri, problem, "give the file a CRS")
        return covered(self._file, self._grid)

    def _reopen(self) -> None:
        if self._file is None:
            self._file = open_raster(self.asset.uri)

    def _opened(self, window: Window) -> tuple[Any, int | None]:
        """The dataset to read from, and which of its bands tells validity."""
        self._reopen()
        if self._exact:
            return self._file, self._alpha
        if self._pixels is None:
            self._pixels = self._warped(self._grid.at(window))
        return self._pixels[0], self._pixels[1]

    def _refuse_missing(self) -> None:
        missing = [index for index in self.indexes if index > self._file.count]
        if missing:
            raise DataError(self.asset.uri, f"has no band {missing[0]}", f"it has {self._file.count}")

    def _warped(self, grid: Grid) -> tuple[Any, int | None]:
        """The file on another grid. Without nodata value an alpha band tells what the file covers."""
        values = {value for value in self._nodata if value is not None}
        if len(values) > 1:
            problem = f"has bands with different nodata values ({', '.join(map(str, sorted(values)))}), and has to be warped"
            raise DataError(self.asset.uri, problem, "state one with source.nodata, or write one into the file")
        floats = np.issubdtype(np.dtype(self._file.dtypes[0]), np.floating)
        nodata = values.pop() if values else float("nan") if floats else None
        covering = nodata is None or nodata == 0 or self._masked or self._alpha is not None
        named = self._alpha is None and alpha_index(self._file) is not None
        source = without_alpha(self._file) if named else self._file
        result = warped(self.asset.uri, source, grid, resampling=self.asset.resampling, nodata=nodata, alpha=covering)
        return result, (alpha_index(result) if covering else None)


class MaskLayer:
    """The band of one mask on the scene's grid, by nearest neighbour."""

    def __init__(self, mask: MaskAsset, grid: Grid) -> None:
        self.mask = mask
        asset = Asset(mask.uri, ("mask",), (mask.index,), "int64", resampling="nearest")
        self._layer = Layer(asset, {0: mask.index}, grid, alpha=False)

    def close(self) -> None:
        """Close the file."""
        self._layer.close()

    def read(self, window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where it says anything, and where it says that there is no measurement, both `(row, col)`."""
        known, bad = (np.zeros((window.shape.rows, window.shape.cols), np.bool_) for _ in range(2))
        here = window.intersect(self._layer.window) if self._layer.window else None
        if here is not None:
            at = here.shift(-window.row, -window.col).slices
            known[at], bad[at] = self._told(self._layer.read(here, np.dtype(np.int64)))
        return known, bad

    def decimated(self, shape: Shape) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """As `read`, for an overview of the whole scene."""
        return self._told(self._layer.decimated(shape, np.dtype(np.int64)))

    def _told(self, image: Image) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return image.valid, flagged(image.pixels[0], self.mask) & image.valid


def dtype_of(asset: Asset) -> np.dtype[Any]:
    """Of what is read: float32 where numbers are scaled, else as in the file."""
    return np.dtype(np.float32) if asset.scale or asset.offset else np.dtype(asset.dtype)


def _coarse(grid: Grid, shape: Shape) -> Grid:
    """The same ground in fewer pixels."""
    a, b, c, d, e, f = grid.transform
    down, across = grid.shape.rows / shape.rows, grid.shape.cols / shape.cols
    return Grid(grid.crs, (a * across, b * down, c, d * across, e * down, f), shape)


def _nodata(asset: Asset, dataset: Any, index: int) -> float | None:
    """What the asset declares, else what the file does; None where no pixel of the file can have it."""
    value = asset.nodata if asset.nodata is not None else dataset.nodatavals[index - 1]
    if value is None or not (value == 0 or fits(float(value), np.dtype(dataset.dtypes[index - 1]))):
        return None
    return float(value)


def _alpha(asset: Asset, dataset: Any) -> int | None:
    """The band that tells validity. A band that the asset names is a measurement, whatever the file calls it."""
    index = alpha_index(dataset)
    return None if index in asset.indexes else index


def _column(numbers: tuple[float, ...], asset: Asset, indexes: list[int], neutral: float) -> NDArray[np.float32] | None:
    """Scales or offsets of the bands that are read, to be broadcast over `(band, row, col)`; None where they change nothing."""
    known = dict(zip(asset.indexes, numbers, strict=False))
    column = np.array([known.get(index, neutral) for index in indexes], np.float32)
    return column[:, None, None] if (column != neutral).any() else None
