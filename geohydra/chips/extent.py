"""Where a scene shows anything: a frame of a moving camera is a small part of the ground that its sequence covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geohydra.chips.index import Region
from geohydra.raster.frames import shown
from geohydra.types import Scene, Shape, Window


def within_extent(scene: Scene, regions: Sequence[Region], *, size: int) -> list[Region]:
    """The parts of regions that a scene shows, no smaller than a chip where the region itself is not; all of them where the scene does not
    tell its extent."""
    extent = shown(scene)
    if extent is None:
        return list(regions)
    parts = ((region, region.window.intersect(extent)) for region in regions)
    return [replace(region, window=_roomy(part, region.window, size)) for region, part in parts if part is not None]


def _roomy(part: Window, whole: Window, size: int) -> Window:
    """A part grown to the size of a chip, inside the whole."""
    row, row_stop = _grown(part.row, part.row_stop, whole.row, whole.row_stop, size)
    col, col_stop = _grown(part.col, part.col_stop, whole.col, whole.col_stop, size)
    return Window(row, col, Shape(row_stop - row, col_stop - col))


def _grown(start: int, stop: int, lowest: int, highest: int, size: int) -> tuple[int, int]:
    first = max(lowest, min(start, highest - size))
    return first, min(highest, max(stop, first + size))
