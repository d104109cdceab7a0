"""Cars, vans and trucks of the demo world: where they stand and drive, and how they look from above.

Coordinates are metres as in `geohydra.sources.world`; angles are radians from east.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import Polygon, affinity
from shapely.geometry.base import BaseGeometry

from geohydra.sources.painting import SUN, Canvas
from geohydra.sources.world import Place, Road

LACQUERS = {
    "white": (4300, 4250, 4200, 4300),
    "silver": (3000, 3020, 3050, 3150),
    "grey": (1850, 1870, 1900, 2000),
    "black": (330, 330, 350, 420),
    "blue": (560, 820, 1900, 1500),
    "red": (2350, 480, 430, 2500),
    "yellow": (3700, 2900, 620, 3900),
}
"""Reflectance times 10000 in red, green, blue and near infrared."""
_OFTEN = (0.27, 0.2, 0.15, 0.13, 0.12, 0.1, 0.03)
_GLASS = (260, 300, 360, 330)
_HEIGHT = 1.6
_GAP = 38.0
"""Metres of a lane for each vehicle that drives."""


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Its middle, the direction in which it looks, its sides in metres, and its colour, one of `LACQUERS`."""

    x: float
    y: float
    angle: float
    length: float
    width: float
    lacquer: str

    @property
    def area(self) -> Polygon:
        """What it covers: a rectangle."""
        return self.part(-0.5, 0.5)

    def part(self, start: float, stop: float, *, share: float = 1.0) -> Polygon:
        """From one place along its length to another (-0.5 is the rear, 0.5 the front), so much of its width."""
        half = self.width * share / 2
        flat = shapely.box(start * self.length, -half, stop * self.length, half)
        return affinity.translate(affinity.rotate(flat, self.angle, origin=(0, 0), use_radians=True), self.x, self.y)

    def at(self, x: float, y: float, angle: float) -> Vehicle:
        """The same elsewhere."""
        return Vehicle(x, y, angle, self.length, self.width, self.lacquer)


def new_vehicle(rng: np.random.Generator) -> Vehicle:
    """A car, seldom a van or truck, at the origin."""
    large = rng.random() < 0.09
    length, width = (rng.uniform(6.0, 9.5), rng.uniform(2.3, 2.55)) if large else (rng.uniform(4.0, 4.9), rng.uniform(1.75, 1.95))
    lacquer = "white" if large and rng.random() < 0.6 else str(rng.choice(list(LACQUERS), p=_OFTEN))
    return Vehicle(0.0, 0.0, 0.0, float(length), float(width), lacquer)


def on_road(vehicle: Vehicle, road: Road, along: float, lane: float) -> Vehicle:
    """The vehicle in a lane: so many metres along the road, driving with its line (lane 1, to the right of it) or against it (-1)."""
    start, ahead = shapely.get_coordinates(road.line.interpolate([along, along + 2.0]))
    angle = float(np.arctan2(ahead[1] - start[1], ahead[0] - start[0]))
    right = np.array([np.sin(angle), -np.cos(angle)]) * lane * road.width / 4
    x, y = (start + right).tolist()
    return vehicle.at(x, y, angle if lane > 0 else angle + np.pi)


def make_vehicles(rng: np.random.Generator, place: Place) -> tuple[Vehicle, ...]:
    """Vehicles that drive on paved roads and stand in yards: none touches another, a house, water or the crown of a tree."""
    wanted = [*_driving(rng, place), *_parked(rng, place)]
    crowns = shapely.buffer(shapely.points(place.trees[:, :2]), place.trees[:, 2])
    blocked = shapely.union_all([*place.water, *(house.area.buffer(0.6) for house in place.buildings), *crowns])
    square = shapely.box(0, 0, place.extent, place.extent)
    shapely.prepare(blocked)
    kept: list[Vehicle] = []
    taken: list[BaseGeometry] = []
    for vehicle in wanted:
        area = vehicle.area.buffer(0.5)
        if area.intersects(square) and not blocked.intersects(area) and not shapely.intersects(np.array(taken, object), area).any():
            kept.append(vehicle)
            taken.append(area)
    return tuple(kept)


def vehicle_areas(vehicles: Sequence[Vehicle], place: Place, *, least: float = 0.3) -> Iterator[tuple[str, BaseGeometry]]:
    """What is labelled: the class and area of each that lies in the square with such a share at least."""
    square = shapely.box(0, 0, place.extent, place.extent)
    for vehicle in vehicles:
        part = vehicle.area.intersection(square)
        if part.area >= least * vehicle.area.area:
            yield "vehicle", part


def paint_vehicles(canvas: Canvas, vehicles: Sequence[Vehicle]) -> None:
    """Shadows first, then bodies, windows in front and behind, and the light roof between them."""
    if not vehicles:
        return
    canvas.shade(canvas.burn([affinity.translate(one.area, *(SUN * _HEIGHT * 0.8)) for one in vehicles]) > 0, 0.55)
    number = canvas.burn([one.area for one in vehicles])
    tones = np.array([LACQUERS[one.lacquer] for one in vehicles], np.float32)
    tones *= canvas.rng.normal(1, 0.05, (len(vehicles), 1)).astype(np.float32)
    canvas.paint(number > 0, np.moveaxis(tones[np.maximum(number - 1, 0)], -1, 0))
    panes = [one.part(*ends, share=0.8) for one in vehicles for ends in ((0.1, 0.26), (-0.42, -0.3))]
    canvas.paint(canvas.burn(panes) > 0, _GLASS)


def _driving(rng: np.random.Generator, place: Place) -> Iterator[Vehicle]:
    for road in place.roads:
        for lane in (-1.0, 1.0) if road.paved else ():
            along = rng.exponential(_GAP)
            while along < road.line.length - 4:
                yield on_road(new_vehicle(rng), road, float(along), lane)
                along += 7 + rng.exponential(_GAP - 7)


def _parked(rng: np.random.Generator, place: Place) -> Iterator[Vehicle]:
    """Beside houses, along them or across, sometimes a row of several; never on a street."""
    streets = shapely.union_all([road.area for road in place.roads])
    shapely.prepare(streets)
    for house in place.buildings:
        middle = house.area.centroid
        for _ in range(int(rng.integers(0, 4))):
            turn = rng.uniform(0, 2 * np.pi)
            reach = rng.uniform(9, 16)
            angle = house.angle + rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.08)
            first = new_vehicle(rng).at(middle.x + reach * np.cos(turn), middle.y + reach * np.sin(turn), float(angle))
            for place_in_row in range(int(rng.choice([1, 1, 1, 2, 3]))):
                step = 2.7 * place_in_row
                other = first if place_in_row == 0 else new_vehicle(rng)
                parked = other.at(first.x - step * np.sin(angle), first.y + step * np.cos(angle), float(angle))
                if not streets.intersects(parked.area):
                    yield parked
