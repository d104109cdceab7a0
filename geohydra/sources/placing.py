"""Where frames lie on the ground, told by a file beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any
from xml.sax.saxutils import escape

from geohydra import storage
from geohydra.errors import DataError
from geohydra.types import Asset, Grid, Scene, Shape

_CLOSE = 1e-6
"""Of a pixel: what lies nearer to an edge lies on it."""

Transform = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Placement:
    """The CRS, and the transforms of frames by number."""

    uri: str
    crs: str
    transforms: Mapping[int, Transform]

    def of(self, number: int) -> Placement:
        """That of one frame."""
        if number not in self.transforms:
            raise DataError(self.uri, f"tells no place of frame {number}", "add it, or leave source.placement out")
        return replace(self, transforms={number: self.transforms[number]})

    def grid(self, shape: Shape) -> Grid:
        """The grid of the only frame."""
        (transform,) = self.transforms.values()
        return Grid(self.crs, transform, shape)


@cache
def read_placement(uri: str) -> Placement:
    """Read `{crs, frames: [{frame, transform: [a, b, c, d, e, f]}]}`. Raises DataError."""
    try:
        told = json.loads(storage.read_bytes(uri))
        frames = {int(one["frame"]): _transform(one["transform"]) for one in told["frames"]}
        return Placement(uri, str(told["crs"]), frames)
    except (OSError, ValueError, KeyError, TypeError) as cause:
        hint = "it holds {crs, frames: [{frame, transform: [a, b, c, d, e, f]}]}"
        raise DataError(uri, f"tells no places of frames ({cause!r})", hint) from cause


def placed(scene: Scene, placement: Placement, folder: Path) -> Scene:
    """The scene with its frame on the ground, by a small file (VRT) that points to the image."""
    asset = scene.assets[0]
    if not storage.is_local(asset.uri):
        raise DataError(asset.uri, "lies on a server, and source.placement needs frames on a disk", "copy the frames here")
    grid = placement.grid(scene.grid.shape)
    path = folder / "frames" / f"{scene.id}.vrt"
    storage.write_bytes(str(path), _vrt(asset, grid).encode())
    moved = replace(asset, uri=str(path), indexes=tuple(range(1, len(asset.bands) + 1)))
    return replace(scene, grid=grid, assets=(moved,))


def around(grids: Sequence[Grid]) -> Grid:
    """A grid of rows along parallels that holds all of these, at their median resolution; pixel edges are those of the first one where it
    has this resolution."""
    high, wide = (float(median(grid.resolution[axis] for grid in grids)) for axis in (0, 1))
    lefts, bottoms, rights, tops = zip(*(grid.bounds for grid in grids), strict=True)
    first = grids[0].bounds
    left = first[0] - ceil((first[0] - min(lefts)) / wide - _CLOSE) * wide
    top = first[3] + ceil((max(tops) - first[3]) / high - _CLOSE) * high
    shape = Shape(ceil((top - min(bottoms)) / high - _CLOSE), ceil((max(rights) - left) / wide - _CLOSE))
    return Grid(grids[0].crs, (wide, 0.0, left, 0.0, -high, top), shape)


def _transform(numbers: Any) -> Transform:
    a, b, c, d, e, f = (float(number) for number in numbers)
    return a, b, c, d, e, f


def _vrt(asset: Asset, grid: Grid) -> str:
    from pyproj import CRS

    a, b, c, d, e, f = grid.transform
    types = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32", "float32": "Float32"}
    nodata = "" if asset.nodata is None else f"<NoDataValue>{asset.nodata:g}</NoDataValue>"
    path = escape(str(storage.local_path(asset.uri)))
    source = f'<SourceFilename relativeToVRT="0">{path}</SourceFilename>'
    bands = "".join(
        f'<VRTRasterBand dataType="{types.get(asset.dtype, "Float64")}" band="{place}"><Description>{escape(name)}</Description>{nodata}'
        f"<SimpleSource>{source}<SourceBand>{index}</SourceBand></SimpleSource></VRTRasterBand>"
        for place, (name, index) in enumerate(zip(asset.bands, asset.indexes, strict=True), start=1)
    )
    head = f'<VRTDataset rasterXSize="{grid.shape.cols}" rasterYSize="{grid.shape.rows}">'
    numbers = ", ".join(repr(number) for number in (c, a, b, f, d, e))
    return f"{head}<SRS>{escape(CRS.from_user_input(grid.crs).to_wkt())}</SRS><GeoTransform>{numbers}</GeoTransform>{bands}</VRTDataset>\n"
