"""Labels that are a raster, read onto the grid of a scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

from geohydra.errors import DataError
from geohydra.raster.files import gdal_env, open_raster, reading
from geohydra.raster.read import pixel_offset
from geohydra.types import IGNORE, Grid, Shape, Window


class RasterGround:
    """The ground as a label raster tells it: implements `geohydra.task.Ground`.

    `values` maps pixel values to class names. A pixel takes the label of the nearest pixel of the file. Values that are not
    in `values` are background; the file's nodata value is IGNORE unless `values` names it, and so is what the file
    does not cover.
    """

    def __init__(self, uri: str, grid: Grid, values: Mapping[int, str]) -> None:
        self.uri = uri
        self._grid = grid
        self._values = dict(values)
        self._file: Any = None
        self._pixels: Any = None
        self._offset = (0, 0)

    @property
    def grid(self) -> Grid:
        """The grid of the scene."""
        return self._grid

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        for part in {id(part): part for part in (self._pixels, self._file) if part is not None}.values():
            part.close()
        self._file = self._pixels = None

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        """Class ids `(row, col)` of a window."""
        self._open()
        mask = np.full((window.shape.rows, window.shape.cols), IGNORE, np.uint8)
        row, col = self._offset
        covered = Window(row, col, Shape(self._pixels.height, self._pixels.width))
        inside = window.clip(self._grid.shape)
        here = inside.intersect(covered) if inside else None
        if here is None:
            return mask
        at = RasterWindow(here.col - col, here.row - row, here.shape.cols, here.shape.rows)
        with reading(self.uri):
            labels = self._pixels.read(1, window=at)
            known = self._pixels.read_masks(1, window=at) > 0 if self._masked else None
        mask[here.shift(-window.row, -window.col).slices] = self._translated(labels, known, ids, background)
        return mask

    @property
    def _masked(self) -> bool:
        return MaskFlags.per_dataset in self._pixels.mask_flag_enums[0]

    def _open(self) -> None:
        if self._file is not None:
            return
        self._file = open_raster(self.uri)
        if np.dtype(self._file.dtypes[0]).kind not in "iu":
            raise DataError(self.uri, f"holds {self._file.dtypes[0]} pixels, labels are whole numbers", "convert it to uint8 or uint16")
        offset = pixel_offset(self._file, self._grid)
        self._offset = offset or (0, 0)
        self._pixels = self._file if offset is not None else self._warped()

    def _warped(self) -> Any:
        if not self._grid.crs or not self._file.crs:
            raise DataError(self.uri, "does not lie on the grid of its scene, and without a CRS it cannot be warped", "give the file a CRS")
        alpha = MaskFlags.alpha in self._file.mask_flag_enums[0]
        options = {} if alpha else {"add_alpha": True}
        with gdal_env(self.uri):
            return WarpedVRT(
                self._file,
                crs=self._grid.crs,
                transform=Affine(*self._grid.transform),
                width=self._grid.shape.cols,
                height=self._grid.shape.rows,
                resampling=Resampling.nearest,
                src_nodata=None,
                nodata=None,
                **options,
            )

    def _translated(
        self, labels: NDArray[Any], known: NDArray[np.bool_] | None, ids: Mapping[str, int], background: int
    ) -> NDArray[np.uint8]:
        """Ids from the file's values."""
        nodata = self._file.nodata
        pairs = {value: ids.get(name, background) for value, name in self._values.items()}
        if nodata is not None and float(nodata).is_integer():
            pairs.setdefault(int(nodata), IGNORE)
        translated = _looked_up(labels, pairs, background)
        if known is not None:
            translated[~known] = IGNORE
        return translated


def _looked_up(labels: NDArray[Any], pairs: Mapping[int, int], rest: int) -> NDArray[np.uint8]:
    """Each label by its pair, all others as `rest`; by a table where the type has few values."""
    if labels.dtype.itemsize <= 2:
        bits = 8 * labels.dtype.itemsize
        table = np.full(1 << bits, rest, np.uint8)
        low, high = np.iinfo(labels.dtype).min, np.iinfo(labels.dtype).max
        for value, key in pairs.items():
            if low <= value <= high:
                table[value % (1 << bits)] = key
        if bits == 8:
            quick = bytearray(np.ascontiguousarray(labels)).translate(table.tobytes())
            return np.frombuffer(quick, np.uint8).reshape(labels.shape)
        return np.asarray(table[labels.view(f"u{labels.dtype.itemsize}")])
    found = np.full(labels.shape, rest, np.uint8)
    for value, key in pairs.items():
        found[labels == value] = key
    return found
