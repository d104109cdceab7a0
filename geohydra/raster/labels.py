"""Labels that are a raster, read onto the grid of a scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window as RasterWindow

from geohydra.errors import DataError
from geohydra.raster.components import components
from geohydra.raster.files import open_raster, reading
from geohydra.raster.warp import alpha_index, pixel_offset, placed, warped
from geohydra.task import Instances, Objects
from geohydra.types import IGNORE, Grid, Shape, Window


class Cover(Protocol):
    """Ground that polygons cover."""

    def cover(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels `(row, col)` of a window of the scene have their centre in it."""


class RasterGround:
    """The ground as a label raster tells it: implements `geohydra.task.Ground`.

    `values` maps pixel values to class names. A pixel takes the label of the nearest pixel of the file. Values that are not
    in `values` are background, or IGNORE where `unlabelled` says so. Values that are mapped to None are IGNORE; so is the file's nodata
    value unless `values` names it, what the file does not cover, and what `ignored` covers.
    """

    def __init__(
        self, uri: str, grid: Grid, values: Mapping[int, str | None], *, ignored: Cover | None = None, unlabelled: str = "background"
    ) -> None:
        self.uri = uri
        self._grid = grid
        self._values = dict(values)
        self._ignored = ignored
        self._sparse = unlabelled == "ignore"
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
            known = self._known(at)
        part = mask[here.shift(-window.row, -window.col).slices]
        part[:] = self._translated(labels, known, ids, background)
        if self._ignored is not None:
            part[self._ignored.cover(here)] = IGNORE
        return mask

    def known(self, window: Window) -> NDArray[np.bool_]:
        """Where the ground counts `(row, col)`: covered by the file, no nodata, not ignored."""
        return np.asarray(self.mask(window, ids=dict.fromkeys(self._names, 0), background=0) != IGNORE)

    def objects(self, window: Window) -> Objects:
        """Areas of one class; see `geohydra.raster.components`."""
        return self.instances(window).objects

    def instances(self, window: Window) -> Instances:
        """Areas of one class and their pixels; see `geohydra.raster.components`."""
        names = self._names
        return components(self.mask(window, ids={name: place for place, name in enumerate(names)}, background=IGNORE), names)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in self._values.values() if name is not None))

    def _known(self, at: RasterWindow) -> NDArray[np.bool_] | None:
        """Where the file says anything; None where it does so everywhere."""
        alpha = alpha_index(self._pixels)
        if alpha is not None:
            return np.asarray(self._pixels.read(alpha, window=at) > 0)
        if MaskFlags.per_dataset in self._pixels.mask_flag_enums[0]:
            return np.asarray(self._pixels.read_masks(1, window=at) > 0)
        return None

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
        """The file on the scene's grid, with an alpha band that tells what it covers."""
        if not placed(self._file, self._grid):
            raise DataError(self.uri, "does not lie on the grid of its scene, and without a CRS it cannot be warped", "give the file a CRS")
        return warped(self.uri, self._file, self._grid, resampling="nearest", nodata=None, alpha=True)

    def _translated(
        self, labels: NDArray[Any], known: NDArray[np.bool_] | None, ids: Mapping[str, int], background: int
    ) -> NDArray[np.uint8]:
        """Ids from the file's values."""
        nodata = self._file.nodata
        rest = IGNORE if self._sparse else background
        pairs = {value: IGNORE if name is None else ids.get(name, background) for value, name in self._values.items()}
        if nodata is not None and float(nodata).is_integer():
            pairs.setdefault(int(nodata), IGNORE)
        translated = _looked_up(labels, pairs, rest)
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
