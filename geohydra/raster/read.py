"""Reading scenes: a window on the grid of the scene, or an overview; validity comes with the pixels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import DataError
from geohydra.raster.files import gdal_env as gdal_env
from geohydra.raster.header import Header as Header
from geohydra.raster.header import probe as probe
from geohydra.raster.layer import Layer, MaskLayer, dtype_of
from geohydra.raster.validity import valid_pixels as valid_pixels
from geohydra.raster.warp import pixel_offset as pixel_offset
from geohydra.types import Asset, Image, MaskAsset, Scene, Shape, Window

_OPEN = 64
"""Files of one scene that are kept open."""


class SceneReader:
    """Reads windows of a scene that is one image, all bands on the scene's grid. Files are opened at the first read, once.

    One thread at a time may use a reader. `bands` are names, in the order in which they are wanted; all by default.
    Assets with the same band are a mosaic: in each pixel the first valid one counts, in the order of the assets.
    """

    def __init__(self, scene: Scene, *, bands: Sequence[str] | None = None) -> None:
        self.scene = scene
        self.bands = tuple(bands) if bands is not None else scene.bands
        self._parts = tuple(_parts(scene, self.bands))
        _refuse_series(scene, self._parts)
        self.dtype = np.result_type(*(dtype_of(asset) for asset, _ in self._parts))
        self._layers: tuple[Layer, ...] = ()
        self._recent: OrderedDict[int, Layer] = OrderedDict()
        self._masks: tuple[MaskLayer, ...] = ()

    def __enter__(self) -> SceneReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for layer in self._layers:
            layer.close()
        for mask in self._masks:
            mask.close()
        self._layers, self._masks = (), ()
        self._recent.clear()

    @property
    def block(self) -> Shape:
        """The shape of the blocks in which the first file is stored: windows along them cost least."""
        return self._opened()[0].block

    def read(self, window: Window) -> Image:
        """Pixels of a window, which may reach beyond the scene: there pixels are 0 and not valid.

        Pixels that are not valid elsewhere keep the (first) file's numbers. A pixel is valid where no band is NaN or infinite, none
        has its nodata value, alpha or mask say so, and no mask of the scene (of clouds) forbids it; a nodata value of 0, which is a
        measurement too, counts only where all bands of its file have it. Numbers are compared as the file holds them, and scaled after.
        """
        inside = window.clip(self.scene.grid.shape)
        if inside is None:
            return _nothing(len(self.bands), window.shape, self.dtype)
        layers = self._opened()
        if inside == window and len(layers) == 1 and not self._masks and layers[0].covers(window):
            return layers[0].read(window, self.dtype)
        canvas = _Canvas(len(self.bands), window.shape, self.dtype)
        for number, layer in enumerate(layers):
            here = inside.intersect(layer.window) if layer.window else None
            if here is not None and not canvas.full(layer.places, _within(here, window)):
                self._used(number, layer)
                canvas.put(layer.places, layer.read(here, self.dtype), _within(here, window))
        return canvas.image(_forbidden((mask.mask, *mask.read(window)) for mask in self._masks))

    def read_overview(self, max_size: int) -> Image:
        """The whole scene, decimated so that its longer side has at most `max_size` pixels."""
        shape = self.scene.grid.shape
        factor = max(1.0, max(shape.rows, shape.cols) / max_size)
        small = Shape(max(1, round(shape.rows / factor)), max(1, round(shape.cols / factor)))
        canvas = _Canvas(len(self.bands), small, self.dtype)
        for number, layer in enumerate(self._opened()):
            self._used(number, layer)
            canvas.put(layer.places, layer.decimated(small, self.dtype), (slice(None), slice(None)))
        return canvas.image(_forbidden((mask.mask, *mask.decimated(small)) for mask in self._masks))

    def _opened(self) -> tuple[Layer, ...]:
        if not self._layers:
            layers: list[Layer] = []
            for number, (asset, places) in enumerate(self._parts):
                layers.append(Layer(asset, places, self.scene.grid))
                self._used(number, layers[-1])
            self._layers = tuple(layers)
            self._masks = tuple(MaskLayer(mask, self.scene.grid) for mask in self.scene.masks)
        return self._layers

    def _used(self, number: int, layer: Layer) -> None:
        """Keep this file open, and close the one that was not used for longest where there are too many."""
        self._recent[number] = layer
        self._recent.move_to_end(number)
        if len(self._recent) > _OPEN:
            _, oldest = self._recent.popitem(last=False)
            oldest.close()


class _Canvas:
    """An image that is put together of files, and for each band which of its pixels were measured."""

    def __init__(self, bands: int, shape: Shape, dtype: np.dtype[Any]) -> None:
        self._pixels = np.zeros((bands, shape.rows, shape.cols), dtype)
        self._filled = np.zeros((bands, shape.rows, shape.cols), np.bool_)
        self._touched: set[int] = set()

    def full(self, places: Sequence[int], at: tuple[slice, slice]) -> bool:
        """Whether nothing is left to be filled in these bands."""
        return self._touched.issuperset(places) and all(bool(self._filled[place][at].all()) for place in places)

    def put(self, places: Sequence[int], part: Image, at: tuple[slice, slice]) -> None:
        """Lay a file below what is there already."""
        for place, band in zip(places, part.pixels, strict=True):
            filled, pixels = self._filled[place][at], self._pixels[place][at]
            if place not in self._touched:
                pixels[:] = band
                filled[:] = part.valid
                continue
            fresh = part.valid & ~filled
            pixels[fresh] = band[fresh]
            filled |= part.valid
        self._touched.update(places)

    def image(self, forbidden: NDArray[np.bool_] | None) -> Image:
        """What came of it: valid where all bands are and nothing forbids it."""
        valid: NDArray[np.bool_] = np.all(self._filled, axis=0)
        if forbidden is not None:
            valid &= ~forbidden
        return Image(self._pixels, valid)


def _forbidden(told: Iterator[tuple[MaskAsset, NDArray[np.bool_], NDArray[np.bool_]]]) -> NDArray[np.bool_] | None:
    """Where any rule says that there is no measurement; of masks of one rule, a mosaic, the first that says anything counts."""
    rules: dict[tuple[Any, ...], tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {}
    for mask, known, bad in told:
        rule = (mask.index, mask.values, mask.bits)
        if rule in rules:
            before, found = rules[rule]
            known, bad = before | known, found | (bad & ~before)
        rules[rule] = known, bad
    return np.any([bad for _, bad in rules.values()], axis=0) if rules else None


def _nothing(bands: int, shape: Shape, dtype: np.dtype[Any]) -> Image:
    return Image(np.zeros((bands, shape.rows, shape.cols), dtype), np.zeros((shape.rows, shape.cols), np.bool_))


def _within(inner: Window, outer: Window) -> tuple[slice, slice]:
    return inner.shift(-outer.row, -outer.col).slices


def _parts(scene: Scene, bands: Sequence[str]) -> Iterator[tuple[Asset, Mapping[int, int]]]:
    """Each file that is needed, and which of its bands goes where: `{place in the image: index in the file}`."""
    missing = [band for band in bands if band not in scene.bands]
    if missing or not bands:
        problem = f"has no band {missing[0]!r}" if missing else "is asked for no band"
        raise DataError(scene.id, problem, f"its bands are {', '.join(scene.bands)}")
    for asset in scene.assets:
        known = dict(zip(asset.bands, asset.indexes, strict=True))
        places = {place: known[band] for place, band in enumerate(bands) if band in known}
        if places:
            yield asset, places


def _refuse_series(scene: Scene, parts: Sequence[tuple[Asset, Mapping[int, int]]]) -> None:
    times = sorted({asset.time for asset, _ in parts if asset.time is not None})
    if len(times) > 1:
        told = f"{times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}"
        hint = "say how they become one with source.composite=median, or choose one date"
        raise DataError(scene.id, f"holds {len(times)} acquisitions ({told}), and is read as one image", hint)
