"""Where an acquisition is no measurement, as a band or a file beside it tells: clouds, their shadows, snow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from geohydra.build import near
from geohydra.errors import ConfigError, DataError
from geohydra.types import Asset, MaskAsset, Scene

Bit = Annotated[int, Field(ge=0, lt=64)]

SCENE_CLASSES: Mapping[str, int] = MappingProxyType(
    {
        "no_data": 0,
        "saturated": 1,
        "dark": 2,
        "cloud_shadow": 3,
        "vegetation": 4,
        "bare": 5,
        "water": 6,
        "unclassified": 7,
        "cloud_medium": 8,
        "cloud_high": 9,
        "cirrus": 10,
        "snow": 11,
    }
)
"""Values of the scene classification (SCL) of Sentinel-2 level 2A."""

QUALITY_BITS: Mapping[str, int] = MappingProxyType(
    {"fill": 0, "dilated_cloud": 1, "cirrus": 2, "cloud": 3, "cloud_shadow": 4, "snow": 5, "clear": 6, "water": 7}
)
"""Bits of QA_PIXEL of Landsat collection 2."""


class CloudMask:
    """Pixels that are no measurement. Told by a band of the images, which then is no longer one of their bands, or by a file.

    `band`: the name of the band; `file`: a raster on any grid of the same CRS, with one band for all acquisitions or one for each,
    in the order of time. `classes`: names of Sentinel-2's scene classification (SCL); `values`: numbers; `bits`: bits that are
    set, by number or by their names in Landsat's QA_PIXEL. A pixel with any of these does not count, nor one within
    `dilate` metres of it (pixels, where there is no CRS): such masks are written by ingest.
    """

    def __init__(
        self,
        *,
        band: str | None = None,
        file: str | None = None,
        classes: list[str] | None = None,
        values: list[int] | None = None,
        bits: list[Bit | str] | None = None,
        dilate: Annotated[float, Field(ge=0, le=10_000)] = 0.0,
    ) -> None:
        if (band is None) == (file is None):
            raise ConfigError("band", "either the band or the file that tells clouds is needed", "such as clouds.band=scl")
        named = [_known(name, SCENE_CLASSES, "classes") for name in classes or ()]
        self.values = tuple(sorted({*named, *(values or ())}))
        self.bits = tuple(sorted({bit if isinstance(bit, int) else _known(bit, QUALITY_BITS, "bits") for bit in bits or ()}))
        if not self.values and not self.bits:
            raise ConfigError("classes", "nothing says which pixels are masked", "give classes=[cloud_high], values=[1] or bits=[cloud]")
        self.band = band
        self.file = file
        self.dilate = float(dilate)

    def masked(self, scene: Scene) -> Scene:
        """The scene with its masks; the band that tells them is no longer one of its bands."""
        masks = self._from_file(scene) if self.file is not None else self._from_band(scene)
        assets = tuple(left for asset in scene.assets if (left := _without(asset, self.band)) is not None)
        if not assets:
            raise DataError(scene.id, f"has no band beside {self.band!r}", "name the bands of its images too")
        return replace(scene, assets=assets, masks=(*scene.masks, *masks))

    def written(self, scene: Scene, folder: Path) -> Scene:
        """The scene with dilated masks, where that is asked for, below a folder."""
        if not self.dilate:
            return scene
        from geohydra.raster.dilation import write_dilated

        radius = max(1, round(self.dilate / min(scene.grid.resolution)))
        masks = [
            write_dilated(mask, scene.grid, radius=radius, path=folder / "masks" / f"{scene.id}-{number}.tif")
            for number, mask in enumerate(scene.masks)
        ]
        return replace(scene, masks=tuple(masks))

    def _from_band(self, scene: Scene) -> list[MaskAsset]:
        found = [asset for asset in scene.assets if self.band in asset.bands]
        if not found:
            raise DataError(scene.id, f"has no band {self.band!r}, which tells its clouds", near(str(self.band), scene.bands))
        return [self._mask(asset.uri, asset.indexes[asset.bands.index(str(self.band))], asset.time) for asset in found]

    def _from_file(self, scene: Scene) -> list[MaskAsset]:
        from geohydra import storage
        from geohydra.raster.header import probe

        uri = storage.absolute(str(self.file))
        header = probe(uri, allow_no_crs=True)
        times = scene.times
        if header.count == len(times) > 1:  # also where a file of four dates calls the last one alpha
            return [self._mask(uri, index, time) for index, time in enumerate(times, start=1)]
        if len(header.indexes) == 1:
            return [self._mask(uri, header.indexes[0], None)]
        problem = f"has {header.count} bands, and {scene.id} {len(times)} acquisitions"
        raise DataError(uri, problem, "a mask has one band for all, or one for each in the order of time")

    def _mask(self, uri: str, index: int, time: Any) -> MaskAsset:
        return MaskAsset(uri, index, values=self.values, bits=self.bits, time=time)


def flagged(numbers: NDArray[Any], mask: MaskAsset) -> NDArray[np.bool_]:
    """Which pixels of a mask's band say that there is no measurement."""
    found = np.isin(numbers, mask.values) if mask.values else np.zeros(numbers.shape, np.bool_)
    if mask.bits:
        found |= (numbers.astype(np.int64) & sum(1 << bit for bit in mask.bits)) != 0
    return found


def _known(name: str, names: Mapping[str, int], where: Literal["classes", "bits"]) -> int:
    if name not in names:
        raise ConfigError(where, f"{name!r} is none", near(name, names))
    return names[name]


def _without(asset: Asset, band: str | None) -> Asset | None:
    """The asset less one band; None where nothing is left."""
    kept = [place for place, name in enumerate(asset.bands) if name != band]
    if len(kept) == len(asset.bands):
        return asset
    if not kept:
        return None
    scale, offset = (tuple(numbers[place] for place in kept) if numbers else () for numbers in (asset.scale, asset.offset))
    bands, indexes = tuple(asset.bands[place] for place in kept), tuple(asset.indexes[place] for place in kept)
    return replace(asset, bands=bands, indexes=indexes, scale=scale, offset=offset)
