"""Outlines made right-angled, as those of most buildings are: each keeps its area, stays valid, and leaves its course by little."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALIKE = 0.8
"""The least intersection over union with the outline that came in; what would be less alike stays as it was."""

_COARSER = (1.0, 2.0, 4.0)
"""Tolerances that are tried, in parts of the one that is asked for."""

_CORNER = 0.006
"""Likeness that a further corner must bring."""

_TURNS = 4
"""Outlines look alike after so many parts of a full turn: directions are compared modulo a quarter."""


def regularised(shapes: NDArray[Any], tolerance: float) -> NDArray[Any]:
    """Polygons whose edges follow one direction and its perpendicular. `tolerance`: units of their coordinates by which an outline may
    leave its course, about. Holes that are large enough are kept as they come out."""
    found = np.empty(len(shapes), object)
    for place, shape in enumerate(shapes):
        found[place] = _regularised(shape, tolerance)
    return found


def _regularised(shape: Any, tolerance: float) -> Any:
    """Of what several guesses of the direction and coarser tolerances give, the most alike with few corners."""
    best, most = shape, -np.inf
    middle = shape.centroid
    for factor in _COARSER:
        rough = shape.simplify(factor * tolerance)
        for angle in _angles(rough):
            lying = shapely.affinity.rotate(rough, -angle, origin=middle, use_radians=True)
            squared = _squared(lying, factor * tolerance)
            if squared is None:
                continue
            turned = _sized(shapely.affinity.rotate(squared, angle, origin=middle, use_radians=True), shape.area)
            value = likeness(turned, shape) if turned.is_valid else 0.0
            worth = value - _CORNER * shapely.get_num_coordinates(turned)
            if value >= ALIKE and worth > most:
                best, most = turned, worth
    return best


def likeness(one: Any, other: Any) -> float:
    """Intersection over union."""
    both = one.intersection(other).area
    return float(both / (one.area + other.area - both))


def _angles(shape: Any) -> Iterator[float]:
    """The direction that most of the outline has, in radians, and that of the smallest rectangle around it."""
    for outline in (shape, shape.minimum_rotated_rectangle):
        if outline.geom_type == "Polygon":
            edges = np.diff(shapely.get_coordinates(outline.exterior), axis=0)
            lengths, angles = np.hypot(*edges.T), np.arctan2(edges[:, 1], edges[:, 0])
            yield float(np.angle((lengths**2 * np.exp(1j * _TURNS * angles)).sum()) / _TURNS)


def _squared(shape: Any, tolerance: float) -> Any:
    """A polygon of level and upright edges; None where none comes out."""
    rings = [_squared_ring(shapely.get_coordinates(ring), tolerance) for ring in (shape.exterior, *shape.interiors)]
    if rings[0] is None:
        return None
    squared = shapely.Polygon(rings[0], [ring for ring in rings[1:] if ring is not None])
    return squared if squared.is_valid and squared.area > 0 else None


def _squared_ring(points: Floats, tolerance: float) -> Floats | None:
    """Runs of edges that are more level than upright, or the other way, each made one line; None where fewer than four are left."""
    edges = np.diff(points, axis=0)
    level = np.abs(edges[:, 0]) >= np.abs(edges[:, 1])
    lengths = np.hypot(*edges.T)
    places = np.where(level, points[:-1, 1] + points[1:, 1], points[:-1, 0] + points[1:, 0]) / 2
    runs = _runs(list(zip(level.tolist(), lengths.tolist(), places.tolist(), strict=True)))
    while len(runs) > 4:
        steps = [abs(runs[place - 1][2] - runs[(place + 1) % len(runs)][2]) for place in range(len(runs))]
        least = int(np.argmin(steps))
        if steps[least] > 2 * tolerance:
            break
        del runs[least]
        runs = _runs(runs)
    if len(runs) < 4 or len(runs) % 2:
        return None
    lines = [(flat, place) for flat, _, place in runs]
    following = [*lines[1:], lines[0]]
    return np.array([(after, here) if flat else (here, after) for (flat, here), (_, after) in zip(lines, following, strict=True)])


def _runs(edges: list[tuple[bool, float, float]]) -> list[tuple[bool, float, float]]:
    """Neighbours of one kind made one, around the ring: whether it is level, its length, and the mean of where it lies."""
    first = next((place for place in range(len(edges)) if edges[place][0] != edges[place - 1][0]), 0)
    runs: list[tuple[bool, float, float]] = []
    for flat, length, place in [*edges[first:], *edges[:first]]:
        if runs and runs[-1][0] == flat:
            before, at = runs[-1][1:]
            runs[-1] = (flat, before + length, (at * before + place * length) / max(before + length, 1e-12))
        else:
            runs.append((flat, length, place))
    return runs


def _sized(shape: Any, area: float) -> Any:
    """The same shape with another area."""
    scale = float(np.sqrt(area / shape.area))
    return shapely.affinity.scale(shape, scale, scale, origin=shape.centroid)
