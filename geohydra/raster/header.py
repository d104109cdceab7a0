"""What a raster file says of itself, and whether it can be used at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.windows import Window as RasterWindow

from geohydra import storage
from geohydra.errors import DataError
from geohydra.raster.files import open_raster, reading
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

    @property
    def scaled(self) -> bool:
        """Whether the file asks readers to scale its numbers."""
        return set(self.scales) != {1.0} or set(self.offsets) != {0.0}


def probe(uri: str, *, allow_no_crs: bool = False) -> Header:
    """Read a file's header and look whether all its blocks can be there, without reading the pixels.

    Raises DataError for a file that is missing, no raster, truncated, without bands, of complex numbers, placed by ground
    control points only, or without a CRS unless `allow_no_crs`; then its grid has the CRS "" .
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
        mask=_mask_kind(dataset.mask_flag_enums[0]),
        indexes=tuple(index for index, color in enumerate(colors, start=1) if color != "alpha"),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        block=block_shape(dataset),
        tags=dict(dataset.tags()),
    )


def _grid(dataset: Any) -> Grid:
    a, b, c, d, e, f = dataset.transform[:6]
    return Grid(_crs_text(dataset.crs), (a, b, c, d, e, f), Shape(dataset.height, dataset.width))


def _crs_text(crs: CRS | None) -> str:
    """The short name of a CRS where that means the same to PROJ, else its whole definition."""
    if not crs:
        return ""
    short = str(crs.to_string())
    return short if CRS.from_user_input(short) == crs else str(crs.to_wkt(version="WKT2_2019"))


def block_shape(dataset: Any) -> Shape:
    rows, cols = dataset.block_shapes[0]
    return Shape(min(rows, dataset.height), min(cols, dataset.width))


def _mask_kind(flags: Sequence[MaskFlags]) -> str:
    if MaskFlags.alpha in flags:
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
    if not dataset.crs and dataset.gcps[0]:
        target = uri.rsplit("/", 1)[-1]
        raise DataError(
            uri,
            "is placed by ground control points only, its pixels lie on no grid",
            f"warp it first: gdalwarp -r bilinear {target} warped.tif",
        )
    if not dataset.crs and not allow_no_crs:
        hint = "write it into the file (rio edit-info --crs EPSG:CODE), or allow images without a place on the ground"
        raise DataError(uri, "has no coordinate reference system (CRS)", hint)
    if dataset.crs and dataset.transform == Affine.identity():
        raise DataError(uri, "has a CRS but no transform, its place is not known", "write the transform into the file (rio edit-info)")


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
