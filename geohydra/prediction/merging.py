"""Strips of a map from the answers of overlapping windows.

Block by block, so that wide arrays hold finished bytes only, and sums of probabilities for the rows that the next windows touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra.prediction.decision import LEVELS, Deciding, encode
from geohydra.prediction.uncertainty import MOST
from geohydra.raster.windows import WindowPlan, shares

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Strip:
    """Finished rows: answers `([layer,] row, col)`, such as class ids, and where wanted probabilities `(class, row, col)` and how unsure
    the answers are `(row, col)`; not measured is 255, or NaN."""

    row: int
    labels: NDArray[Any]
    probabilities: NDArray[Any] | None
    uncertainty: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """What is made of a scene beside its answers: the dtype of probabilities, the kind of uncertainty and its dtype; or "none"."""

    probabilities: str = "none"
    kind: str = "none"
    uncertainty: str = "uint8"

    @property
    def spread(self) -> bool:
        """Whether outputs have a last plane with their variance."""
        return self.kind == "variance"

    def strip(self, decision: Deciding, row: int, shape: tuple[int, int]) -> Strip:
        """Rows of which nothing is known yet."""
        levels = None if self.probabilities == "none" else np.zeros((decision.classes, *shape), self.probabilities)
        doubts = None if self.kind == "none" else np.zeros(shape, self.uncertainty)
        answers = np.zeros(shape if decision.layers is None else (decision.layers, *shape), decision.dtype)
        return Strip(row, answers, levels, doubts)

    def doubts(self, decision: Deciding, probabilities: NDArray[np.float32]) -> NDArray[Any]:
        """How unsure answers `(row, col)` are, as written, from probabilities `(plane, row, col)`."""
        found = decision.measures[self.kind](probabilities)
        return found if self.uncertainty == "float32" else encode(found[None] / np.float32(MOST[self.kind]), "uint8")[0]


class Blending(Protocol):
    """How windows become pixels: goes through the rows of windows, and through each row block by block."""

    def rows(self, row: int) -> slice:
        """Rows of a row of windows that are finished once all of it is there; begins that row."""

    def open(self, run: range) -> None:
        """Begin a block: neighbouring windows by their places."""

    def add(self, strip: Strip, places: list[int], outputs: torch.Tensor) -> None:
        """Outputs `(n, class, row, col)` of windows of the block; windows may be left out where nothing was measured."""

    def close(self, strip: Strip) -> None:
        """End the block: all columns up to the next block are finished."""


class Central:
    """Each pixel from the window in whose middle it lies most; from the only one, where windows do not overlap."""

    def __init__(self, plan: WindowPlan, decision: Deciding, form: Form) -> None:
        self._plan, self._decision, self._form = plan, decision, form
        self._down = shares(plan.row_starts, plan.size.rows, plan.image.rows, "none")
        self._across = shares(plan.col_starts, plan.size.cols, plan.image.cols, "none")
        self._rows = slice(0, 0)

    def rows(self, row: int) -> slice:
        """See Blending."""
        self._rows = self._down[self._plan.row_starts[row]][0]
        return self._rows

    def open(self, run: range) -> None:
        """See Blending."""

    def add(self, strip: Strip, places: list[int], outputs: torch.Tensor) -> None:
        """See Blending."""
        labels = self._decision.labels(outputs)
        bare = strip.probabilities is None and strip.uncertainty is None
        chances = None if bare else self._decision.probabilities(outputs)
        for number, place in enumerate(places):
            start = self._plan.col_starts[place]
            cols = self._across[start][0]
            onto = slice(start + cols.start, start + cols.stop)
            strip.labels[..., onto] = labels[number, ..., self._rows, cols]
            if chances is not None:
                self._tell(strip, onto, chances[number, :, self._rows, cols])

    def close(self, strip: Strip) -> None:
        """See Blending."""

    def _tell(self, strip: Strip, cols: slice, chances: NDArray[np.float32]) -> None:
        if strip.probabilities is not None:
            strip.probabilities[:, :, cols] = encode(chances[: self._decision.classes], self._form.probabilities)
        if strip.uncertainty is not None:
            strip.uncertainty[:, cols] = self._form.doubts(self._decision, chances)


class Smooth:
    """Probabilities of overlapping windows, each faded out towards its edges, added up."""

    def __init__(self, plan: WindowPlan, decision: Deciding, form: Form) -> None:
        self._plan, self._decision, self._form = plan, decision, form
        self._down = shares(plan.row_starts, plan.size.rows, plan.image.rows, "hann")
        self._across = shares(plan.col_starts, plan.size.cols, plan.image.cols, "hann")
        self._height = min(plan.size.rows, plan.image.rows)
        self._row, self._done = 0, 0
        self._left, self._settled = 0, 0
        self._below = self._empty(0, plan.image.cols)
        self._above = self._below
        self._beside = self._empty(self._height, 0)
        self._sums = self._beside

    def rows(self, row: int) -> slice:
        """See Blending."""
        starts = (*self._plan.row_starts, self._plan.image.rows)
        self._row, self._done = row, starts[row + 1] - starts[row]
        self._above, self._below = self._below, self._empty(self._height - self._done, self._plan.image.cols)
        self._beside = self._empty(self._height, 0)
        return slice(0, self._done)

    def open(self, run: range) -> None:
        """See Blending: begin with what the windows above and to the left have left."""
        starts = (*self._plan.col_starts, self._plan.image.cols)
        self._left, self._settled = starts[run[0]], starts[run[-1] + 1]
        stop = min(starts[run[-1]] + self._plan.size.cols, self._plan.image.cols)
        self._sums = self._empty(self._height, stop - self._left)
        self._sums[:, :, : self._beside.shape[2]] = self._beside
        above = self._above[:, :, self._left : self._settled]
        self._sums[:, : above.shape[1], : above.shape[2]] += above

    def add(self, strip: Strip, places: list[int], outputs: torch.Tensor) -> None:  # noqa: ARG002
        """See Blending."""
        probabilities = self._decision.probabilities(outputs)
        rows, down = self._down[self._plan.row_starts[self._row]]
        for number, place in enumerate(places):
            start = self._plan.col_starts[place]
            cols, across = self._across[start]
            at = start - self._left
            target = self._sums[:, rows, at + cols.start : at + cols.stop]
            target += probabilities[number, :, rows, cols] * np.outer(_known(down), _known(across))

    def close(self, strip: Strip) -> None:
        """See Blending."""
        cols = slice(self._left, self._settled)
        finished, rest = np.split(self._sums[:, :, : self._settled - self._left], [self._done], axis=1)
        strip.labels[..., cols] = self._decision.choose(finished)
        if strip.probabilities is not None:
            strip.probabilities[:, :, cols] = encode(finished[: self._decision.classes], self._form.probabilities)
        if strip.uncertainty is not None:
            strip.uncertainty[:, cols] = self._form.doubts(self._decision, finished)
        self._below[:, :, cols] = rest
        self._beside = self._sums[:, :, self._settled - self._left :].copy()

    def _empty(self, rows: int, cols: int) -> NDArray[np.float32]:
        return np.zeros((self._decision.classes + self._form.spread, rows, cols), np.float32)


class Merger:
    """Puts blocks together to strips, and knows which pixels were measured."""

    def __init__(self, plan: WindowPlan, blending: Blending, decision: Deciding, form: Form) -> None:
        self._plan, self._blending = plan, blending
        self._decision, self._form = decision, form
        self._valid = np.zeros((min(plan.size.rows, plan.image.rows), plan.image.cols), bool)
        self._rows = slice(0, 0)
        self._strip = Strip(0, np.empty((0, 0), np.uint8), None)

    def open(self, row: int, run: range, valid: NDArray[np.bool_]) -> None:
        """Begin a block; `valid` tells which of its pixels `(row, col)` were measured."""
        if run[0] == 0:
            self._begin(row)
        left = self._plan.col_starts[run[0]]
        self._valid[:, left : left + valid.shape[1]] = valid
        self._blending.open(run)

    def add(self, places: list[int], outputs: torch.Tensor) -> None:
        """Outputs of some windows of the block; those left out hold nothing that was measured."""
        self._blending.add(self._strip, places, outputs)

    def close(self) -> None:
        """End the block."""
        self._blending.close(self._strip)

    def finish(self) -> Strip:
        """End the row of windows: the rows that no later window touches."""
        unknown = ~self._valid[self._rows]
        if unknown.any():
            self._strip.labels[..., unknown] = self._decision.unknown
            for values in (self._strip.probabilities, self._strip.uncertainty):
                if values is not None:
                    value = LEVELS + 1 if values.dtype == np.uint8 else np.nan
                    np.copyto(values, value, where=unknown, casting="unsafe")
        return self._strip

    def _begin(self, row: int) -> None:
        self._rows = self._blending.rows(row)
        shape = (self._rows.stop - self._rows.start, self._plan.image.cols)
        self._strip = self._form.strip(self._decision, self._plan.row_starts[row] + self._rows.start, shape)


def _known(weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if weights is None:
        raise ValueError("windows that fade have weights")
    return weights
