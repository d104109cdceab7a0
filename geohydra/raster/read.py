"""Reading scenes: a window on the grid of the scene, or an overview; validity comes with the pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import CRSError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

from geohydra.errors import DataError
from geohydra.raster.files import gdal_env as gdal_env
from geohydra.raster.files import open_raster, reading
from geohydra.raster.header import Header as Header
from geohydra.raster.header import block_shape
from geohydra.raster.header import probe as probe
from geohydra.types import Asset, Grid, Image, Scene, Shape, Window


class SceneReader:
    """Reads windows of a scene, all bands on the scene's grid. Files are opened at the first read, once.

    One thread at a time may use a reader. `bands` are names, in the order in which they are wanted; all by default.
    """

    def __init__(self, scene: Scene, *, bands: Sequence[str] | None = None) -> None:
        self.scene = scene
        self.bands = tuple(bands) if bands is not None else scene.bands
        self._parts = tuple(_parts(scene, self.bands))
        self.dtype = np.result_type(*(asset.dtype for asset, _ in self._parts))
        self._layers: tuple[_Layer, ...] = ()

    def __enter__(self) -> SceneReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for layer in self._layers:
            layer.close()
        self._layers = ()

    @property
    def block(self) -> Shape:
        """The shape of the blocks in which the first file is stored: windows along them cost least."""
        return self._opened()[0].block

    def read(self, window: Window) -> Image:
        """Pixels of a window, which may reach beyond the scene: there pixels are 0 and not valid.

        Pixels that are not valid elsewhere keep the file's numbers. A pixel is valid where no band is NaN or infinite, none
        has its nodata value, and alpha or mask say so; a nodata value of 0, which is a measurement too, counts only
        where all bands of its file have it.
        """
        inside = window.clip(self.scene.grid.shape)
        if inside is None:
            return _nothing(len(self.bands), window.shape, self.dtype)
        layers = self._opened()
        if inside == window and len(layers) == 1 and layers[0].covers(window):
            return layers[0].read(window, self.dtype)
        image = _nothing(len(self.bands), window.shape, self.dtype)
        image.valid[_within(inside, window)] = True
        for layer in layers:
            layer.read_into(image, window, inside)
        return image

    def read_overview(self, max_size: int) -> Image:
        """The whole scene, decimated so that its longer side has at most `max_size` pixels."""
        shape = self.scene.grid.shape
        factor = max(1.0, max(shape.rows, shape.cols) / max_size)
        small = Shape(max(1, round(shape.rows / factor)), max(1, round(shape.cols / factor)))
        image = _nothing(len(self.bands), small, self.dtype)
        image.valid[:] = True
        for layer in self._opened():
            layer.decimate_into(image)
        return image

    def _opened(self) -> tuple[_Layer, ...]:
        if not self._layers:
            self._layers = tuple(_Layer(asset, places, self.scene.grid) for asset, places in self._parts)
        return self._layers


def _nothing(bands: int, shape: Shape, dtype: np.dtype[Any]) -> Image:
    return Image(np.zeros((bands, shape.rows, shape.cols), dtype), np.zeros((shape.rows, shape.cols), np.bool_))


def _within(inner: Window, outer: Window) -> tuple[slice, slice]:
    return inner.shift(-outer.row, -outer.col).slices


def _parts(scene: Scene, bands: Sequence[str]) -> Iterator[tuple[Asset, dict[int, int]]]:
    """Each file that is needed, and which of its bands goes where: `{place in the image: index in the file}`."""
    known: dict[str, tuple[int, int]] = {}
    for number, asset in enumerate(scene.assets):
        known |= {band: (number, index) for band, index in zip(asset.bands, asset.indexes, strict=True)}
    missing = [band for band in bands if band not in known]
    if missing or not bands:
        problem = f"has no band {missing[0]!r}" if missing else "is asked for no band"
        raise DataError(scene.id, problem, f"its bands are {', '.join(scene.bands)}")
    for number, asset in enumerate(scene.assets):
        places = {place: known[band][1] for place, band in enumerate(bands) if known[band][0] == number}
        if places:
            yield asset, places


class _Layer:
    """One open file of a scene: as it is where its pixels lie on the scene's grid, else warped onto it (bilinear)."""

    def __init__(self, asset: Asset, places: Mapping[int, int], grid: Grid) -> None:
        self.uri = asset.uri
        self.places = list(places)
        self.indexes = list(places.values())
        self._file = open_raster(asset.uri)
        self._grid = grid
        self._refuse_missing()
        self.nodata = [_nodata(asset, self._file, index) for index in self.indexes]
        self._masked = self._has_mask(asset)
        self.offset = pixel_offset(self._file, grid)
        self.block = block_shape(self._file)
        self._pixels: Any = self._file if self.offset is not None else self._warped(grid)

    def close(self) -> None:
        if self._pixels is not self._file:
            self._pixels.close()
        self._file.close()

    def covers(self, window: Window) -> bool:
        """Whether every pixel of a window of the scene lies in the file, in order of its bands."""
        row, col = self.offset or (0, 0)
        return window.shift(-row, -col).within(self._shape)

    def read(self, window: Window, dtype: np.dtype[Any]) -> Image:
        """A window of the scene that the file covers."""
        row, col = self.offset or (0, 0)
        at = RasterWindow(window.col - col, window.row - row, window.shape.cols, window.shape.rows)
        with reading(self.uri):
            pixels = self._pixels.read(self.indexes, window=at)
            mask = self._pixels.read_masks(self.indexes[0], window=at) if self._masked else None
        return Image(pixels.astype(dtype, copy=False), valid_pixels(pixels, self.nodata, mask))

    def read_into(self, image: Image, window: Window, inside: Window) -> None:
        """Fill this file's bands; pixels that it does not cover become invalid."""
        row, col = self.offset or (0, 0)
        here = inside.intersect(Window(row, col, self._shape))
        covered = np.zeros_like(image.valid)
        if here is not None:
            part = self.read(here, image.pixels.dtype)
            rows, cols = _within(here, window)
            for place, band in zip(self.places, part.pixels, strict=True):
                image.pixels[place, rows, cols] = band
            covered[rows, cols] = part.valid
        np.logical_and(image.valid, covered, out=image.valid)

    def decimate_into(self, image: Image) -> None:
        """Fill this file's bands with an overview of the whole scene."""
        shape = Shape(*image.valid.shape)
        exact = self._file if self.offset == (0, 0) and self._shape == self._grid.shape else None
        source = exact or self._warped(_coarse(self._grid, shape))
        with reading(self.uri):
            pixels = source.read(self.indexes, out_shape=(len(self.indexes), shape.rows, shape.cols), resampling=Resampling.average)
            mask = source.read_masks(self.indexes[0], out_shape=(shape.rows, shape.cols)) if self._masked or not exact else None
        if exact is None:
            source.close()
        for place, band in zip(self.places, pixels, strict=True):
            image.pixels[place] = band
        np.logical_and(image.valid, valid_pixels(pixels, self.nodata, mask), out=image.valid)

    @property
    def _shape(self) -> Shape:
        return Shape(self._pixels.height, self._pixels.width)

    def _has_mask(self, asset: Asset) -> bool:
        """Whether alpha or a mask tells validity. A band that the asset names is a measurement, whatever the file calls it."""
        flags = self._file.mask_flag_enums[self.indexes[0] - 1]
        named = any(self._file.colorinterp[index - 1].name == "alpha" for index in asset.indexes)
        return MaskFlags.per_dataset in flags and not (MaskFlags.alpha in flags and named)

    def _refuse_missing(self) -> None:
        missing = [index for index in self.indexes if index > self._file.count]
        if missing:
            raise DataError(self.uri, f"has no band {missing[0]}", f"it has {self._file.count}")

    def _warped(self, grid: Grid) -> Any:
        """The file on another grid. Without nodata value an alpha band tells what the file covers."""
        if not grid.crs or not self._file.crs:
            raise DataError(self.uri, "does not lie on the grid of its scene, and without a CRS it cannot be warped", "give the file a CRS")
        values = [value for value in self.nodata if value is not None]
        floats = np.issubdtype(np.dtype(self._file.dtypes[0]), np.floating)
        nodata = values[0] if values else float("nan") if floats else None
        alpha = nodata is None or self._masked
        options = {} if alpha and MaskFlags.alpha in self._file.mask_flag_enums[0] else {"add_alpha": alpha}
        self._masked = alpha
        with gdal_env(self.uri):
            return WarpedVRT(
                self._file,
                crs=grid.crs,
                transform=Affine(*grid.transform),
                width=grid.shape.cols,
                height=grid.shape.rows,
                resampling=Resampling.bilinear,
                src_nodata=nodata,
                nodata=None if alpha else nodata,
                **options,
            )


def _coarse(grid: Grid, shape: Shape) -> Grid:
    """The same ground in fewer pixels."""
    a, b, c, d, e, f = grid.transform
    down, across = grid.shape.rows / shape.rows, grid.shape.cols / shape.cols
    return Grid(grid.crs, (a * across, b * down, c, d * across, e * down, f), shape)


def _nodata(asset: Asset, dataset: Any, index: int) -> float | None:
    """What the asset declares, else what the file does."""
    value = asset.nodata if asset.nodata is not None else dataset.nodatavals[index - 1]
    return None if value is None else float(value)


_PIXEL_TOLERANCE = 0.01


def pixel_offset(dataset: Any, grid: Grid) -> tuple[int, int] | None:
    """Row and column of the scene's grid where the file's upper left pixel lies; None where its pixels lie otherwise."""
    if not _same_crs(dataset, grid):
        return None
    if not grid.crs:
        return (0, 0) if Shape(dataset.height, dataset.width) == grid.shape else None
    corners = Grid("", dataset.transform[:6], Shape(dataset.height, dataset.width)).corners
    ends = np.array([_pixel_at(grid, *corner) for corner in corners])
    row, col = (round(value) for value in ends[0])
    bottom, right = row + dataset.height, col + dataset.width
    wanted = np.array([(row, col), (row, right), (bottom, right), (bottom, col)])
    return (row, col) if np.allclose(ends, wanted, rtol=0, atol=_PIXEL_TOLERANCE) else None


def _pixel_at(grid: Grid, x: float, y: float) -> tuple[float, float]:
    """Row and column of a place on the ground."""
    a, b, c, d, e, f = grid.transform
    scale = a * e - b * d
    return (a * (y - f) - d * (x - c)) / scale, (e * (x - c) - b * (y - f)) / scale


def _same_crs(dataset: Any, grid: Grid) -> bool:
    """A file without a CRS has that of its scene: ingest refuses such files unless the user states one."""
    if not grid.crs or not dataset.crs:
        return True
    try:
        return bool(CRS.from_user_input(grid.crs) == dataset.crs)
    except CRSError as cause:
        raise DataError(grid.crs, "is no CRS that PROJ knows", "write it as EPSG:CODE") from cause


def valid_pixels(pixels: NDArray[Any], nodata: Sequence[float | None], mask: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
    """Which pixels `(row, col)` were measured; see `SceneReader.read` for the rule."""
    zero = [place for place, value in enumerate(nodata) if value == 0]
    valid = pixels[zero[0]] != 0 if zero else np.ones(pixels.shape[1:], np.bool_)
    for place in zero[1:]:
        np.logical_or(valid, pixels[place], out=valid)
    if mask is not None:
        valid &= mask > 0
    for band, value in zip(pixels, nodata, strict=True):
        if value is not None and value != 0 and _fits(value, band.dtype):
            valid &= band != band.dtype.type(value)
        if band.dtype.kind == "f":
            valid &= np.isfinite(band)
    return valid


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a pixel of this type can have this value; NaN is caught with all that is not finite."""
    if dtype.kind == "f":
        return bool(np.isfinite(value))
    return value == int(value) and bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max) if np.isfinite(value) else False
