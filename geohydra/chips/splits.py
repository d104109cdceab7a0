"""Which ground is for learning, which for choosing, which for testing: rectangles of scenes that keep apart."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from geohydra.build import near
from geohydra.chips.content import Content
from geohydra.chips.footprint import clusters, footprints, metres, neighbours, pixel_metres, seen_from, trim
from geohydra.chips.index import SPLITS, Region
from geohydra.chips.lattice import cut
from geohydra.chips.strata import share_out
from geohydra.errors import DataError
from geohydra.types import Scene, Shape, Window

if TYPE_CHECKING:
    from shapely import Polygon

Fraction = Annotated[float, Field(ge=0, lt=1)]
Part = list[tuple[str, Window]]
"""Windows of scenes that go into one split together."""


@dataclass(frozen=True, slots=True)
class Division:
    """Regions by scene, and sentences that a reader of the report should know."""

    regions: tuple[Region, ...]
    notes: tuple[str, ...] = ()


@runtime_checkable
class Split(Protocol):
    """A way to divide ground, by config."""

    @property
    def asked(self) -> tuple[str, ...]:
        """The splits that must not stay empty."""

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:
        """Regions of the scenes. Raises DataError where a split that is asked for cannot have any."""


class ByScene:
    """Whole scenes: a fraction of them at random, or those whose ids match a list of names and `*` patterns.

    Fractions count ground and are balanced over classes; scenes that overlap go together. `val=0` or `test=0`
    leaves a split out. Scenes that no list names are shared out, or are for training where both are lists.
    """

    def __init__(self, *, val: Fraction | list[str] = 0.15, test: Fraction | list[str] = 0.15) -> None:
        self._named = {split: names for split, names in (("val", val), ("test", test)) if isinstance(names, list)}
        self._fractions = _fractions(**{key: value for key, value in (("val", val), ("test", test)) if isinstance(value, float | int)})

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if split in self._fractions or split in self._named)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:  # noqa: ARG002
        named = _matched(scenes, self._named)
        free = [scene for scene in scenes if scene.id not in named]
        parts = [[(free[place].id, _whole(free[place])) for place in group] for group in clusters(len(free), _overlapping(free))]
        chosen = _shared(parts, self._fractions, content, seed, hint="give lists of scene ids, or split inside scenes with Blocks")
        found = named | {scene: split for part, split in zip(parts, chosen, strict=True) for scene, _ in part}
        regions = tuple(Region(scene.id, _whole(scene), found[scene.id]) for scene in scenes)
        return Division(regions, tuple(_overlap_notes(regions, scenes)))


class Blocks:
    """Spatial blocks of about `size`, metres or pixels; a scene smaller than a block goes whole, by where its centre lies.

    Without a size: as large as still gives two dozen blocks, at most eight chips wide. `buffer`, in the same unit,
    is left unused around what is for choosing and testing. Ground that several scenes show is in one split.
    """

    def __init__(
        self,
        *,
        size: Annotated[float, Field(gt=0)] | None = None,
        unit: Literal["m", "px"] = "m",
        val: Fraction = 0.15,
        test: Fraction = 0.15,
        buffer: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        self.size, self.unit, self.buffer = size, unit, buffer
        self._fractions = _fractions(val=val, test=test)

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(self._fractions)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:
        self._refuse_small(scenes, chip)
        parts = self._parts(scenes, chip)
        hint = "choose a smaller chip.split.size, or smaller chips" if self.size else "choose smaller chips, or split by scene"
        chosen = _shared(parts, self._fractions, content, seed, hint=hint)
        whole = [Region(scene, window, split) for part, split in zip(parts, chosen, strict=True) for scene, window in part]
        regions = keep_apart(whole, scenes, gap=self.buffer, unit=self.unit)
        lost = sum(region.window.shape.size for region in whole) - sum(region.window.shape.size for region in regions)
        notes = [f"{lost} pixels lie between splits and are in none."] if lost else []
        return Division(tuple(joined(regions)), tuple(notes))

    def _refuse_small(self, scenes: Sequence[Scene], chip: Shape) -> None:
        pixels = np.inf if self.size is None else self.size if self.unit == "px" else self.size / _pixel(scenes)
        side = max(chip.rows, chip.cols)
        if pixels < side * (1 - 1e-6) and any(min(scene.grid.shape.rows, scene.grid.shape.cols) > side for scene in scenes):
            problem = f"blocks of {self.size:g} {self.unit} are {pixels:.0f} pixels, too small for chips of {side}"
            raise DataError("chip.split.size", problem, f"take {side * _pixel(scenes) if self.unit == 'm' else side:.4g} or more")

    def _parts(self, scenes: Sequence[Scene], chip: Shape) -> list[Part]:
        if self.size is not None:
            return cut(scenes, self.size if self.unit == "m" else self.size * _pixel(scenes))
        side = max(chip.rows, chip.cols) * _pixel(scenes)
        tries = [cut(scenes, side * factor) for factor in (8, 6, 4, 3, 2, 1)]
        enough = [parts for parts in tries if len(parts) >= _ENOUGH]
        return enough[0] if enough else max(tries, key=len)


_ENOUGH = 24


def keep_apart(regions: Sequence[Region], scenes: Sequence[Scene], *, gap: float, unit: str) -> list[Region]:
    """Cut back what is for choosing and testing, until no ground is in two splits and gaps are as wide as asked."""
    grids = {scene.id: scene.grid for scene in scenes}
    spare = {"test": 1, "val": 2}
    kept: list[Region | None] = list(regions)
    for pair in _close(regions, scenes, gap if unit == "m" else gap * _pixel(scenes)):
        first, last = sorted(pair, key=lambda place: spare.get(regions[place].split, 0))
        one, other = kept[first], kept[last]
        if one is None or other is None or one.split == other.split:
            continue
        grid = grids[other.scene]
        seen = one.window if one.scene == other.scene else seen_from(grid, grids[one.scene].at(one.window))
        if seen is not None:
            pixels = gap if unit == "px" else gap / min(pixel_metres(grid))
            part = trim(other.window, seen, int(np.ceil(pixels - 1e-6)))
            kept[last] = None if part is None else Region(other.scene, part, other.split)
    return [region for region in kept if region is not None]


def joined(regions: Sequence[Region]) -> list[Region]:
    """Regions of one scene and split that form a rectangle together become one: along rows, then along columns."""
    rows = _joined(regions, lambda window: (window.row, window.row_stop), lambda window: window.col)
    return _joined(rows, lambda window: (window.col, window.col_stop), lambda window: window.row)


def overlaps(regions: Sequence[Region], scenes: Sequence[Scene]) -> list[tuple[Region, Region]]:
    """Pairs of regions of different splits that show the same ground."""
    grids = {scene.id: scene.grid for scene in scenes}
    found = []
    for first, last in _close(regions, scenes, 0.0):
        one, other = regions[first], regions[last]
        if one.split == other.split:
            continue
        seen = one.window if one.scene == other.scene else seen_from(grids[other.scene], grids[one.scene].at(one.window))
        if seen is not None and seen.intersect(other.window) is not None:
            found.append((one, other))
    return found


def least_distance(regions: Sequence[Region], scenes: Sequence[Scene], *, one: str = "train", other: str = "test") -> float | None:
    """Metres between the nearest regions of two splits; None where one of them is empty."""
    found = [_gap(places, shapes, regions, one, other) for places, shapes in _frames(regions, scenes)]
    return min((gap for gap in found if gap is not None), default=None)


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


def _fractions(**given: float) -> dict[str, float]:
    """With what is left for training, in the order of the splits; those of nothing left out."""
    if sum(given.values()) >= 1:
        raise ValueError(f"val and test together take {sum(given.values()):g} of the ground and leave nothing for training")
    known = {"train": 1 - sum(given.values())} | given
    return {split: known[split] for split in SPLITS if known.get(split, 0) > 0}


def _matched(scenes: Sequence[Scene], named: Mapping[str, list[str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    ids = [scene.id for scene in scenes]
    for split, patterns in named.items():
        for pattern in patterns:
            names = fnmatch.filter(ids, pattern)
            if not names:
                raise DataError(f"chip.split.{split}", f"no scene is called {pattern!r}", near(pattern, ids[:20]))
            for name in names:
                if found.setdefault(name, split) != split:
                    raise DataError(f"chip.split.{split}", f"scene {name!r} is named for {found[name]} and for {split}")
    return found


def _shared(parts: Sequence[Part], fractions: Mapping[str, float], content: Content, seed: int, *, hint: str) -> list[str]:
    if len(fractions) == 1 or not parts:
        return [next(iter(fractions))] * len(parts)
    if len(parts) < len(fractions):
        raise DataError("chip.split", f"{len(parts)} parts of the ground cannot give {', '.join(fractions)}", hint)
    weights = np.array([np.sum([content.weights(scene, window) for scene, window in part], axis=0) for part in parts])
    return share_out(weights, fractions, seed=seed)


def _whole(scene: Scene) -> Window:
    return Window(0, 0, scene.grid.shape)


def _pixel(scenes: Sequence[Scene]) -> float:
    """Metres a pixel, as most scenes have it."""
    return float(np.median([max(pixel_metres(scene.grid)) for scene in scenes]))


def _overlapping(scenes: Sequence[Scene]) -> list[tuple[int, int]]:
    """Pairs of scenes that share more than the blur of a border."""
    regions = [Region(scene.id, _whole(scene), str(place)) for place, scene in enumerate(scenes)]
    return [(int(one.split), int(other.split)) for one, other in overlaps(regions, scenes)]


def _overlap_notes(regions: Sequence[Region], scenes: Sequence[Scene]) -> list[str]:
    return [
        f"The scenes {one.scene} ({one.split}) and {other.scene} ({other.split}) show the same ground: scores may be too good."
        for one, other in overlaps(regions, scenes)
    ]


def _close(regions: Sequence[Region], scenes: Sequence[Scene], distance: float) -> list[tuple[int, int]]:
    """Pairs of regions within a distance in metres."""
    found = []
    for places, shapes in _frames(regions, scenes):
        found += [(places[one], places[other]) for one, other in neighbours(shapes, distance)]
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
