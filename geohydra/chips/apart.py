"""Regions of different splits: which show the same ground, how far they lie apart, and cutting them back until they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from geohydra.chips.footprint import footprints, grown, metres, neighbours, pixel_metres, seen_from, trim
from geohydra.chips.index import Region
from geohydra.types import Grid, Scene, Shape, Window

if TYPE_CHECKING:
    from shapely import Polygon


def keep_apart(regions: Sequence[Region], scenes: Sequence[Scene], *, gap: float, unit: str) -> list[Region]:
    """Cut back what is for choosing and testing, until no ground is in two splits and gaps are as wide as asked.

    Neighbours that share a long border come before those that only meet at a corner: mostly these are far enough by then.
    """
    grids = {scene.id: scene.grid for scene in scenes}
    ranks = {"test": 1, "val": 2}
    reach = gap if unit == "m" else gap * usual_pixel(scenes)
    pairs = [sorted(pair, key=lambda place: ranks.get(regions[place].split, 0)) for pair in _close(regions, scenes, reach)]
    known = {scene: int(np.ceil((gap if unit == "px" else gap / min(pixel_metres(grid))) - 1e-6)) for scene, grid in grids.items()}

    def border(pair: Sequence[int]) -> tuple[int, int]:
        one, other = (regions[place] for place in pair)
        seen = _seen(one, other, grids)
        shared = None if seen is None else other.window.intersect(grown(seen, known[other.scene]))
        return ranks.get(one.split, 0), 0 if shared is None else -shared.shape.size

    kept: list[Region | None] = list(regions)
    for first, last in sorted(pairs, key=border):
        one, other = kept[first], kept[last]
        seen = None if one is None or other is None else _seen(one, other, grids)
        if other is not None and seen is not None:
            part = trim(other.window, seen, known[other.scene])
            kept[last] = None if part is None else Region(other.scene, part, other.split)
    return [region for region in kept if region is not None]


def _seen(one: Region, other: Region, grids: Mapping[str, Grid]) -> Window | None:
    """The ground of a region in the pixels of another's scene."""
    return one.window if one.scene == other.scene else seen_from(grids[other.scene], grids[one.scene].at(one.window))


def joined(regions: Sequence[Region]) -> list[Region]:
    """Regions of one scene and split that form a rectangle together become one: along rows, then along columns."""
    rows = _joined(regions, lambda window: (window.row, window.row_stop), lambda window: window.col)
    return _joined(rows, lambda window: (window.col, window.col_stop), lambda window: window.row)


def overlaps(regions: Sequence[Region], scenes: Sequence[Scene]) -> list[tuple[Region, Region]]:
    """Pairs of regions of different splits that show the same ground."""
    return list(overlapping(regions, scenes))


def overlapping(regions: Sequence[Region], scenes: Sequence[Scene]) -> Iterator[tuple[Region, Region]]:
    """The same pairs, one after the other: the first is known long before the last."""
    grids = {scene.id: scene.grid for scene in scenes}
    for first, last in _close(regions, scenes, 0.0):
        one, other = regions[first], regions[last]
        seen = one.window if one.scene == other.scene else seen_from(grids[other.scene], grids[one.scene].at(one.window))
        if seen is not None and seen.intersect(other.window) is not None:
            yield one, other


def least_distance(regions: Sequence[Region], scenes: Sequence[Scene], *, one: str = "train", other: str = "test") -> float | None:
    """Metres between the nearest regions of two splits; None where one of them is empty."""
    found = [_gap(places, shapes, regions, one, other) for places, shapes in _frames(regions, scenes)]
    return min((gap for gap in found if gap is not None), default=None)


def usual_pixel(scenes: Sequence[Scene]) -> float:
    """Metres a pixel, as most scenes have it."""
    return float(np.median([max(pixel_metres(scene.grid)) for scene in scenes]))


def _joined(regions: Sequence[Region], span: Callable[[Window], tuple[int, int]], start: Callable[[Window], int]) -> list[Region]:
    lines: dict[tuple[str, str, tuple[int, int]], list[Region]] = {}
    for region in regions:
        lines.setdefault((region.scene, region.split, span(region.window)), []).append(region)
    found: list[Region] = []
    for line in lines.values():
        ordered = sorted(line, key=lambda region: start(region.window))
        found.append(ordered[0])
        for region in ordered[1:]:
            both = _union(found[-1].window, region.window)
            whole = both.shape.size == found[-1].window.shape.size + region.window.shape.size
            found[-1:] = [Region(region.scene, both, region.split)] if whole else [found[-1], region]
    return found


def _union(one: Window, other: Window) -> Window:
    row, col = min(one.row, other.row), min(one.col, other.col)
    return Window(row, col, Shape(max(one.row_stop, other.row_stop) - row, max(one.col_stop, other.col_stop) - col))


def _close(regions: Sequence[Region], scenes: Sequence[Scene], distance: float) -> list[tuple[int, int]]:
    """Pairs of regions of different splits within a distance in metres."""
    splits = np.array([region.split for region in regions])
    found = []
    for places, shapes in _frames(regions, scenes):
        numbers = np.array(places)
        pairs = neighbours(shapes, distance, marks=splits[numbers])
        found += [(places[one], places[other]) for one, other in pairs]
    return found


def _frames(regions: Sequence[Region], scenes: Sequence[Scene]) -> Iterator[tuple[list[int], list[Polygon]]]:
    """Regions that can be compared: which, and their footprints, in metres. A scene without a CRS is alone."""
    from shapely import total_bounds, transform

    grids = {scene.id: scene.grid for scene in scenes}
    groups: dict[str, list[int]] = {}
    for place, region in enumerate(regions):
        groups.setdefault("" if grids[region.scene].crs else region.scene, []).append(place)
    for places in groups.values():
        shapes, crs = footprints([grids[regions[place].scene].at(regions[place].window) for place in places])
        _, bottom, _, top = total_bounds(shapes)
        scale = np.array(metres(crs, float(bottom), float(top)))
        yield places, list(transform(shapes, lambda points, by=scale: points * by))


def _gap(places: list[int], shapes: list[Polygon], regions: Sequence[Region], one: str, other: str) -> float | None:
    from shapely import STRtree

    sides = {split: [shape for place, shape in zip(places, shapes, strict=True) if regions[place].split == split] for split in (one, other)}
    if not sides[one] or not sides[other]:
        return None
    _, distances = STRtree(sides[one]).query_nearest(np.array(sides[other], object), return_distance=True, all_matches=False)
    return float(distances.min())
