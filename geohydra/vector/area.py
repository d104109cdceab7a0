"""Square metres of pixels, also where the CRS counts in degrees or stretches the ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer

from geohydra.types import Grid

_STRETCH = 0.01
"""A projected CRS whose areas are right to this share counts as it is."""


def row_areas(grid: Grid) -> NDArray[np.float64]:
    """Square metres of one pixel in each row of a grid.

    In the plane of a projected CRS; where the CRS is geographic, or stretches areas by more than 1 % as Web Mercator does,
    on the ellipsoid, half way between the left and right edge. Without a CRS a pixel counts as one.
    """
    a, b, _, d, e, _ = grid.transform
    if not grid.crs:
        return np.ones(grid.shape.rows)
    crs = CRS.from_user_input(grid.crs)
    if crs.is_projected and abs(_stretch(crs, grid) - 1) <= _STRETCH:
        metres = float(crs.axis_info[0].unit_conversion_factor)
        return np.full(grid.shape.rows, abs(a * e - b * d) * metres**2)
    return _on_ellipsoid(crs, grid)


def pixel_area(grid: Grid) -> float:
    """Square metres of a pixel, on average over the rows."""
    return float(row_areas(grid).mean())


def _stretch(crs: CRS, grid: Grid) -> float:
    """How many times larger an area in the middle of the grid is in the plane than on the ellipsoid."""
    left, bottom, right, top = grid.bounds
    lonlat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform((left + right) / 2, (bottom + top) / 2)
    factors = Proj(crs).get_factors(*lonlat)
    return float(factors.areal_scale)


def _on_ellipsoid(crs: CRS, grid: Grid) -> NDArray[np.float64]:
    """By an equal-area projection of the corners of the middle column."""
    onto = Transformer.from_crs(crs, _equal_area(crs), always_xy=True)
    a, b, c, d, e, f = grid.transform
    row = np.arange(grid.shape.rows + 1)
    col = grid.shape.cols // 2
    left = np.array(onto.transform(a * col + b * row + c, d * col + e * row + f))
    right = np.array(onto.transform(a * (col + 1) + b * row + c, d * (col + 1) + e * row + f))
    falling, rising = right[:, 1:] - left[:, :-1], left[:, 1:] - right[:, :-1]
    return np.asarray(np.abs(falling[0] * rising[1] - falling[1] * rising[0]) / 2)


def _equal_area(crs: CRS) -> CRS:
    """The cylindrical equal-area projection of the same ellipsoid."""
    ellipsoid = crs.ellipsoid
    if ellipsoid is None:
        return CRS.from_user_input("+proj=cea +ellps=WGS84")
    return CRS.from_user_input(f"+proj=cea +a={ellipsoid.semi_major_metre!r} +b={ellipsoid.semi_minor_metre!r}")
