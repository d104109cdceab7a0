"""The geometry of the demo world: where rivers, roads, fields, buildings and trees lie in one square place.

Coordinates are metres from the place's lower left corner, x to the east and y to the north. Everything follows from
the random generator that is given, so that the same seed gives the same place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import LineString, Polygon, affinity
from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]

CROPS = ("wheat", "maize", "rape", "bare", "ploughed", "young", "beet")
ROOFS = ("tile", "grey", "slate", "white", "brown")


@dataclass(frozen=True, slots=True)
class Road:
    """A line, its full width in metres, and whether it is paved."""

    line: LineString
    width: float
    paved: bool

    @property
    def area(self) -> BaseGeometry:
        """What it covers."""
        return self.line.buffer(self.width / 2, cap_style="flat")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A piece of farmland: what grows there, and along which angle (radians from east) it is worked."""

    area: Polygon
    crop: str
    angle: float


@dataclass(frozen=True, slots=True)
class Building:
    """A footprint, the angle of its ridge (radians from east), its height in metres and its roof."""

    area: Polygon
    angle: float
    height: float
    roof: str


@dataclass(frozen=True, slots=True)
class Place:
    """All that stands in a square of `extent` metres. `trees` are rows of x, y, radius."""

    extent: float
    roads: tuple[Road, ...]
    water: tuple[Polygon, ...]
    parcels: tuple[Parcel, ...]
    forest: tuple[Polygon, ...]
    buildings: tuple[Building, ...]
    village: BaseGeometry
    trees: Floats

    def features(self) -> Iterator[tuple[str, BaseGeometry]]:
        """What is labelled, as class and area, each cut to the square; no two overlap."""
        square = shapely.box(0, 0, self.extent, self.extent)
        streets = shapely.union_all([road.area for road in self.roads])
        houses = shapely.union_all([building.area for building in self.buildings])
        layers = {
            "field": [parcel.area for parcel in self.parcels],
            "water": [body.difference(streets) for body in self.water],
            "road": [streets.difference(houses)],
            "building": [building.area for building in self.buildings],
        }
        for name, areas in layers.items():
            for area in areas:
                yield from ((name, part) for part in _polygons(area.intersection(square), least=1.0))


def make_place(rng: np.random.Generator, extent: float) -> Place:
    """One place: a river or a lake, a road through a village, side streets, farmland, woods."""
    centre = rng.uniform(0.35, 0.65, 2) * extent
    water = _water(rng, extent, centre)
    roads = _roads(rng, extent, centre, shapely.union_all(water))
    streets, wet = shapely.union_all([road.area for road in roads]), shapely.union_all(water)
    near = shapely.Point(centre).buffer(0.24 * extent)
    village = shapely.union_all([road.line for road in roads if road.paved]).intersection(near).buffer(34).difference(wet.buffer(6))
    buildings = _buildings(rng, roads, village, streets.union(wet.buffer(9)))
    yards = shapely.union_all([village, *(building.area.buffer(14) for building in buildings)])
    parcels, forest = _land(rng, extent, streets.buffer(4).union(wet.buffer(11)).union(yards))
    taken = shapely.union_all([streets.buffer(2), wet, *(building.area.buffer(2.5) for building in buildings)])
    trees = _trees(rng, extent, forest, wet.buffer(10).difference(wet), village, taken)
    return Place(extent, roads, water, parcels, forest, buildings, yards, trees)


def _water(rng: np.random.Generator, extent: float, centre: Floats) -> tuple[Polygon, ...]:
    """A river beside the village, or a lake in a corner; always some ponds."""
    side = rng.choice([-1.0, 1.0])
    bodies = [_lake(rng, rng.uniform(0.1, 0.9, 2) * extent, rng.uniform(12, 26)) for _ in range(2)]
    if rng.random() < 0.7:
        start = (centre[0] + side * extent * rng.uniform(0.18, 0.3), -30.0)
        line = _walk(rng, start, np.pi / 2 + rng.normal(0, 0.15), extent * 1.5, wander=0.075, pull=0.06)
        bodies.append(_ribbon(rng, line, rng.uniform(20, 34)))
    else:
        spot = centre + side * extent * np.array([0.3, rng.uniform(0.1, 0.3)])
        bodies.append(_lake(rng, np.clip(spot, 0.1 * extent, 0.9 * extent), rng.uniform(75, 110)))
    return tuple(_polygons(shapely.union_all(bodies), least=50.0))


def _lake(rng: np.random.Generator, centre: Floats, radius: float) -> Polygon:
    """A rounded blob around a point."""
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    waves = sum(rng.normal(0, 0.22 / k) * np.cos(k * turn + rng.uniform(0, 2 * np.pi)) for k in range(1, 6))
    reach = radius * (1 + np.clip(waves, -0.6, 0.8))
    points = np.stack([centre[0] + reach * np.cos(turn) * 1.3, centre[1] + reach * np.sin(turn)], axis=1)
    return Polygon(points).buffer(3).buffer(-3)


def _walk(
    rng: np.random.Generator, start: Sequence[float] | Floats, heading: float, length: float, *, wander: float, pull: float = 0.05
) -> LineString:
    """A smooth line: its heading drifts and is pulled back to where it began."""
    step, points, turn, now = 8.0, [np.asarray(start, float)], 0.0, heading
    for _ in range(int(length / step)):
        turn = 0.8 * turn + rng.normal(0, wander) - pull * (now - heading)
        now += turn * 0.6
        points.append(points[-1] + step * np.array([np.cos(now), np.sin(now)]))
    return LineString(points)


def _ribbon(rng: np.random.Generator, line: LineString, width: float) -> BaseGeometry:
    """A line with a width that swells and shrinks."""
    points = shapely.get_coordinates(line)
    phase = rng.uniform(0, 2 * np.pi, 2)
    along = np.arange(len(points))
    widths = width * (1 + 0.22 * np.sin(along / 9 + phase[0]) + 0.12 * np.sin(along / 3.7 + phase[1]))
    parts = [LineString(pair).buffer(size / 2) for pair, size in zip(pairwise(points), widths, strict=False)]
    return shapely.union_all(parts).simplify(0.4)


def _roads(rng: np.random.Generator, extent: float, centre: Floats, water: BaseGeometry) -> tuple[Road, ...]:
    """A main road across the place through the village, side streets off it, tracks between fields."""
    heading = rng.normal(0, 0.12)
    west = _walk(rng, centre, np.pi + heading, extent, wander=0.035)
    east = _walk(rng, centre, heading, extent, wander=0.035)
    main = LineString([*shapely.get_coordinates(west)[::-1], *shapely.get_coordinates(east)[1:]])
    roads = [Road(main, 9.0, True)]
    home = main.project(shapely.Point(centre))
    for place in np.linspace(-0.19, 0.19, 5) * extent + rng.uniform(-12, 12, 5):
        side = rng.choice([-1.0, 1.0])
        line = _branch(rng, main, home + place, side, rng.uniform(0.17, 0.34) * extent)
        roads.append(Road(_dry(line, water), 6.5, True))
    for place in (rng.uniform(-0.42, -0.3) * extent, rng.uniform(0.3, 0.42) * extent):
        line = _branch(rng, main, home + place, rng.choice([-1.0, 1.0]), extent)
        roads.append(Road(_dry(line, water), 5.0, False))
    return tuple(road for road in roads if road.line.length > 40)


def _branch(rng: np.random.Generator, main: LineString, place: float, side: float, length: float) -> LineString:
    start, ahead = shapely.get_coordinates(main.interpolate([place, place + 5.0]))
    along = np.arctan2(ahead[1] - start[1], ahead[0] - start[0])
    return _walk(rng, start, along + side * np.pi / 2 + rng.normal(0, 0.12), length, wander=0.03)


def _dry(line: LineString, water: BaseGeometry) -> LineString:
    """The part before the water: only the main road has a bridge."""
    dry = line.difference(water.buffer(12))
    parts = [part for part in shapely.get_parts(dry) if part.distance(shapely.Point(line.coords[0])) < 1]
    return parts[0] if parts else LineString(line.coords[:2])


def _buildings(rng: np.random.Generator, roads: Sequence[Road], village: BaseGeometry, taken: BaseGeometry) -> tuple[Building, ...]:
    """Rows of houses along the streets of the village, and a few farms along tracks."""
    kept: list[Building] = []
    streets = taken
    for road in roads:
        spacing = 21.0 if road.paved else 90.0
        for place in np.arange(12.0, road.line.length - 8, spacing):
            for side in (-1.0, 1.0):
                house = house_beside(rng, road, place + rng.uniform(-3, 3), side)
                inside = village.intersects(house.area) if road.paved else rng.random() < 0.35
                if inside and rng.random() < 0.88 and not house.area.buffer(2.5).intersects(streets):
                    kept.append(house)
                    streets = streets.union(house.area)
    return tuple(kept)


def house_beside(rng: np.random.Generator, road: Road, place: float, side: float) -> Building:
    """A house that stands along a road, at a place on it, left (1) or right (-1)."""
    start, ahead = shapely.get_coordinates(road.line.interpolate([place, place + 4.0]))
    angle = float(np.arctan2(ahead[1] - start[1], ahead[0] - start[0]) + rng.normal(0, 0.06))
    long, deep = (rng.uniform(11, 17), rng.uniform(8, 11.5)) if rng.random() < 0.82 else (rng.uniform(18, 30), rng.uniform(11, 16))
    away = road.width / 2 + deep / 2 + rng.uniform(4.5, 9)
    spot = start + side * away * np.array([-np.sin(angle), np.cos(angle)])
    area = shapely.box(-long / 2, -deep / 2, long / 2, deep / 2)
    if rng.random() < 0.3:
        wing = shapely.box(-long / 2, -deep / 2 - side * rng.uniform(-6, -4), -long / 2 + rng.uniform(5, 7), deep / 2)
        area = area.union(wing)
    area = affinity.translate(affinity.rotate(area, angle, origin=(0, 0), use_radians=True), *spot)
    roof = str(rng.choice(ROOFS, p=[0.44, 0.2, 0.14, 0.08, 0.14]))
    return Building(area, angle, float(rng.uniform(5, 9)), roof)


def _land(rng: np.random.Generator, extent: float, taken: BaseGeometry) -> tuple[tuple[Parcel, ...], tuple[Polygon, ...]]:
    """Farmland in parcels of one direction, and the woods that stand on some of them. The rest is meadow."""
    angle = float(rng.uniform(-0.5, 0.5))
    whole = shapely.box(-0.3 * extent, -0.3 * extent, 1.3 * extent, 1.3 * extent)
    parcels: list[Parcel] = []
    forest: list[Polygon] = []
    middle = (extent / 2, extent / 2)
    square = shapely.box(-5, -5, extent + 5, extent + 5)
    for piece in _split(rng, whole, rng.uniform(0.012, 0.02) * extent**2):
        area = affinity.rotate(piece, angle, origin=middle, use_radians=True)
        kind = rng.choice(3, p=[0.7, 0.13, 0.17])
        crop = str(rng.choice(CROPS))
        along = angle if rng.random() < 0.6 else angle + np.pi / 2
        parts = list(_polygons(area.buffer(-1.6).intersection(square).difference(taken), least=500.0))
        if kind == 0:
            parcels += [Parcel(part, crop, along) for part in parts]
        elif kind == 1:
            forest += parts
    return tuple(parcels), tuple(forest)


def _split(rng: np.random.Generator, area: Polygon, target: float) -> Iterator[Polygon]:
    """Pieces of a rectangle, cut across its longer side until they are about as large as wanted."""
    if area.area < target * rng.uniform(0.7, 2.2):
        yield area
        return
    left, bottom, right, top = area.bounds
    share = rng.uniform(0.34, 0.66)
    lean = rng.normal(0, 0.03)
    if right - left > top - bottom:
        low, high = (left + (right - left) * (share + sign * lean) for sign in (-1, 1))
        halves = [(left, bottom), (low, bottom), (high, top), (left, top)], [(low, bottom), (right, bottom), (right, top), (high, top)]
    else:
        low, high = (bottom + (top - bottom) * (share + sign * lean) for sign in (-1, 1))
        halves = [(left, bottom), (right, bottom), (right, high), (left, low)], [(left, low), (right, high), (right, top), (left, top)]
    for half in halves:
        yield from (piece for piece in _split(rng, Polygon(half).intersection(area), target))


def _trees(
    rng: np.random.Generator,
    extent: float,
    forest: Sequence[Polygon],
    banks: BaseGeometry,
    village: BaseGeometry,
    taken: BaseGeometry,
) -> Floats:
    """Crowns as rows of x, y, radius: dense in woods, in rows along water, here and there in gardens and meadows."""
    found = [_scatter(rng, wood, 42.0, (2.6, 4.8)) for wood in forest]
    found.append(_scatter(rng, banks, 150.0, (2.0, 4.2)))
    found.append(_scatter(rng, village, 330.0, (1.6, 3.2)))
    found.append(_scatter(rng, shapely.box(0, 0, extent, extent), 5200.0, (2.0, 4.5)))
    trees = np.concatenate(found)
    crowns = shapely.points(trees[:, :2])
    shapely.prepare(taken)
    standing: Floats = trees[shapely.distance(crowns, taken) > trees[:, 2] * 0.6]
    return standing


def _scatter(rng: np.random.Generator, area: BaseGeometry, each: float, radii: tuple[float, float]) -> Floats:
    """Random points in an area, one every so many square metres, with random radii."""
    if area.is_empty:
        return np.empty((0, 3))
    left, bottom, right, top = area.bounds
    count = int((right - left) * (top - bottom) / each)
    points = rng.uniform((left, bottom), (right, top), (count, 2))
    shapely.prepare(area)
    inside = shapely.contains_xy(area, points[:, 0], points[:, 1])
    found: Floats = np.column_stack([points, rng.uniform(*radii, count)])[inside]
    return found


def _polygons(geometry: BaseGeometry, *, least: float) -> Iterator[Polygon]:
    """The polygons of any geometry that are at least so large."""
    for part in shapely.get_parts(geometry):
        if part.geom_type == "Polygon" and part.area >= least:
            yield part
