"""Longitude and latitude of places in a grid."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Transformer

from geohydra.types import Grid, Shape
from geohydra.vector.lonlat import LonLat, on_ground


@pytest.mark.parametrize("metres", [0.1, 10.0, 100.0, 5000.0])
@pytest.mark.parametrize("crs", ["EPSG:32645", "EPSG:3857", "EPSG:3035", "EPSG:4326"])
def test_places_are_right_to_a_millimetre(crs: str, metres: float) -> None:
    size, left, top = (
        (metres / 1e5, 30.0, 50.0) if crs == "EPSG:4326" else (metres, 4_400_000.0 if crs == "EPSG:3035" else 300_000.0, 3_400_000.0)
    )
    grid = Grid(crs, (size, size / 9, left, -size / 9, -size, top), Shape(700, 900))
    points = np.random.default_rng(0).integers(0, 700, (60_000, 2)).astype(float)

    found = LonLat(grid)(points)

    ground = on_ground(points, grid)
    exact = np.stack(Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(ground[:, 0], ground[:, 1]), axis=1)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1.5e-8)


def test_a_single_place_will_do() -> None:
    grid = Grid("EPSG:32645", (10, 0, 300000, 0, -10, 3400000), Shape(7, 9))

    assert LonLat(grid)(np.array([[3.0, 2.0]])).shape == (1, 2)
    assert LonLat(grid)(np.empty((0, 2))).shape == (0, 2)
