"""Windows put together to rows, in the memory of one row of windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geohydra.raster.windows import Blend, WindowPlan, shares
from geohydra.types import Shape, Window


class StripMosaic:
    """Takes windows row by row, as `WindowPlan` lists them, and gives rows that no later window touches.

    With `blend="none"` pixels are only copied, of any dtype; else they are summed with weights that add up to 1.
    """

    def __init__(
        self, shape: Shape, channels: int, window: Shape, stride: Shape, blend: Blend = "none", *, dtype: DTypeLike = np.float32
    ) -> None:
        self.plan = WindowPlan(shape, window, stride)
        self._rows = shares(self.plan.row_starts, window.rows, shape.rows, blend)
        self._cols = shares(self.plan.col_starts, window.cols, shape.cols, blend)
        self._expected = deque(self.plan.row_starts)
        self._waiting = deque(self.plan.col_starts)
        self._done: deque[tuple[int, NDArray[Any]]] = deque()
        self._first = 0
        self._new = (channels, window.rows, shape.cols)
        self._strip: NDArray[Any] = np.zeros(self._new, dtype)

    def add(self, window: Window, values: NDArray[Any]) -> None:
        """The values `(channel, row, col)` of the next window; what lies outside the image is not looked at."""
        if not self._expected or (window.row, window.col) != (self._expected[0], self._waiting[0]):
            raise ValueError(f"{window} is not the next window of this image")
        rows, row_weights = self._rows[window.row]
        cols, col_weights = self._cols[window.col]
        down, across = window.row - self._first, window.col
        target = self._strip[:, rows.start + down : rows.stop + down, cols.start + across : cols.stop + across]
        if row_weights is None or col_weights is None:
            target[:] = values[:, rows, cols]
        else:
            target += values[:, rows, cols] * (row_weights[:, None] * col_weights)
        self._waiting.popleft()
        if not self._waiting:
            self._close_row()

    def finished(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """First row and values `(channel, row, col)` of rows that are complete, each once, from the top."""
        while self._done:
            yield self._done.popleft()

    def _close_row(self) -> None:
        """Give away the rows above the next window, and keep the others."""
        self._expected.popleft()
        self._waiting.extend(self.plan.col_starts)
        stop = self._expected[0] if self._expected else self.plan.image.rows
        count = stop - self._first
        self._done.append((self._first, self._strip[:, :count]))
        kept = self._strip[:, count:]
        self._strip = np.zeros(self._new if self._expected else (0, 0, 0), self._strip.dtype)
        if self._expected:
            self._strip[:, : kept.shape[1]] = kept
        self._first = stop
