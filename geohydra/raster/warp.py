"""Files that do not lie on the grid of their scene: where they lie, and their pixels warped onto it."""

from __future__ import annotations

import re
import uuid
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling as Method
from rasterio.errors import CRSError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as project

from geohydra.errors import DataError
from geohydra.raster.files import gdal_env
from geohydra.types import Grid, Resampling, Shape, Window

_PIXEL_TOLERANCE = 0.01
_SPLINE = (6, 2000)
_TURN = 360.0


def pixel_offset(dataset: Any, grid: Grid) -> tuple[int, int] | None:
    """Row and column of the scene's grid where the file's upper left pixel lies; None where its pixels lie otherwise."""
    if only_points(dataset) or not _same_crs(dataset, grid):
        return None
    shape = Shape(dataset.height, dataset.width)
    if not grid.crs:
        return (0, 0) if shape == grid.shape else None
    corners = Grid("", _turned(dataset, grid)[:6], shape).corners
    ends = np.array([pixel_at(grid, *corner) for corner in corners])
    row, col = (round(value) for value in ends[0])
    bottom, right = row + dataset.height, col + dataset.width
    wanted = np.array([(row, col), (row, right), (bottom, right), (bottom, col)])
    return (row, col) if np.allclose(ends, wanted, rtol=0, atol=_PIXEL_TOLERANCE) else None


def only_points(dataset: Any) -> bool:
    """Whether nothing but ground control points tells where a file lies."""
    return not dataset.crs and bool(dataset.gcps[0])


def placed(dataset: Any, grid: Grid) -> bool:
    """Whether a file can be warped onto a grid: both have a place on the ground, and a file without a CRS has that of the grid."""
    return bool(grid.crs) and bool(dataset.crs or dataset.gcps[0] or dataset.transform != Affine.identity())


def point_options(count: int) -> dict[str, str]:
    """How ground control points become a place for each pixel: a thin plate spline through them, a plane where they are few."""
    least, most = _SPLINE
    return {"METHOD": "GCP_TPS"} if least <= count <= most else {"METHOD": "GCP_POLYNOMIAL"}


def covered(dataset: Any, grid: Grid) -> Window | None:
    """The part of a scene's grid in which a file may have pixels, a little more rather than less; None where it has none."""
    xs, ys = _ground(dataset)
    there = project(dataset.crs or dataset.gcps[1] or grid.crs, grid.crs, xs, ys)
    x, y = (np.asarray(values, float) for values in there)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return Window(0, 0, grid.shape)
    if CRS.from_user_input(grid.crs).is_geographic:
        x = x + _TURN * np.round(((grid.bounds[0] + grid.bounds[2]) / 2 - x) / _TURN)
    rows, cols = pixel_at(grid, x, y)
    top, bottom = _widened(rows)
    left, right = _widened(cols)
    return Window(top, left, Shape(bottom - top, right - left)).clip(grid.shape)


def warped(uri: str, dataset: Any, grid: Grid, *, resampling: Resampling, nodata: float | None, alpha: bool) -> Any:
    """An open dataset with the file's bands on another grid.

    `nodata` is kept out of what is mixed; it stands in the result where `alpha` is not wanted. With `alpha` the result has a band
    of that colour that tells which pixels the file covers. A file without a CRS has that of the grid.
    """
    options: dict[str, Any] = {"crs": grid.crs, "resampling": Method[resampling], "src_nodata": nodata}
    options |= {"nodata": None if alpha else nodata, "UNIFIED_SRC_NODATA": "YES" if alpha else "NO"}
    options |= {"add_alpha": True} if alpha and alpha_index(dataset) is None else {}
    with gdal_env(uri):
        if only_points(dataset) or _beyond_date_line(dataset):
            return _moved(dataset, grid, options)
        place = {"transform": Affine(*grid.transform), "width": grid.shape.cols, "height": grid.shape.rows}
        return WarpedVRT(dataset, src_crs=dataset.crs or grid.crs, src_transform=_turned(dataset, grid), **place, **options)


def alpha_index(dataset: Any) -> int | None:
    """The band that a file calls alpha, from 1."""
    return next((index for index, color in enumerate(dataset.colorinterp, start=1) if color.name == "alpha"), None)


def without_alpha(dataset: Any) -> Any:
    """The same file, of whose bands none is called alpha: GDAL would weigh the others by it."""
    name = f"/vsimem/geohydra-{uuid.uuid4().hex}.vrt"
    rasterio.shutil.copy(dataset, name, driver="VRT")
    try:
        with rasterio.open(name) as copy:
            [text] = copy.tags(ns="xml:VRT").values()
    finally:
        rasterio.shutil.delete(name, driver="VRT")
    return rasterio.open(text.replace("<ColorInterp>Alpha</ColorInterp>", "<ColorInterp>Undefined</ColorInterp>"))


def pixel_at(grid: Grid, x: Any, y: Any) -> tuple[Any, Any]:
    """Row and column of places on the ground."""
    a, b, c, d, e, f = grid.transform
    scale = a * e - b * d
    return (a * (y - f) - d * (x - c)) / scale, (e * (x - c) - b * (y - f)) / scale


def same_crs(one: str, other: str) -> bool:
    """Whether two texts name the same CRS. Raises DataError where one is none."""
    return one == other or known_crs(one) == known_crs(other)


def known_crs(text: str) -> CRS:
    """What a text names. Raises DataError where PROJ knows nothing of it."""
    try:
        return CRS.from_user_input(text)
    except CRSError as cause:
        raise DataError(text, "is no CRS that PROJ knows", "write it as EPSG:CODE") from cause


def _same_crs(dataset: Any, grid: Grid) -> bool:
    """A file without a CRS has that of its scene: ingest refuses such files unless the user states one."""
    if not grid.crs or not dataset.crs:
        return True
    return bool(known_crs(grid.crs) == dataset.crs)


def _own(dataset: Any) -> Grid:
    """Where a file's transform places it, in whatever CRS."""
    return Grid("", dataset.transform[:6], Shape(dataset.height, dataset.width))


def _turned(dataset: Any, grid: Grid) -> Affine:
    """The file's transform, in longitude and latitude turned round the earth until it lies beside the grid."""
    place: Affine = dataset.transform
    if not (grid.crs and dataset.crs and dataset.crs.is_geographic and _same_crs(dataset, grid)):
        return place
    left, _, right, _ = _own(dataset).bounds
    turns = round((grid.bounds[0] + grid.bounds[2] - left - right) / 2 / _TURN)
    a, b, c, d, e, f = place[:6]
    return Affine(a, b, c + turns * _TURN, d, e, f)


def _beyond_date_line(dataset: Any) -> bool:
    """Whether longitudes of a file leave -180 to 180: GDAL must be told, or it drops what lies beyond."""
    left, _, right, _ = _own(dataset).bounds
    return bool(dataset.crs and dataset.crs.is_geographic and (left < -180 or right > 180))


def _ground(dataset: Any) -> tuple[list[float], list[float]]:
    """Places all over a file, in its own CRS."""
    if only_points(dataset):
        points = dataset.gcps[0]
        return [point.x for point in points], [point.y for point in points]
    steps = np.linspace(0, 1, 21)
    rows, cols = (axis.ravel() for axis in np.meshgrid(steps * dataset.height, steps * dataset.width))
    a, b, c, d, e, f = dataset.transform[:6]
    return (a * cols + b * rows + c).tolist(), (d * cols + e * rows + f).tolist()


def _widened(places: NDArray[np.float64]) -> tuple[int, int]:
    least, most = float(places.min()), float(places.max())
    room = 2 + 0.1 * (most - least)
    return int(np.floor(least - room)), int(np.ceil(most + room))


def _moved(dataset: Any, grid: Grid, options: dict[str, Any]) -> Any:
    """Warped by GDAL's own rule for such files, which asks for no grid; its description is then moved onto ours."""
    points = point_options(len(dataset.gcps[0])) if only_points(dataset) else {}
    with WarpedVRT(dataset, **options, **points) as own:
        [text] = own.tags(ns="xml:VRT").values()
    place = Affine(*grid.transform)
    there, back = (",".join(f"{number:.17g}" for number in affine.to_gdal()) for affine in (place, ~place))
    size = f'rasterXSize="{grid.shape.cols}" rasterYSize="{grid.shape.rows}"'
    text = re.sub(r'rasterXSize="\d+" rasterYSize="\d+"', size, text, count=1)
    for tag, numbers in (("GeoTransform", there), ("DstGeoTransform", there), ("DstInvGeoTransform", back)):
        text = re.sub(f"<{tag}>[^<]*</{tag}>", f"<{tag}>{numbers}</{tag}>", text)
    return rasterio.open(re.sub(r"<Block([XY])Size>\d+</", r"<Block\1Size>256</", text))
