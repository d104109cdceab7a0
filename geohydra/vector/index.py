"""Which of many upright boxes touch a window: a packed tree in a few flat arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WIDE = 16
"""Boxes in a node."""


class BoxTree:
    """Boxes `(left, top, right, bottom)`, sorted by place and gathered in nodes of sixteen, these again, up to one node.

    About 21 bytes a box, whatever the boxes look like. A question costs as many steps as the tree has levels, and what it finds.
    """

    def __init__(self, boxes: Floats) -> None:
        """`boxes` `(n, 4)`; one of not-a-numbers is nowhere."""
        self._order = _by_place(boxes)
        self._levels = [_outward(boxes, self._order)]
        while len(self._levels[-1]) > _WIDE:
            self._levels.append(_nodes(self._levels[-1]))

    @property
    def size(self) -> int:
        """Bytes."""
        return self._order.nbytes + sum(level.nbytes for level in self._levels)

    def touching(self, left: float, top: float, right: float, bottom: float) -> Ints:
        """Numbers of the boxes that touch a rectangle, ascending; rounding may add one that all but touches it."""
        found = np.arange(len(self._levels[-1]))
        for depth in range(len(self._levels) - 1, -1, -1):
            boxes = self._levels[depth][found]
            meeting = (boxes[:, 0] <= right) & (boxes[:, 1] <= bottom) & (boxes[:, 2] >= left) & (boxes[:, 3] >= top)
            found = found[meeting]
            if depth:
                found = (found[:, None] * _WIDE + np.arange(_WIDE)).ravel()
                found = found[found < len(self._levels[depth - 1])]
        return np.sort(self._order[found]).astype(np.int64)


def _by_place(boxes: Floats) -> NDArray[np.int32]:
    """Numbers of the boxes in vertical strips from left to right, in each from top to bottom: neighbours share nodes."""
    present = np.flatnonzero(~np.isnan(boxes[:, 0]))
    across = present[np.argsort(boxes[present, 0] + boxes[present, 2], kind="stable")]
    strip = int(np.ceil(np.sqrt(across.size / _WIDE))) * _WIDE or 1
    down = boxes[across, 1] + boxes[across, 3]
    return across[np.lexsort((down, np.arange(across.size) // strip))].astype(np.int32)


def _outward(boxes: Floats, order: NDArray[np.int32]) -> NDArray[np.float32]:
    """Boxes in single precision, never smaller than they are."""
    small = boxes[order].astype(np.float32)
    small[:, :2] = np.nextafter(small[:, :2], np.float32(-np.inf))
    small[:, 2:] = np.nextafter(small[:, 2:], np.float32(np.inf))
    return small


def _nodes(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """The box around each sixteen of a level."""
    starts = np.arange(0, len(level), _WIDE)
    return np.hstack([np.minimum.reduceat(level[:, :2], starts), np.maximum.reduceat(level[:, 2:], starts)])
