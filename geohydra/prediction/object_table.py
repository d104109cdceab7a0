"""What is known of each object of a map, summed up strip by strip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.prediction.parts import LEAST, scores_of
from geohydra.raster.flooding import SEED


@dataclass(frozen=True, slots=True)
class Table:
    """What is known of each object; row 0 is none: `pixels`, square metres, the class id that most of its pixels have, and how
    probable an object is in its pixels, on average."""

    pixels: NDArray[np.int64]
    areas: NDArray[np.float64]
    classes: NDArray[np.uint8]
    scores: NDArray[np.float32]

    def take(self, places: NDArray[Any]) -> Table:
        """Some of them."""
        return Table(self.pixels[places], self.areas[places], self.classes[places], self.scores[places])


@dataclass(frozen=True, slots=True)
class Least:
    """What is smaller or less sure is no object."""

    area_m2: float = 0.0
    score: float = 0.0
    pixels: int = LEAST


EVERY = Least()


class Sums:
    """What is summed up over the pixels of objects, strip by strip: those of sure seeds first, then the others."""

    def __init__(self, seeds: int, classes: int, areas: NDArray[np.float64]) -> None:
        self.seeds = seeds
        self._areas = areas
        self._votes = np.zeros((seeds + 1, classes), np.int64)
        self._rest = np.zeros((seeds + 1, 3))

    def add(self, ids: NDArray[np.uint32], parts: NDArray[np.uint8], top: int) -> None:
        """Some rows from `top`: objects, and what PartsDecision told of them."""
        classes = self._votes.shape[1]
        kinds = ids.astype(np.int64) * classes + parts[0]
        starts, lengths = _runs(kinds)
        chosen = ids.ravel()[starts] > 0
        if not chosen.any():
            return
        rows, kinds = starts[chosen] // ids.shape[1], kinds.ravel()[starts[chosen]]
        found, owners = np.unique(kinds // classes, return_inverse=True)
        self._grow(int(found[-1]) + 1)
        cells, count = owners * classes + kinds % classes, found.size
        sums = [np.add.reduceat(values.ravel(), starts, dtype=np.float64)[chosen] for values in (scores_of(parts[2]), parts[1] == SEED)]
        votes = np.bincount(cells, lengths[chosen], count * classes)
        self._votes[found] += votes.astype(np.int64).reshape(-1, classes)
        self._rest[found, 0] += np.bincount(owners, sums[0])
        self._rest[found, 1] += np.bincount(owners, lengths[chosen] * self._areas[top + rows])
        self._rest[found, 2] += np.bincount(owners, sums[1])

    def finished(self, others: NDArray[np.uint32], least: Least) -> tuple[NDArray[np.uint32], Table]:
        """The final number of each object, 0 of those that are left out, and the table of those that stay.

        `others` unites the objects that no sure seed has reached; without any seed they are none.
        """
        united = np.concatenate([np.arange(self.seeds + 1), others[1:].astype(np.int64) + self.seeds])
        count = int(united.max()) + 1
        self._grow(len(united))
        votes, rest = np.zeros((count, self._votes.shape[1]), np.int64), np.zeros((count, 3))
        np.add.at(votes, united, self._votes[: len(united)])
        np.add.at(rest, united, self._rest[: len(united)])
        pixels = votes.sum(1)
        scores = (rest[:, 0] / np.maximum(pixels, 1)).astype(np.float32)
        kept = (pixels >= least.pixels) & (rest[:, 1] >= least.area_m2) & (scores >= least.score) & (rest[:, 2] > 0)
        kept[0] = False
        numbers = np.where(kept, np.cumsum(kept), 0).astype(np.uint32)
        table = Table(pixels, rest[:, 1], votes.argmax(1).astype(np.uint8), scores)
        return numbers[united], table.take(np.concatenate([[0], np.flatnonzero(kept)]))

    def _grow(self, count: int) -> None:
        """Room for so many; more at once than is needed now, so that it is seldom made."""
        if count > len(self._votes):
            room = max(count, len(self._votes) * 3 // 2)
            self._votes = np.concatenate([self._votes, np.zeros((room - len(self._votes), self._votes.shape[1]), np.int64)])
            self._rest = np.concatenate([self._rest, np.zeros((room - len(self._rest), 3))])


def _runs(values: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places in the flat array at which runs of equal values of a row begin, and how long these are."""
    begins = np.ones(values.shape, np.bool_)
    np.not_equal(values[:, 1:], values[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    return starts, np.diff(starts, append=values.size)
