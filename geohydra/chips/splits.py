"""Which ground is for learning, which for choosing, which for testing: rectangles of scenes that keep apart."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from geohydra.build import near
from geohydra.chips.apart import joined, keep_apart, overlapping, overlaps, usual_pixel
from geohydra.chips.content import Content
from geohydra.chips.footprint import clusters
from geohydra.chips.index import SPLITS, Region
from geohydra.chips.lattice import cut
from geohydra.chips.strata import share_out
from geohydra.errors import DataError
from geohydra.types import Scene, Shape, Window

Fraction = Annotated[float, Field(ge=0, lt=1)]
Length = Annotated[float, Field(gt=0)]
Gap = Annotated[float, Field(ge=0)]
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
        self._named, self._fractions = named_or_shared(val=val, test=test)

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if split in self._fractions or split in self._named)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:  # noqa: ARG002
        named = matched([scene.id for scene in scenes], self._named, what="scene")
        free = [scene for scene in scenes if scene.id not in named]
        hint = "give lists of scene ids, or split inside of scenes with chip/split=blocks"
        return whole_scenes(scenes, named | share_scenes(free, self._fractions, content, seed, hint=hint))


class Blocks:
    """Spatial blocks of about `size`, metres or pixels; a scene smaller than a block goes whole, by where its centre lies.

    Without a size: as large as still gives two dozen blocks, at most eight chips wide. `buffer`, in the same unit,
    is left unused around what is for choosing and testing. Ground that several scenes show is in one split.
    """

    def __init__(
        self,
        *,
        size: Length | None = None,
        unit: Literal["m", "px"] = "m",
        val: Fraction = 0.15,
        test: Fraction = 0.15,
        buffer: Gap = 0.0,
    ) -> None:
        self.size, self.unit, self.buffer = size, unit, buffer
        self._fractions = fractions(val=val, test=test)

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(self._fractions)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:
        parts = block_parts(scenes, chip, self.size, self.unit)
        hint = "choose a smaller chip.split.size, or smaller chips" if self.size else "choose smaller chips, or split by scene"
        chosen = shared(parts, self._fractions, content, seed, hint=hint)
        return divided(parts, chosen, scenes, gap=self.buffer, unit=self.unit)


_ENOUGH = 24

_TOLD = 5
"""Pairs of scenes that overlap, named at most."""


def block_parts(scenes: Sequence[Scene], chip: Shape, size: float | None, unit: str) -> list[Part]:
    """Blocks of a size, or of the largest that gives enough of them. Raises DataError where no chip fits into one."""
    side = max(chip.rows, chip.cols)
    pixel = usual_pixel(scenes)
    if size is None:
        tries = [cut(scenes, side * pixel * factor) for factor in (8, 6, 4, 3, 2, 1)]
        enough = [parts for parts in tries if len(parts) >= _ENOUGH]
        return enough[0] if enough else max(tries, key=len)
    pixels = size if unit == "px" else size / pixel
    if pixels < side * (1 - 1e-6) and any(min(scene.grid.shape.rows, scene.grid.shape.cols) > side for scene in scenes):
        problem = f"blocks of {size:g} {unit} are {pixels:.0f} pixels, too small for chips of {side}"
        raise DataError("chip.split.size", problem, f"take {side * pixel if unit == 'm' else side:.4g} or more")
    return cut(scenes, size if unit == "m" else size * pixel)


def scene_parts(scenes: Sequence[Scene]) -> list[Part]:
    """Whole scenes; those that share more than the blur of a border are one part."""
    regions = [Region(scene.id, whole(scene), str(place)) for place, scene in enumerate(scenes)]
    pairs = [(int(one.split), int(other.split)) for one, other in overlaps(regions, scenes)]
    return [[(scenes[place].id, whole(scenes[place])) for place in group] for group in clusters(len(scenes), pairs)]


def share_scenes(scenes: Sequence[Scene], wanted: Mapping[str, float], content: Content, seed: int, *, hint: str) -> dict[str, str]:
    """A split for each scene, by fractions of the ground."""
    parts = scene_parts(scenes)
    chosen = shared(parts, wanted, content, seed, hint=hint)
    return {scene: split for part, split in zip(parts, chosen, strict=True) for scene, _ in part}


def parts_told(count: int) -> str:
    """Scenes that overlap are one part of the ground."""
    return f"{count} part{'s' if count > 1 else ''} of the ground"


def shared(parts: Sequence[Part], wanted: Mapping[str, float], content: Content, seed: int, *, hint: str) -> list[str]:
    """A split for each part, by fractions of the ground and of every class."""
    if len(wanted) == 1 or not parts:
        return [next(iter(wanted))] * len(parts)
    if len(parts) < len(wanted):
        raise DataError("chip.split", f"{parts_told(len(parts))} cannot give {', '.join(wanted)}", hint)
    weights = np.array([np.sum([content.weights(scene, window) for scene, window in part], axis=0) for part in parts])
    return share_out(weights, wanted, seed=seed)


def divided(parts: Sequence[Part], chosen: Sequence[str], scenes: Sequence[Scene], *, gap: float, unit: str) -> Division:
    """Regions of parts whose splits are known, cut back until they keep apart."""
    regions = [Region(scene, window, split) for part, split in zip(parts, chosen, strict=True) for scene, window in part]
    kept = keep_apart(regions, scenes, gap=gap, unit=unit)
    lost = sum(region.window.shape.size for region in regions) - sum(region.window.shape.size for region in kept)
    return Division(tuple(joined(kept)), (f"{lost} pixels lie between splits and are in none.",) if lost else ())


def whole_scenes(scenes: Sequence[Scene], splits: Mapping[str, str]) -> Division:
    """A region for every scene that has a split."""
    regions = tuple(Region(scene.id, whole(scene), splits[scene.id]) for scene in scenes if scene.id in splits)
    notes = [
        f"The scenes {one.scene} ({one.split}) and {other.scene} ({other.split}) show the same ground: scores may be too good."
        for one, other in islice(overlapping(regions, scenes), _TOLD)
    ]
    return Division(regions, tuple(notes))


def whole(scene: Scene) -> Window:
    """All pixels of a scene."""
    return Window(0, 0, scene.grid.shape)


def fractions(**given: float) -> dict[str, float]:
    """With what is left for training, in the order of the splits; those of nothing left out."""
    if sum(given.values()) >= 1:
        raise ValueError(f"val and test together take {sum(given.values()):g} of the ground and leave nothing for training")
    known = {"train": 1 - sum(given.values())} | given
    return {split: known[split] for split in SPLITS if known.get(split, 0) > 0}


def named_or_shared(*, val: float | list[str], test: float | list[str]) -> tuple[dict[str, list[str]], dict[str, float]]:
    """The lists among what is asked for, and the fractions."""
    given = {"val": val, "test": test}
    named = {split: names for split, names in given.items() if isinstance(names, list)}
    return named, fractions(**{split: share for split, share in given.items() if not isinstance(share, list)})


def matched(known: Iterable[str], named: Mapping[str, list[str]], *, what: str) -> dict[str, str]:
    """The split of each known name that a list of names and `*` patterns holds."""
    found: dict[str, str] = {}
    ids = list(known)
    for split, patterns in named.items():
        for pattern in patterns:
            names = fnmatch.filter(ids, pattern)
            if not names:
                raise DataError(f"chip.split.{split}", f"no {what} is called {pattern!r}", near(pattern, ids[:20]))
            for name in names:
                if found.setdefault(name, split) != split:
                    raise DataError(f"chip.split.{split}", f"{what} {name!r} is named for {found[name]} and for {split}")
    return found
