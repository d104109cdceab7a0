"""Objects that touch, kept apart: seeds in their middles grow down a landscape until they meet.

A watershed whose outcome at a pixel depends on the pixels around it up to a known distance, and on nothing else: a scene may be
flooded piece by piece, each with a margin, and is as if flooded at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]

SEED = 8
"""The level of seeds; flooding goes down from the level below it to 1, and 0 is no object."""


def margin(reach: int) -> int:
    """Pixels around a piece that may have a say in it."""
    return (SEED - 1) * reach


def flood(levels: NDArray[np.uint8], seeds: Labels, *, reach: int) -> Labels:
    """Labels of seeds, 0 where there is none, spread over `levels` `(row, col)` from 1 to SEED.

    Level by level from above, each by at most `reach` steps from side to side. Where several reach a pixel in the same step, it goes
    to the one above it, else to the left, the right, below: as in any other piece, whatever the labels are. What no seed reaches
    stays 0.
    """
    width = seeds.shape[1] + 2
    labels, free = np.pad(seeds, 1).ravel(), np.pad(levels, 1).ravel()
    free[labels > 0] = 0
    towards = (width, 1, -1, -width)
    front = np.flatnonzero(labels)
    for level in range(SEED - 1, 0, -1):
        front = front[np.any([free[front + way] > 0 for way in towards], axis=0)]
        reached = [front]
        for _ in range(reach):
            front = _step(free, labels, front, towards, level)
            if not front.size:
                break
            reached.append(front)
        front = np.concatenate(reached)
    return np.ascontiguousarray(labels.reshape(-1, width)[1:-1, 1:-1])


def _step(free: NDArray[np.uint8], labels: Labels, front: NDArray[np.intp], towards: Sequence[int], level: int) -> NDArray[np.intp]:
    """Let the labels of some pixels grow in place by one step; returns the pixels that were reached. `free` are levels of pixels
    that have no label, else 0."""
    reached = []
    for way in towards:
        near = front + way
        taken = free[near] >= level
        places = near[taken]
        labels[places], free[places] = labels[front[taken]], 0
        reached.append(places)
    return np.concatenate(reached)


def depths(ids: Labels, *, most: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each pixel of an object how far the object's edge is, in pixels (1 beside it), and the same as a part of the object's
    depth, but of no more than `most` pixels. The edge of the array is no edge of an object; outside of objects both are 0.
    """
    from scipy import ndimage

    far = np.zeros(ids.shape, np.float32)
    parts = np.zeros(ids.shape, np.float32)
    for number, place in enumerate(ndimage.find_objects(ids.astype(np.int32)), start=1):
        if place is None:
            continue
        box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in place)
        own = ids[box] == number
        away = _from_edge(own)
        far[box][own] = away[own]
        parts[box][own] = np.minimum(away[own] / min(float(away.max()), most), 1.0)
    return far, parts


def _from_edge(own: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distances to the nearest pixel that is not of the object; where all are, far away."""
    from scipy import ndimage

    if own.all():
        return np.full(own.shape, np.hypot(*own.shape), np.float32)
    return np.asarray(ndimage.distance_transform_edt(own), np.float32)


class Components:
    """Numbers the areas of a mask that hang together by their sides, strip by strip from the top."""

    def __init__(self) -> None:
        self._count = 0
        self._above: Labels | None = None
        self._pairs: list[NDArray[np.int64]] = []
        self._sizes = [np.zeros(1, np.int64)]

    @property
    def count(self) -> int:
        """Numbers given so far."""
        return self._count

    def add(self, mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
        """The next rows: a number for each area of them `(row, col)`, from 1 on; 0 outside of the mask."""
        from scipy import ndimage

        found, count = ndimage.label(mask)
        labels = np.where(found > 0, found + self._count, 0).astype(np.uint32)
        if self._above is not None:
            meet = (self._above > 0) & (labels[0] > 0)
            self._pairs.append(np.unique(np.stack([self._above[meet], labels[0][meet]], axis=1), axis=0).astype(np.int64))
        self._count += int(count)
        self._sizes.append(np.bincount(found.ravel(), minlength=count + 1)[1:])
        self._above = labels[-1].copy()
        return labels

    def united(self, *, least: int = 1) -> NDArray[np.uint32]:
        """For each number the one of the whole area that it belongs to; areas are numbered from 1 by their first pixel. Those of fewer
        than `least` pixels are 0."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pairs = np.concatenate([*self._pairs, np.empty((0, 2), np.int64)])
        links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(self._count + 1,) * 2)
        _, groups = connected_components(links, directed=False)
        _, firsts, places = np.unique(groups, return_index=True, return_inverse=True)
        ranks = np.empty(len(firsts), np.uint32)
        ranks[np.argsort(firsts)] = np.arange(len(firsts), dtype=np.uint32)
        numbers = ranks[places]
        kept = np.bincount(numbers, np.concatenate(self._sizes)) >= least
        kept[0] = False
        return np.where(kept, np.cumsum(kept), 0).astype(np.uint32)[numbers]


def blocks(length: int, size: int) -> list[tuple[int, int]]:
    """Starts and stops that together are a whole length."""
    return list(pairwise([*range(0, length, size), length]))
