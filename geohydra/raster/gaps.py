"""Whether there are pixels of a scene that were not measured: told by headers, so that whole images need not be read for it."""

from __future__ import annotations

from rasterio.enums import MaskFlags

from geohydra.errors import DataError
from geohydra.raster.files import open_raster
from geohydra.raster.read import pixel_offset
from geohydra.raster.series import ImageReader, open_image
from geohydra.types import Asset, Grid, Scene, Shape


def image_with_gaps(scene: Scene) -> ImageReader | None:
    """A reader of the image of a scene that may have pixels without a measurement; None where there can be none, or where the image is
    gone: what is only asked for beside the labels must not ask for it."""
    try:
        whole = not scene.masks and not scene.times and all(_whole(asset, scene.grid) for asset in scene.assets)
    except DataError:
        return None
    return None if whole else open_image(scene)


def _whole(asset: Asset, grid: Grid) -> bool:
    """Whether a file covers its scene, pixel on pixel, and no value of it means that nothing was measured."""
    if asset.nodata is not None or asset.dtype.startswith(("float", "complex")):
        return False
    with open_raster(asset.uri) as file:
        plain = all(flags == [MaskFlags.all_valid] for flags in file.mask_flag_enums)
        return plain and pixel_offset(file, grid) == (0, 0) and Shape(file.height, file.width) == grid.shape
