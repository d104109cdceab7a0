"""Longitude and latitude of places in a grid, for GeoJSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pyproj import CRS, Transformer

from geohydra.types import Grid
from geohydra.vector.outlines import Floats

_CRS = "OGC:CRS84"
_EXACT = 1e-8
"""Degrees, about a millimetre: a tenth of the last of seven decimals."""

_STEPS = (64, 32, 16, 8)
_FEW = 4
"""Interpolating pays where there are so many times more places than nodes."""


class LonLat:
    """From `(col, row)` in pixels to `(longitude, latitude)` in degrees, to a millimetre.

    Exact at the nodes of a lattice and interpolated between them, as far as that is close enough; else exact everywhere.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        crs = CRS.from_user_input(grid.crs)
        same = crs.equals(CRS.from_user_input("EPSG:4326"), ignore_axis_order=True)
        self._transformer = None if same else Transformer.from_crs(crs, _CRS, always_xy=True)

    def __call__(self, points: Floats) -> Floats:
        """`(point, 2)` for `(point, 2)`."""
        if self._transformer is None or not len(points):
            return on_ground(points, self._grid)
        lattice = next(self._lattices(points), None)
        return self._exact(points) if lattice is None else lattice.at(points)

    def _lattices(self, points: Floats) -> Iterator[_Lattice]:
        """Those that are exact enough, widest first."""
        low, high = points.min(axis=0), points.max(axis=0)
        for step in _STEPS:
            cells = np.maximum(np.ceil((high - low) / step).astype(int), 1)
            if (cells[0] + 1) * (cells[1] + 1) * _FEW > len(points):
                return
            lattice = _Lattice(low, step, self._exact(_nodes(low, step, cells + 1)).reshape(cells[1] + 1, cells[0] + 1, 2))
            middles = _nodes(low + step / 2, step, cells)
            if np.abs(lattice.at(middles) - self._exact(middles)).max() <= _EXACT:
                yield lattice

    def _exact(self, points: Floats) -> Floats:
        ground = on_ground(points, self._grid)
        transformer: Any = self._transformer
        return np.stack(transformer.transform(ground[:, 0], ground[:, 1]), axis=1)


class _Lattice:
    """Values `(row, col, 2)` at places every `step` pixels from `first` `(col, row)`."""

    def __init__(self, first: Floats, step: int, values: Floats) -> None:
        self._first = first
        self._step = step
        self._across = values.shape[1]
        self._last = np.array([values.shape[1] - 2, values.shape[0] - 2])
        self._values = values.reshape(-1, 2)

    def at(self, points: Floats) -> Floats:
        """Interpolated along both axes."""
        place = (points - self._first) / self._step
        cell = np.clip(place.astype(np.int64), 0, self._last)
        place -= cell
        node = cell[:, 1] * self._across + cell[:, 0]
        right, down = place[:, :1], place[:, 1:]
        upper = self._between(node, right)
        upper += (self._between(node + self._across, right) - upper) * down
        return upper

    def _between(self, node: Any, share: Floats) -> Floats:
        left = self._values[node]
        return np.asarray(left + (self._values[node + 1] - left) * share)


def _nodes(first: Floats, step: int, counts: Any) -> Floats:
    """Row by row."""
    cols, rows = first[0] + step * np.arange(counts[0]), first[1] + step * np.arange(counts[1])
    return np.stack([np.tile(cols, counts[1]), np.repeat(rows, counts[0])], axis=1)


def on_ground(points: Floats, grid: Grid) -> Floats:
    """Coordinates of `(col, row)` in the CRS of the grid."""
    a, b, c, d, e, f = grid.transform
    cols, rows = points[:, 0], points[:, 1]
    return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=1)
