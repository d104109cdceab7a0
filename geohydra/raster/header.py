"""What a raster file says of itself, and whether it can be used at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window as RasterWindow

from geohydra import storage
from geohydra.errors import DataError
from geohydra.raster.files import open_raster, reading
from geohydra.raster.warp import alpha_index, only_points, point_options
from geohydra.types import Grid, Shape


@dataclass(frozen=True, slots=True)
class Header:
    """What a raster file says of itself.

    `mask` tells where validity stands in the file: "none", "nodata", "alpha" or "internal" (also a `.msk` beside it).
    `indexes` are the bands that hold measurements, from 1: all but an alpha band. Scale and offset are only told:
    pixels are always given as the file holds them.
    """

    uri: str
    grid: Grid
    count: int
    dtypes: tuple[str, ...]
    nodata: float | None
    descriptions: tuple[str, ...]
    colors: tuple[str, ...]
    mask: str
    indexes: tuple[int, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    block: Shape
    tags: Mapping[str, str]
    by_points: bool = False
    by_model: bool = False

    @property
    def scaled(self) -> bool:
        """Whether the file asks readers to scale its numbers."""
        return set(self.scales) != {1.0} or set(self.offsets) != {0.0}


def probe(uri: str, *, allow_no_crs: bool = False) -> Header:
    """Read a file's header and look whether all its blocks can be there, without reading the pixels.

    Raises DataError for a file that is missing, no raster, truncated, without bands, of complex numbers, placed by a sensor model
    (RPC) only, or without a CRS unless `allow_no_crs`; then its grid has the CRS "". A file that ground control points place has
    the upright grid onto which GDAL would warp it, in the CRS of its points; `by_points` tells so, and `by_model` that only a sensor
    model places it.
    """
    with open_raster(uri) as dataset:
        _refuse_odd(uri, dataset)
        _refuse_unplaced(uri, dataset, allow_no_crs)
        _refuse_truncated(uri, dataset)
        return _header(uri, dataset)


def _header(uri: str, dataset: Any) -> Header:
    colors = tuple(color.name for color in dataset.colorinterp)
    return Header(
        uri=uri,
        grid=_grid(dataset),
        count=dataset.count,
        dtypes=tuple(dataset.dtypes),
        nodata=dataset.nodata,
        descriptions=tuple(text or "" for text in dataset.descriptions),
        colors=colors,
        mask=_mask_kind(dataset),
        indexes=tuple(index for index, color in enumerate(colors, start=1) if color != "alpha"),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        block=block_shape(dataset),
        tags=dict(dataset.tags()),
        by_points=only_points(dataset),
        by_model=_only_model(dataset),
    )


def _grid(dataset: Any) -> Grid:
    if only_points(dataset):
        return _grid_of_points(dataset)
    a, b, c, d, e, f = dataset.transform[:6]
    return Grid(_crs_text(dataset.crs), (a, b, c, d, e, f), Shape(dataset.height, dataset.width))


def _grid_of_points(dataset: Any) -> Grid:
    points, crs = dataset.gcps
    place, width, height = calculate_default_transform(crs, crs, dataset.width, dataset.height, gcps=points, **point_options(len(points)))
    a, b, c, d, e, f = place[:6]
    return Grid(_crs_text(crs), (a, b, c, d, e, f), Shape(height, width))


@lru_cache(maxsize=64)
def _crs_text(crs: CRS | None) -> str:
    """The short name of a CRS where that means the same to PROJ, else its whole definition; PROJ may search for it for 60 ms."""
    if not crs:
        return ""
    short = str(crs.to_string())
    return short if CRS.from_user_input(short) == crs else str(crs.to_wkt(version="WKT2_2019"))


def block_shape(dataset: Any) -> Shape:
    rows, cols = dataset.block_shapes[0]
    return Shape(min(rows, dataset.height), min(cols, dataset.width))


def _mask_kind(dataset: Any) -> str:
    flags: Sequence[MaskFlags] = dataset.mask_flag_enums[0]
    if alpha_index(dataset) is not None:
        return "alpha"
    if MaskFlags.per_dataset in flags:
        return "internal"
    return "nodata" if MaskFlags.nodata in flags else "none"


def _refuse_odd(uri: str, dataset: Any) -> None:
    if dataset.count == 0:
        parts = dataset.subdatasets
        hint = f"name one of them, such as {parts[0]}" if parts else "check the file"
        raise DataError(uri, f"holds {len(parts)} rasters and no bands of its own" if parts else "holds no bands", hint)
    odd = [name for name in dataset.dtypes if name.startswith("complex")]
    if odd:
        raise DataError(uri, f"holds complex numbers ({odd[0]})", "convert it to amplitude or intensity first")
    if all(color.name == "alpha" for color in dataset.colorinterp):
        raise DataError(uri, "holds nothing but an alpha band", "check the file")


def _refuse_unplaced(uri: str, dataset: Any, allow_no_crs: bool) -> None:
    if only_points(dataset):
        _refuse_points(uri, dataset)
        return
    if _only_model(dataset) and not allow_no_crs:
        raise refused_model(uri)
    if not dataset.crs and not allow_no_crs:
        hint = "write it into the file (rio edit-info --crs EPSG:CODE), or allow images without a place on the ground"
        raise DataError(uri, "has no coordinate reference system (CRS)", hint)
    if dataset.crs and dataset.transform == Affine.identity():
        raise DataError(uri, "has a CRS but no transform, its place is not known", "write the transform into the file (rio edit-info)")


def _refuse_points(uri: str, dataset: Any) -> None:
    points, crs = dataset.gcps
    if not crs:
        raise DataError(uri, f"has {len(points)} ground control points without a CRS", "write them again: gdal_translate -a_srs EPSG:CODE")
    if crs.is_geographic and max(point.x for point in points) - min(point.x for point in points) > 180:
        raise DataError(
            uri, "has ground control points on both sides of the date line", "warp it first, such as gdalwarp -tps -t_srs EPSG:3832"
        )
    try:
        _grid_of_points(dataset)
    except (RasterioError, CPLE_BaseError) as cause:
        fact = str(cause).splitlines()[0]
        raise DataError(
            uri, f"has ground control points that tell no place ({fact})", "three are needed that do not lie on a line"
        ) from cause


def _only_model(dataset: Any) -> bool:
    return not dataset.crs and not dataset.gcps[0] and dataset.rpcs is not None


def refused_model(uri: str) -> DataError:
    """What is said of a file that only a sensor model places."""
    problem = "is placed by a sensor model (RPC) only: where its pixels lie depends on the height of the ground"
    return DataError(uri, problem, "warp it with a height model first: gdalwarp -rpc -to RPC_DEM=dem.tif")


_BLOCKS_LOOKED_AT = 4096


def _refuse_truncated(uri: str, dataset: Any) -> None:
    """A TIFF tells where each block ends; of other formats the last pixel is read."""
    if dataset.driver != "GTiff" or not storage.is_local(uri):
        with reading(uri):
            dataset.read(1, window=RasterWindow(dataset.width - 1, dataset.height - 1, 1, 1))
        return
    size = storage.local_path(uri).stat().st_size
    end = max((_block_end(dataset, *block) for block in _blocks(dataset)), default=0)
    if end > size:
        raise DataError(uri, f"is truncated: it has {size:,} bytes of at least {end:,}", "fetch or write the file again")


def _blocks(dataset: Any) -> Iterator[tuple[int, int, int]]:
    """Band, row and column of blocks: the last, and others at equal distances where there are very many."""
    rows, cols = dataset.block_shapes[0]
    across, down = -(-dataset.width // cols), -(-dataset.height // rows)
    bands = dataset.count if dataset.interleaving and dataset.interleaving.value == "BAND" else 1
    total = across * down * bands
    for place in {*range(0, total, max(1, total // _BLOCKS_LOOKED_AT)), total - 1}:
        band, inside = divmod(place, across * down)
        yield band + 1, *divmod(inside, across)


def _block_end(dataset: Any, band: int, row: int, col: int) -> int:
    offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
    size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
    return int(offset) + int(size) if offset and size else 0
