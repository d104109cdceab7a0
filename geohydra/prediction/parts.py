"""From the outputs of a network that knows classes, borders and middles of objects to the landscape in which they are flooded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.prediction.uncertainty import Measure, Planes, entropy, margin
from geohydra.raster.flooding import SEED, flood
from geohydra.types import IGNORE

if TYPE_CHECKING:
    import torch

    from geohydra.models.votes import Activation

PLANES = ("border", "distance")
"""What a network tells beside its classes, in this order."""

MIDDLE = 0.5
"""How far towards its middle an object's seed begins: 0 is its edge, 1 its middle."""

LEAST = 4
"""Pixels below which nothing counts as an object."""

SURE = 6
"""Pixels of a seed that grows. A smaller one is an object only where no such seed reaches it: often it is but noise in a larger object."""

_LEVELS = 254


class PartsDecision:
    """For each pixel three numbers: its class id, 0 for the background; its level in the landscape, 0 outside of objects, SEED where
    a seed lies; and how probable an object is, as `round(254 p)`.

    A pixel belongs to an object where the background is less probable than one less a threshold: of one class that of the class, of
    several one half. The landscape is the predicted distance to the edge, where there is no border.
    """

    activation: Activation = "none"
    layers: int | None = 3
    dtype = "uint8"
    unknown: float = IGNORE

    def __init__(self, classes: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._count = len(classes)
        self.classes = len(classes) + len(PLANES)
        self._threshold = np.float32(thresholds.get(classes[1], 0.5) if len(classes) == 2 else 0.5)
        kinds = {"entropy": entropy, "margin": margin}
        self.measures: Mapping[str, Measure] = {name: partial(_of_classes, kind, self._count) for name, kind in kinds.items()}

    def labels(self, outputs: torch.Tensor) -> NDArray[np.uint8]:
        """Answers `(n, 3, row, col)` of outputs `(n, plane, row, col)`."""
        return np.stack([self.choose(planes) for planes in self.probabilities(outputs)])

    def probabilities(self, outputs: torch.Tensor) -> NDArray[np.float32]:
        """Float32 `(n, plane, row, col)`: classes add up to one, border and distance are from 0 to 1."""
        import torch

        values = outputs.float()
        planes = [values[:, : self._count].softmax(1), values[:, self._count : self.classes].sigmoid()]
        return np.asarray(torch.cat(planes, 1).cpu().numpy())

    def choose(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Answers `(3, row, col)` of probabilities `(plane, row, col)`."""
        thing = 1 - probabilities[0]
        inside = thing >= self._threshold
        border, distance = probabilities[self._count], probabilities[self._count + 1]
        answers = np.empty((3, *thing.shape), np.uint8)
        answers[0] = inside
        if self._count > 2:
            answers[0] *= 1 + probabilities[1 : self._count].argmax(0).astype(np.uint8)
        height = distance * (1 - border) * np.float32((SEED - 1) / MIDDLE)
        answers[1] = (1 + np.minimum(height, np.float32(SEED - 1))) * inside
        answers[2] = np.clip(thing * np.float32(_LEVELS) + np.float32(0.5), 0, _LEVELS)
        return answers


def _of_classes(measure: Measure, count: int, planes: Planes) -> Planes:
    return measure(planes[:count])


def scores_of(levels: NDArray[Any]) -> NDArray[np.float32]:
    """Probabilities from the third number."""
    return np.asarray(levels, np.float32) / np.float32(_LEVELS)


def objects_of(parts: NDArray[np.uint8], *, reach: int, least: int = LEAST) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The objects of a whole small image, by what PartsDecision told of it `(3, row, col)`: numbers from 1 `(row, col)`, 0 where there is
    none, and the class id of each number. What `geohydra.prediction.instances` does with large ones."""
    from scipy import ndimage

    levels = np.where(parts[1] > SEED, np.uint8(0), parts[1])
    seeds, count = ndimage.label(levels == SEED)
    seeds = np.where(np.bincount(seeds.ravel())[seeds] >= SURE, seeds, 0)
    ids = flood(levels, seeds, reach=reach)
    rest, _ = ndimage.label((levels > 0) & (ids == 0))
    ids = np.where(rest > 0, rest + count, ids)
    owners, classes = ids.ravel(), int(parts[0][levels > 0].max(initial=0)) + 1
    count = int(owners.max()) + 1
    votes = np.bincount(owners * classes + parts[0].ravel() * (owners > 0), minlength=count * classes).reshape(-1, classes)
    kept = (votes.sum(1) >= least) & (np.bincount(owners, levels.ravel() == SEED, count) > 0)
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return numbers[ids], np.concatenate([[0], votes.argmax(1)[kept]]).astype(np.uint8)
