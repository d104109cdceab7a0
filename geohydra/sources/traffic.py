"""Vehicles that drive along the roads of the demo world: where each is at a second; drawn finer than pixels, so that it moves smoothly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import LineString, Polygon, affinity

from geohydra.sources.vehicles import LACQUERS, Vehicle, new_vehicle
from geohydra.sources.world import Place, Road

Floats = NDArray[np.float32]

_GLASS = (260.0, 300.0, 360.0)
_SHADOW = (0.9, 1.1)
"""Metres by which a shadow falls to the east and north."""
_FINE = 4
"""Parts of a pixel on a side that are looked at to tell how much of it is covered."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A vehicle on a lane, where on it it is at first, and its speed: metres, metres a second, 0 where it is parked."""

    lane: LineString
    start: float
    speed: float
    vehicle: Vehicle

    def at(self, seconds: float) -> Vehicle | None:
        """The vehicle at a time; None where it has left the road, or has not come yet."""
        along, half = self.start + self.speed * seconds, self.vehicle.length / 2
        if not half < along < self.lane.length - half:
            return None
        back, middle, front = shapely.get_coordinates(self.lane.interpolate([along - 1.5, along, along + 1.5]))
        angle = float(np.arctan2(front[1] - back[1], front[0] - back[0]))
        return self.vehicle.at(float(middle[0]), float(middle[1]), angle)


def traffic(place: Place, rng: np.random.Generator) -> list[Driver]:
    """On both lanes of every paved road: those of one lane drive at one speed, and in some streets they are parked instead."""
    paved = [road for road in place.roads if road.paved]
    return [driver for road in paved for side in (-1.0, 1.0) for driver in _lane(road, side, rng, busy=road is paved[0])]


def _lane(road: Road, side: float, rng: np.random.Generator, *, busy: bool) -> Iterator[Driver]:
    """Traffic keeps to the right: the lane on the left side of the line runs against it."""
    lane = road.line.offset_curve(side * road.width / 4)
    if lane.is_empty or lane.geom_type != "LineString":
        return
    lane = lane if side < 0 else lane.reverse()
    speed = float(rng.uniform(7, 13) if busy else rng.choice([0.0, rng.uniform(3, 7)]))
    along = float(rng.uniform(-60, 10)) if speed else 8.0
    while along < lane.length:
        vehicle = new_vehicle(rng)
        yield Driver(lane, along, speed, vehicle)
        along += float(rng.uniform(16, 38) if busy else rng.uniform(12, 60)) + vehicle.length


def draw(pixels: Floats, vehicles: Sequence[Vehicle], *, corner: tuple[float, float], pixel: float) -> None:
    """Draw vehicles into a picture of red, green and blue `(band, row, col)` in place; its upper left corner and the size of a pixel
    are in metres."""
    for one in vehicles:
        rows, cols, share = _covered(pixels, affinity.translate(one.area, *_SHADOW), corner, pixel)
        pixels[:, rows, cols] *= (1 - 0.55 * share).astype(np.float32)
    for one in vehicles:
        parts = [(one.area, LACQUERS[one.lacquer][:3]), *((one.part(*ends, share=0.8), _GLASS) for ends in ((0.1, 0.26), (-0.42, -0.3)))]
        for area, tone in parts:
            rows, cols, share = _covered(pixels, area, corner, pixel)
            here = pixels[:, rows, cols]
            here += (np.array(tone, np.float32)[:, None, None] - here) * share.astype(np.float32)


def _covered(pixels: Floats, area: Polygon, corner: tuple[float, float], pixel: float) -> tuple[slice, slice, NDArray[np.float64]]:
    """Rows and columns of the picture that an area may touch, and the share of each pixel there that it covers."""
    left, bottom, right, top = area.bounds
    height, width = pixels.shape[1:]
    rows = _span((corner[1] - top) / pixel, (corner[1] - bottom) / pixel, height)
    cols = _span((left - corner[0]) / pixel, (right - corner[0]) / pixel, width)
    fine = (np.arange(_FINE) + 0.5) / _FINE
    y, x = ((np.arange(span.start, span.stop)[:, None] + fine).ravel() * pixel for span in (rows, cols))
    inside = shapely.contains_xy(area, *np.meshgrid(corner[0] + x, corner[1] - y))
    shape = (rows.stop - rows.start, _FINE, cols.stop - cols.start, _FINE)
    return rows, cols, inside.reshape(shape).mean(axis=(1, 3))


def _span(low: float, high: float, length: int) -> slice:
    start = min(max(int(np.floor(low)), 0), length)
    return slice(start, max(start, min(int(np.ceil(high)), length)))
