"""Reading a scene in blocks of windows, normalised, ahead of the network.

Places are counted in what the network answers for: pixels, or cells of several pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.strips import Panel, rolling_image
from geohydra.raster.read import gdal_env
from geohydra.raster.series import ImageReader, Series, SeriesReader, SteppedReader, like, open_pixels
from geohydra.raster.windows import WindowPlan
from geohydra.task import Trained
from geohydra.types import PIXEL, Image, Scene, Shape, Window

_LONGEST = 4096
"""Columns that are read at once: memory for pixels does not grow with wider scenes."""

_HELD = 1 << 30
"""Bytes of a series that are kept from one row of windows to the next, at most, so that no block of a file is read twice."""


Watch = Callable[[Window, Image | Series], None]
"""Is shown what is read, window by window: from the top, from the left, some pixels again where windows overlap."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Neighbouring windows of one row of windows: `cols` are their places, `left` is the first column, in cells.

    `pixels` float32 `(band, row, col)` are padded to a whole window, None where nothing is valid; `valid` `(row, col)` tells of
    cells in which a pixel is valid, and is not padded. Of a series bands are planes, see `geohydra.raster.planes`.
    """

    row: int
    cols: range
    left: int
    pixels: NDArray[np.float32] | None
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """Some windows of a block, by their places; none, once, of a block in which nothing was measured. The block is without pixels."""

    block: Block
    places: list[int]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some windows, float32 `(n, band, row, col)`, and where they lie, in the same order; None where there is none."""

    parts: list[Part]
    pixels: NDArray[np.float32] | None


def scan(
    scene: Scene, trained: Trained, plan: WindowPlan, *, size: int, cell: Shape = PIXEL, watch: Watch | None = None
) -> Iterator[Batch]:
    """All that is to be predicted of a scene: block after block, in batches of so many windows."""
    with closing(blocks(scene, trained, plan, cell, watch=watch)) as found:
        yield from batches(((block, windows(block, plan, cell)) for block in found), size)


def blocks(
    scene: Scene, trained: Trained, plan: WindowPlan, cell: Shape = PIXEL, *, watch: Watch | None = None
) -> Generator[Block, None, None]:
    """All windows of a scene, from the top, from the left; every pixel of a row of windows is read once."""
    longest = min(_LONGEST, 4 * _LONGEST // len(scene.times)) if scene.series else _LONGEST
    runs = groups(plan.col_starts, plan.size.cols, longest=max(1, longest // cell.cols))
    rows = min(plan.size.rows, plan.image.rows)
    with gdal_env(), open_pixels(scene, bands=trained.bands) as reader:
        read = _once(reader, scene, plan) if cell == PIXEL else reader.read
        for place, top in enumerate(plan.row_starts):
            for run in runs:
                left, stop = plan.col_starts[run[0]], min(plan.col_starts[run[-1]] + plan.size.cols, plan.image.cols)
                window = Window(top, left, Shape(rows, stop - left)).times(cell)
                image = read(window)
                if watch is not None:
                    watch(window, image)
                whole = Window(0, 0, plan.size).times(cell).shape
                measured = image.measured
                pixels = _padded(trained.normalise(_seen(image)), whole) if measured.any() else None
                yield Block(place, run, left, pixels, _by_cell(measured, cell))


def series_windows(scene: Scene, bands: Sequence[str], *, size: int) -> Iterator[tuple[Window, Series]]:
    """All dates of a scene, window by window from the top, from the left, without overlap."""
    shape = Shape(min(size, scene.grid.shape.rows), min(size, scene.grid.shape.cols))
    plan = WindowPlan(scene.grid.shape, shape, shape)
    with gdal_env(), open_pixels(scene, bands=bands) as reader:
        read = _once(reader, scene, plan)
        for row in plan.row_starts:
            for col in plan.col_starts:
                window = Window(row, col, shape)
                image = read(window)
                if isinstance(image, Series):
                    yield window, image


def _once(reader: ImageReader | SeriesReader | SteppedReader, scene: Scene, plan: WindowPlan) -> Callable[[Window], Image | Series]:
    """How windows are read: of a series by its blocks, and rows that two windows share are kept, where memory allows it."""
    if not isinstance(reader, SeriesReader | SteppedReader):
        return reader.read
    rows = reader.block.rows
    line = len(reader.times) * len(reader.bands) * reader.dtype.itemsize * scene.grid.shape.cols
    if line * (plan.size.rows + rows) > _HELD:
        return reader.read
    return rolling_image(reader.read, Panel(0, scene.grid.shape.cols, rows, scene.grid.shape.rows), make=like(reader))


def _seen(image: Image | Series) -> Image | Series:
    return image.seen() if isinstance(image, Series) else image


def groups(starts: Sequence[int], size: int, *, longest: int) -> list[range]:
    """Runs of neighbouring windows that together are no longer than this, and hold one window at least."""
    runs: list[range] = []
    first = 0
    for place in range(1, len(starts) + 1):
        if place == len(starts) or starts[place] + size - starts[first] > longest:
            runs.append(range(first, place))
            first = place
    return runs


def windows(block: Block, plan: WindowPlan, cell: Shape = PIXEL) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Place and pixels of each window of a block that holds a valid pixel."""
    if block.pixels is None:
        return
    for place in block.cols:
        left = plan.col_starts[place] - block.left
        if block.valid[:, left : left + plan.size.cols].any():
            yield place, block.pixels[:, :, left * cell.cols : (left + plan.size.cols) * cell.cols]


def batches(pieces: Iterable[tuple[Block, Iterable[tuple[int, NDArray[np.float32]]]]], size: int) -> Iterator[Batch]:
    """Windows of blocks, so many at a time: those that are left of one block go with the first of the next. There are fewer before a
    block without any, before one with other planes (a series shows the dates that were measured), and at the end. In memory the band is
    the fastest axis, as networks like it."""
    parts: list[Part] = []
    buffer, count = np.empty((0, 0, 0, 0), np.float32), 0
    for block, own in pieces:
        light = replace(block, pixels=None)  # a batch that waits shall not keep all of a block
        planes = 0 if block.pixels is None else len(block.pixels)
        if count and planes != buffer.shape[-1]:
            yield Batch(parts, buffer[:count].transpose(0, 3, 1, 2))
            parts, count = [], 0
        part = Part(light, [])
        if not planes:
            yield Batch([part], None)
        for place, pixels in own:
            if not count:
                buffer = np.empty((size, *pixels.shape[1:], planes), np.float32)
            if not part.places:
                parts.append(part)
            buffer[count] = pixels.transpose(1, 2, 0)
            part.places.append(place)
            count += 1
            if count == size:
                yield Batch(parts, buffer.transpose(0, 3, 1, 2))
                part, parts, count = Part(light, []), [], 0
    if count:
        yield Batch(parts, buffer[:count].transpose(0, 3, 1, 2))


def _by_cell(valid: NDArray[np.bool_], cell: Shape) -> NDArray[np.bool_]:
    """Whether any pixel of a cell is valid."""
    if cell == PIXEL:
        return valid
    rows, cols = valid.shape[0] // cell.rows, valid.shape[1] // cell.cols
    return np.asarray(valid.reshape(rows, cell.rows, cols, cell.cols).any((1, 3)))


def _padded(pixels: NDArray[np.float32], size: Shape) -> NDArray[np.float32]:
    """Mirrored at the lower and right edge, where a scene is smaller than a window."""
    below, beside = max(0, size.rows - pixels.shape[1]), max(0, size.cols - pixels.shape[2])
    return np.pad(pixels, ((0, 0), (0, below), (0, beside)), mode="reflect") if below or beside else pixels
