"""Files that hold many acquisitions, a band or more each: each of their blocks is read once for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window as RasterWindow

from geohydra.raster.clouds import flagged
from geohydra.raster.files import open_raster, reading
from geohydra.raster.header import block_shape
from geohydra.raster.read import pixel_offset, valid_pixels
from geohydra.types import Asset, Grid, Image, MaskAsset, Scene, Shape, Window


@dataclass(frozen=True, slots=True)
class _Acquisition:
    """What one date needs: one asset that has all bands, their indexes in order, and the masks."""

    asset: Asset
    indexes: tuple[int, ...]
    masks: tuple[MaskAsset, ...]

    @property
    def uris(self) -> tuple[str, ...]:
        return self.asset.uri, *(mask.uri for mask in self.masks)


class Stacks:
    """The acquisitions of a scene that share files with others, where these lie on the scene's grid pixel by pixel.

    All else (files of one date, mosaics, files that have to be warped or scaled, or that have alpha) is left to a reader for each
    date. Files are opened at the first read.
    """

    def __init__(self, scene: Scene, bands: Sequence[str], times: Sequence[datetime]) -> None:
        self._grid = scene.grid
        self._wanted = _shared(scene, bands, times)
        self._files: dict[str, _File] = {}
        self._opened = False

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for file in self._files.values():
            file.close()
        self._files, self._opened = {}, False

    @property
    def block(self) -> Shape | None:
        """The shape of the blocks of the first file; None where no file is shared."""
        self._open()
        return next((self._files[one.asset.uri].block for one in self._wanted.values()), None)

    def read(self, window: Window) -> dict[datetime, Image]:
        """The acquisitions that are read together."""
        self._open()
        if not self._wanted:
            return {}
        masks = {uri: self._read(uri, indexes, window) for uri, indexes in self._masks().items()}
        found: dict[datetime, Image] = {}
        for uri in dict.fromkeys(one.asset.uri for one in self._wanted.values()):
            theirs = {time: one for time, one in self._wanted.items() if one.asset.uri == uri}
            layers = self._read(uri, sorted({index for one in theirs.values() for index in one.indexes}), window)
            found |= {time: self._image(one, layers, masks) for time, one in theirs.items()}
        return found

    def _masks(self) -> dict[str, list[int]]:
        indexes: dict[str, set[int]] = {}
        for mask in (mask for one in self._wanted.values() for mask in one.masks):
            indexes.setdefault(mask.uri, set()).add(mask.index)
        return {uri: sorted(known) for uri, known in indexes.items()}

    def _read(self, uri: str, indexes: Sequence[int], window: Window) -> _Layers:
        return self._files[uri].read(indexes, window, self._grid.shape)

    def _image(self, one: _Acquisition, layers: _Layers, masks: Mapping[str, _Layers]) -> Image:
        pixels = layers.pixels[[layers.places[index] for index in one.indexes]]
        declared = self._files[one.asset.uri].nodata
        nodata = [one.asset.nodata if one.asset.nodata is not None else declared[index - 1] for index in one.indexes]
        valid = valid_pixels(pixels, nodata, None) & layers.covered
        for mask in one.masks:
            there = masks[mask.uri]
            valid &= ~(flagged(there.pixels[there.places[mask.index]], mask) & there.covered)
        return Image(pixels, valid)

    def _open(self) -> None:
        """Open the shared files, and leave what they cannot serve to others."""
        if self._opened:
            return
        self._opened = True
        uris = {uri for one in self._wanted.values() for uri in one.uris}
        self._files = {uri: _File(uri, self._grid) for uri in sorted(uris)}
        good = {uri for uri, file in self._files.items() if file.plain}
        masks_good = {uri for uri, file in self._files.items() if file.offset is not None}
        self._wanted = {
            time: one
            for time, one in self._wanted.items()
            if one.asset.uri in good
            and all(mask.uri in masks_good for mask in one.masks)
            and max(one.indexes) <= self._files[one.asset.uri].count
        }
        kept = {uri for one in self._wanted.values() for uri in one.uris}
        for uri in uris - kept:
            self._files.pop(uri).close()


def _shared(scene: Scene, bands: Sequence[str], times: Sequence[datetime]) -> dict[datetime, _Acquisition]:
    """Acquisitions that come whole from one asset, of a file that has others too."""
    counts = Counter(asset.uri for asset in scene.assets if asset.time is not None)
    found = {}
    for time in times:
        theirs = [asset for asset in scene.assets if asset.time in (time, None) and set(asset.bands) & set(bands)]
        if len(theirs) != 1 or counts[theirs[0].uri] < 2:
            continue
        asset = theirs[0]
        if asset.scale or asset.offset or not set(bands) <= set(asset.bands):
            continue
        indexes = tuple(asset.indexes[asset.bands.index(band)] for band in bands)
        found[time] = _Acquisition(asset, indexes, tuple(mask for mask in scene.masks if mask.time in (time, None)))
    return found


@dataclass(frozen=True, slots=True)
class _Layers:
    """Some bands of a window `(band, row, col)`, the place of each index among them, and what the file covers."""

    pixels: NDArray[Any]
    places: Mapping[int, int]
    covered: NDArray[np.bool_]


class _File:
    """One open file; `offset` is None where its pixels do not lie on the grid, `plain` tells that nothing but nodata masks it."""

    def __init__(self, uri: str, grid: Grid) -> None:
        self.uri = uri
        self._file = open_raster(uri)
        self.count = self._file.count
        self.offset = pixel_offset(self._file, grid)
        self.nodata: tuple[float | None, ...] = tuple(self._file.nodatavals)
        self.block = block_shape(self._file)
        self.plain = self.offset is not None and not any(MaskFlags.per_dataset in flags for flags in self._file.mask_flag_enums)

    def close(self) -> None:
        self._file.close()

    def read(self, indexes: Sequence[int], window: Window, scene: Shape) -> _Layers:
        row, col = self.offset or (0, 0)
        inside = window.clip(scene)
        here = inside.intersect(Window(row, col, Shape(self._file.height, self._file.width))) if inside else None
        pixels = np.zeros((len(indexes), window.shape.rows, window.shape.cols), self._file.dtypes[0])
        covered = np.zeros((window.shape.rows, window.shape.cols), np.bool_)
        if here is not None:
            at = RasterWindow(here.col - col, here.row - row, here.shape.cols, here.shape.rows)
            rows, cols = here.shift(-window.row, -window.col).slices
            with reading(self.uri):
                pixels[:, rows, cols] = self._file.read(list(indexes), window=at)
            covered[rows, cols] = True
        return _Layers(pixels, {index: place for place, index in enumerate(indexes)}, covered)
