"""A place of the demo world some years later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geohydra.sources.world import CROPS, Building, Place, house_beside

_GONE = 0.2
_NEW = 0.35
_TRIES = 60


def later(place: Place, rng: np.random.Generator) -> tuple[Place, list[tuple[str, BaseGeometry]]]:
    """The place later, and what has changed as class and area: houses `built`, houses `demolished`."""
    square = shapely.box(0, 0, place.extent, place.extent)
    staying = [building for building in place.buildings if rng.random() >= _GONE]
    gone = [building for building in place.buildings if building not in staying]
    new = list(_new(place, rng, round(_NEW * len(place.buildings))))
    parcels = tuple(replace(parcel, crop=str(rng.choice(CROPS))) for parcel in place.parcels)
    built = shapely.union_all([building.area.buffer(2.5) for building in new])
    shapely.prepare(built)
    trees = place.trees[shapely.distance(shapely.points(place.trees[:, :2]), built) > place.trees[:, 2] * 0.6]
    changes = [("demolished", building.area) for building in gone] + [("built", building.area) for building in new]
    cut = [(name, part) for name, area in changes for part in shapely.get_parts(area.intersection(square)) if part.area >= 1]
    return replace(place, buildings=(*staying, *new), parcels=parcels, trees=trees), cut


def _new(place: Place, rng: np.random.Generator, count: int) -> Iterator[Building]:
    """Houses along roads where there was none, on dry land."""
    taken = shapely.union_all([*(road.area for road in place.roads), *(body.buffer(9) for body in place.water)])
    taken = taken.union(shapely.union_all([building.area for building in place.buildings]))
    roads = [road for road in place.roads if road.line.length > 40]
    square = shapely.box(0, 0, place.extent, place.extent)
    for _ in range(_TRIES * count):
        if not count:
            return
        road = roads[int(rng.integers(len(roads)))]
        house = house_beside(rng, road, float(rng.uniform(12, road.line.length - 8)), float(rng.choice([-1.0, 1.0])))
        if square.intersects(house.area) and not house.area.buffer(2.5).intersects(taken):
            taken = taken.union(house.area)
            count -= 1
            yield house
