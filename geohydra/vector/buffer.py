"""Points and lines made areas, by a radius in metres on the ground, wherever they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer

Floats = NDArray[np.float64]

_PIECES = 16
"""Straight pieces of a quarter of a circle."""

_POLAR = 84.0
"""Degrees of latitude, and as many south, from which UTM ends and polar stereographic begins."""


def buffered(shapes: NDArray[Any], radii: Floats, crs: CRS) -> NDArray[Any]:
    """Shapes widened by a radius each, in metres, measured in the UTM zone (or polar map) of their middle.

    Radii of not-a-number leave a shape as it is. Edges of lines are taken as they run in `crs`.
    """
    out = shapes.copy()
    chosen = np.flatnonzero(~np.isnan(radii) & ~shapely.is_missing(shapes) & ~shapely.is_empty(shapes))
    if not chosen.size:
        return out
    middles = shapely.get_coordinates(shapely.envelope(shapely.centroid(shapes[chosen])))
    lon, lat = Transformer.from_crs(crs, CRS("EPSG:4326"), always_xy=True).transform(middles[:, 0], middles[:, 1])
    zones = metric_crs(np.asarray(lon), np.asarray(lat))
    for zone in np.unique(zones):
        own = chosen[zones == zone]
        out[own] = _in_zone(shapes[own], radii[own], crs, CRS.from_epsg(int(zone)))
    return out


def metric_crs(lon: Floats, lat: Floats) -> NDArray[np.int64]:
    """EPSG codes of the UTM zones of places, beyond 84 degrees of the polar stereographic maps."""
    number = np.clip(np.floor((np.nan_to_num(lon) + 180) % 360 / 6), 0, 59).astype(np.int64) + 1
    utm = np.where(lat >= 0, 32600, 32700) + number
    return np.where(lat > _POLAR, 32661, np.where(lat < -_POLAR, 32761, utm))


def _in_zone(shapes: NDArray[Any], radii: Floats, crs: CRS, zone: CRS) -> NDArray[Any]:
    there = Transformer.from_crs(crs, zone, always_xy=True)
    back = Transformer.from_crs(zone, crs, always_xy=True)
    scale = _scale(shapes, there, zone)
    wide = shapely.buffer(_moved(shapes, there), radii * scale, quad_segs=_PIECES)
    return _moved(wide, back)


def _scale(shapes: NDArray[Any], there: Transformer, zone: CRS) -> Floats:
    """Metres of the map in a metre on the ground: UTM shrinks by 0.04 % in the middle of a zone."""
    middles = shapely.get_coordinates(shapely.centroid(shapes))
    x, y = there.transform(middles[:, 0], middles[:, 1])
    lon, lat = Transformer.from_crs(zone, zone.geodetic_crs, always_xy=True).transform(x, y)
    factors = Proj(zone).get_factors(np.asarray(lon), np.asarray(lat))
    return np.asarray(np.sqrt(np.abs(factors.areal_scale)), dtype=np.float64)


def _moved(shapes: NDArray[Any], transformer: Transformer) -> NDArray[Any]:
    return np.asarray(shapely.transform(shapes, lambda points: np.column_stack(transformer.transform(points[:, 0], points[:, 1]))))
