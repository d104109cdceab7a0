"""Windows that may become chips: a million of them in a few arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from geohydra.types import Shape, Window


@dataclass(frozen=True, slots=True)
class Candidate:
    """A window that may become a chip; `luck`, from 0 to 1, was drawn for it by its place."""

    scene: str
    window: Window
    split: str
    luck: float


class Candidates(Sequence[Candidate]):
    """Windows of one size in one scene. `candidates[i]` makes the i-th, `take` chooses some of them."""

    def __init__(
        self, scene: str, shape: Shape, rows: NDArray[np.int64], cols: NDArray[np.int64], splits: NDArray[Any], luck: NDArray[np.float64]
    ) -> None:
        self.scene, self.shape = scene, shape
        self.rows, self.cols, self.splits, self.luck = rows, cols, splits, luck

    @classmethod
    def of(cls, found: Sequence[Candidate]) -> Candidates:
        """The same from single ones, at least one and all of one scene and size."""
        if isinstance(found, Candidates):
            return found
        rows, cols = (np.array([getattr(one.window, name) for one in found], np.int64) for name in ("row", "col"))
        splits, luck = np.array([one.split for one in found]), np.array([one.luck for one in found])
        return cls(found[0].scene, found[0].window.shape, rows, cols, splits, luck)

    def take(self, chosen: NDArray[Any]) -> Candidates:
        """Those of some places, or those for which an array of bools is true."""
        return Candidates(self.scene, self.shape, self.rows[chosen], self.cols[chosen], self.splits[chosen], self.luck[chosen])

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Candidate: ...

    @overload
    def __getitem__(self, place: slice) -> Candidates: ...

    def __getitem__(self, place: int | slice) -> Candidate | Candidates:
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        window = Window(int(self.rows[place]), int(self.cols[place]), self.shape)
        return Candidate(self.scene, window, str(self.splits[place]), float(self.luck[place]))

    def __iter__(self) -> Iterator[Candidate]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(one == same for one, same in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]
