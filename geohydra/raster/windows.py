"""Which windows a scene is predicted in, and how much each counts where they overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geohydra.types import Shape, Window, tile_windows

Blend = Literal["none", "linear", "hann"]
"""How windows share the pixels in which they overlap: "none" takes each from the window whose middle is nearest, "linear" and
"hann" fade from one to the other along a straight line or half a cosine."""


def stride_of(size: Shape, overlap: float) -> Shape:
    """The stride of windows that overlap by a share of their size, 0 <= overlap < 1."""
    if not 0 <= overlap < 1:
        raise ValueError(f"windows overlap by at least 0 and less than 1 of their size, not {overlap}")
    return Shape(max(1, round(size.rows * (1 - overlap))), max(1, round(size.cols * (1 - overlap))))


@dataclass(frozen=True)
class WindowPlan:
    """Windows of one size that together cover an image, as `geohydra.types.tile_windows` lists them."""

    image: Shape
    size: Shape
    stride: Shape

    def __post_init__(self) -> None:
        if self.stride.rows > self.size.rows or self.stride.cols > self.size.cols:
            raise ValueError(f"a stride of {self.stride} leaves gaps between windows of {self.size}")

    @cached_property
    def row_starts(self) -> tuple[int, ...]:
        """First rows of the windows, from the top."""
        line = tile_windows(Shape(self.image.rows, 1), Shape(self.size.rows, 1), Shape(self.stride.rows, 1))
        return tuple(window.row for window in line)

    @cached_property
    def col_starts(self) -> tuple[int, ...]:
        """First columns of the windows, from the left."""
        line = tile_windows(Shape(1, self.image.cols), Shape(1, self.size.cols), Shape(1, self.stride.cols))
        return tuple(window.col for window in line)

    @property
    def total(self) -> int:
        """Number of windows."""
        return len(self.row_starts) * len(self.col_starts)

    @property
    def overlapping(self) -> bool:
        """Whether any pixel lies in more than one window."""
        pairs = ((self.row_starts, self.size.rows), (self.col_starts, self.size.cols))
        return any(start < before + size for starts, size in pairs for before, start in pairwise(starts))

    def strips(self) -> Iterator[tuple[Window, tuple[Window, ...]]]:
        """Row by row: the window over the whole width that is worth reading at once, and the windows in it.

        Where the image is narrower than a window, the strip is as wide as the window.
        """
        width = max(self.image.cols, self.size.cols)
        for row in self.row_starts:
            yield Window(row, 0, Shape(self.size.rows, width)), tuple(Window(row, col, self.size) for col in self.col_starts)


Shares = Mapping[int, tuple[slice, NDArray[np.float32] | None]]
"""Along one axis, for the window that starts at a pixel: which of its pixels count, and with what weight (None: 1)."""


def shares(starts: tuple[int, ...], size: int, length: int, blend: Blend) -> Shares:
    """Weights along one axis that add up to 1 in every pixel."""
    if blend == "none":
        return _nearest(starts, size, length)
    ramps = {start: _ramp(starts, place, size, length, blend) for place, start in enumerate(starts)}
    total = np.zeros(length, np.float64)
    for start, ramp in ramps.items():
        total[start : start + ramp.size] += ramp
    normal = {start: (ramp / total[start : start + ramp.size]).astype(np.float32) for start, ramp in ramps.items()}
    return {start: (slice(0, weight.size), weight) for start, weight in normal.items()}


def _nearest(starts: tuple[int, ...], size: int, length: int) -> Shares:
    bounds = [0, *((before + size + start) // 2 for before, start in pairwise(starts)), length]
    return {start: (slice(bounds[place] - start, bounds[place + 1] - start), None) for place, start in enumerate(starts)}


def _ramp(starts: tuple[int, ...], place: int, size: int, length: int, blend: Blend) -> NDArray[np.float64]:
    """1 in the middle, and falling towards a neighbour where it overlaps with this window; never 0."""
    start = starts[place]
    rows = min(size, length - start)
    left = starts[place - 1] + size - start if place else 0
    right = start + size - starts[place + 1] if place + 1 < len(starts) else 0
    inside = np.arange(rows) + 0.5
    ramp = np.minimum(inside / left if left > 0 else 1.0, (rows - inside) / right if right > 0 else 1.0)
    return np.asarray(_faded(np.clip(ramp, 0, 1), blend) * np.ones(rows))


def _faded(ramp: NDArray[np.float64], blend: Blend) -> NDArray[np.float64]:
    return ramp if blend == "linear" else np.sin(ramp * np.pi / 2) ** 2
