"""Arrays of NumPy (`.npy`) as rasters: a small file that tells GDAL where the numbers stand; nothing is copied."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.lib import format as npy

from geohydra import storage
from geohydra.errors import DataError
from geohydra.types import Grid

_TYPES = {"u1": "Byte", "i1": "Int8", "u2": "UInt16", "i2": "Int16", "u4": "UInt32", "i4": "Int32", "f4": "Float32", "f8": "Float64"}


def array_shape(path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Shape and dtype of an array on disk, and the byte at which its numbers begin. Raises DataError; objects are never loaded."""
    try:
        with path.open("rb") as stream:
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_column, dtype = read(stream)
            begin = stream.tell()
    except (OSError, ValueError) as cause:
        raise DataError(str(path), f"is no array of NumPy ({str(cause).splitlines()[0]})", "check that the file is whole") from cause
    if by_column or dtype.str[1:] not in _TYPES or len(shape) < 2:
        raise DataError(
            str(path), f"holds {dtype} of shape {shape} that cannot be read as bands", "save it as numbers (..., row, col) in C order"
        )
    if path.stat().st_size < begin + int(np.prod(shape)) * dtype.itemsize:
        raise DataError(str(path), "is cut: it is shorter than its header tells", "copy it again")
    return shape, dtype, begin


def write_description(path: Path, array: Path, grid: Grid, *, bands: int | None = None, nodata: float | None = None) -> Path:
    """Write a VRT whose bands are the leading axes of an array, the last one fastest; `bands` takes the first so many only."""
    shape, dtype, begin = array_shape(array)
    rows, cols = shape[-2:]
    if (rows, cols) != (grid.shape.rows, grid.shape.cols):
        problem = f"has {rows} x {cols} pixels, where {grid.shape.rows} x {grid.shape.cols} are expected"
        raise DataError(str(array), problem, "check which files go together")
    count = int(np.prod(shape[:-2])) if bands is None else bands
    order = "MSB" if dtype.str[0] == ">" else "LSB"
    size = dtype.itemsize
    told = "" if nodata is None else f"<NoDataValue>{nodata:g}</NoDataValue>"
    lines = "".join(
        f'<VRTRasterBand dataType="{_TYPES[dtype.str[1:]]}" band="{band + 1}" subClass="VRTRawRasterBand">{told}'
        f'<SourceFilename relativeToVRT="0">{escape(str(array))}</SourceFilename>'
        f"<ImageOffset>{begin + band * rows * cols * size}</ImageOffset>"
        f"<PixelOffset>{size}</PixelOffset><LineOffset>{cols * size}</LineOffset><ByteOrder>{order}</ByteOrder></VRTRasterBand>"
        for band in range(count)
    )
    a, b, c, d, e, f = grid.transform
    place = f"<SRS>{escape(grid.crs)}</SRS><GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>" if grid.crs else ""
    text = f'<VRTDataset rasterXSize="{cols}" rasterYSize="{rows}">{place}{lines}</VRTDataset>'
    storage.write_bytes(str(path), text.encode())
    return path
