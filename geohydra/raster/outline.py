"""The footprint of a grid in longitude and latitude, also where it crosses the date line or holds a pole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from geohydra.types import Grid

_EDGE = 8
"""Pieces into which each side of a footprint is cut: straight lines bend when they are projected."""

_DIGITS = 9

Point = tuple[float, float]


def footprint(grid: Grid) -> dict[str, Any] | None:
    """A GeoJSON geometry; None where the place is not known. What crosses the date line is cut there, as GeoJSON asks (RFC 7946)."""
    ring = _ring(grid) if grid.crs else None
    if ring is None:
        return None
    whole = _around_pole(_unwrapped(ring))
    parts = [part for part in (_cut(whole, turn) for turn in (-360.0, 0.0, 360.0)) if part]
    rings = [[_closed(part)] for part in parts]
    return {"type": "Polygon", "coordinates": rings[0]} if len(rings) == 1 else {"type": "MultiPolygon", "coordinates": rings}


def bbox(geometry: dict[str, Any]) -> list[float]:
    """West, south, east, north of a footprint; west is larger than east where it crosses the date line."""
    rings = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    parts = [[point for ring in polygon for point in ring] for polygon in rings]
    ys = [y for part in parts for _, y in part]
    spans = sorted((min(x for x, _ in part), max(x for x, _ in part)) for part in parts)
    if len(spans) > 1:
        return [spans[-1][0], min(ys), spans[0][1], max(ys)]
    return [spans[0][0], min(ys), spans[0][1], max(ys)]


def _ring(grid: Grid) -> list[Point] | None:
    corners = grid.corners
    line = [_between(corners[side], corners[(side + 1) % 4], step / _EDGE) for side in range(4) for step in range(_EDGE)]
    xs, ys = _to_lonlat(grid.crs).transform(*zip(*line, strict=True))
    points = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
    return points if all(math.isfinite(value) for point in points for value in point) else None


def _between(start: Point, stop: Point, share: float) -> Point:
    return start[0] + (stop[0] - start[0]) * share, start[1] + (stop[1] - start[1]) * share


def _unwrapped(ring: Sequence[Point]) -> list[Point]:
    """Longitudes from one within -180 to 180, without a jump by more than half the earth; the first point comes once more at the end."""
    first = (ring[0][0] + 180) % 360 - 180
    turned = [(first, ring[0][1])]
    for x, y in [*ring[1:], ring[0]]:
        turned.append((x + 360 * round((turned[-1][0] - x) / 360), y))
    return turned


def _around_pole(ring: list[Point]) -> list[Point]:
    """A ring that goes round the earth holds a pole: it is closed along that."""
    (start, _), (stop, _) = ring[0], ring[-1]
    if abs(stop - start) < 180:
        return ring[:-1]
    pole = math.copysign(90, sum(y for _, y in ring))
    rest = [(x + (stop - start) * turn, y) for turn in (-1, 1) for x, y in ring[:-1]]
    line = sorted({*ring, *rest})
    inside = [point for point in line if -180 < point[0] < 180]
    left, right = _at(line, -180), _at(line, 180)
    return [(-180, left), *inside, (180, right), (180, pole), (-180, pole)]


def _at(line: Sequence[Point], x: float) -> float:
    for (x0, y0), (x1, y1) in pairwise(line):
        if x0 <= x <= x1 and x1 > x0:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return line[0][1]


def _cut(ring: Sequence[Point], turn: float) -> list[Point]:
    """What lies within -180 and 180 of a ring that is turned round the earth."""
    points = [(x + turn, y) for x, y in ring]
    for edge, side in ((-180.0, 1.0), (180.0, -1.0)):
        points = _kept(points, edge, side)
    return points if len({x for x, _ in points}) > 1 else []


def _kept(ring: Sequence[Point], edge: float, side: float) -> list[Point]:
    """The part of a ring on one side of a meridian (Sutherland and Hodgman)."""
    kept: list[Point] = []
    for start, stop in zip([ring[-1], *ring[:-1]], ring, strict=True) if ring else ():
        inside, before = (stop[0] - edge) * side >= 0, (start[0] - edge) * side >= 0
        if inside != before:
            kept.append(_between(start, stop, (edge - start[0]) / (stop[0] - start[0])))
        if inside:
            kept.append(stop)
    return kept


def _closed(ring: Sequence[Point]) -> list[list[float]]:
    """Counterclockwise, the first point once more at the end."""
    points = [[round(x, _DIGITS), round(y, _DIGITS)] for x, y in ring]
    points.append(points[0])
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(points))
    return points if area > 0 else points[::-1]


@cache
def _to_lonlat(crs: str) -> Any:
    from pyproj import CRS, Transformer

    return Transformer.from_crs(CRS.from_user_input(crs), "EPSG:4326", always_xy=True)
