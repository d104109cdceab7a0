"""Long edges brought into another CRS: what is straight in one is bent in the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

Floats = NDArray[np.float64]

_LONG = 300.0
"""Metres: shorter edges bend by less than a hundredth of one."""

_BEND = 0.1
"""Metres by which an edge may leave its true course."""

_DEGREE = 111_320.0
_PIECES = 500


def bent(shapes: NDArray[Any], crs: CRS, to: CRS) -> NDArray[Any]:
    """Shapes with points added on edges that would leave their course by more than a tenth of a metre once their points are projected."""
    points, owners = shapely.get_coordinates(shapes, return_index=True)
    if crs == to or len(points) < 2:
        return shapes
    edge = points[1:] - points[:-1]
    lengths = np.hypot(edge[:, 0], edge[:, 1])
    long = np.flatnonzero((owners[1:] == owners[:-1]) & (lengths > _LONG / _metres(crs)))
    if not long.size:
        return shapes
    pieces = _pieces(points[long], points[long + 1], crs, to)
    steps = np.full(len(shapes), np.inf)
    np.minimum.at(steps, owners[long], np.where(pieces > 1, lengths[long] / pieces, np.inf))
    chosen = np.flatnonzero(np.isfinite(steps))
    out = shapes.copy()
    out[chosen] = shapely.segmentize(shapes[chosen], steps[chosen])
    return out


def _pieces(starts: Floats, stops: Floats, crs: CRS, to: CRS) -> Floats:
    """Into how many pieces each edge has to be cut: a piece of half the length bends a quarter as much."""
    transform = Transformer.from_crs(crs, to, always_xy=True).transform
    first, last, middle = (np.column_stack(transform(at[:, 0], at[:, 1])) for at in (starts, stops, (starts + stops) / 2))
    with np.errstate(invalid="ignore"):
        away = np.hypot(*(middle - (first + last) / 2).T) * _metres(to)
    away[~np.isfinite(away)] = 0
    return np.asarray(np.minimum(np.ceil(np.sqrt(away / _BEND)), _PIECES), dtype=np.float64)


def _metres(crs: CRS) -> float:
    """Metres in a unit of the CRS, about."""
    return _DEGREE if crs.is_geographic else float(crs.axis_info[0].unit_conversion_factor or 1.0)
