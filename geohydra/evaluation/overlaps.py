"""Which found objects overlap which true ones, and by how much: sparse pairs, never a table of all with all.

Overlap is intersection over union (IoU). With a true object that stands for a crowd it is the share of the found object that lies in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.vector.pairs import touching

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ANY = -1
"""The class of a true object that an object of any class may be."""

_AT_ONCE = 1 << 15
"""Pairs of outlines that are cut together."""


@dataclass(frozen=True, slots=True)
class Found:
    """Objects that were found in one image, a row each.

    `boxes` float64 (n, 4): `(top, left, bottom, right)`. `classes` int64 (n). `scores` float32 (n). `areas` float64 (n), in pixels.
    `outlines`: shapely polygons whose x are columns and y rows, where objects are no upright boxes. `aside` (n): objects that count only
    as hits, such as those on ground that is not known.
    """

    boxes: Floats
    classes: Ints
    scores: NDArray[np.float32]
    areas: Floats
    aside: Bools
    outlines: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def of(cls, boxes: Floats, classes: Ints, scores: NDArray[Any], outlines: NDArray[Any] | None = None) -> Found:
        """Objects that all count."""
        plain, none = np.asarray(boxes, np.float64).reshape(-1, 4), np.zeros(len(boxes), bool)
        return cls(plain, np.asarray(classes), np.asarray(scores, np.float32), _areas(plain, outlines), none, outlines)

    def take(self, places: NDArray[Any]) -> Found:
        """Some of them, by places or by a mask."""
        outlines = None if self.outlines is None else self.outlines[places]
        return Found(self.boxes[places], self.classes[places], self.scores[places], self.areas[places], self.aside[places], outlines)

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """Several, one after the other."""
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("boxes", "classes", "scores", "areas", "aside")]
        return cls(columns[0], columns[1], columns[2], columns[3], columns[4], _all_outlines(parts))


@dataclass(frozen=True, slots=True)
class Truth:
    """Objects that are truly there in one image, a row each; `boxes`, `classes`, `areas` and `outlines` as in `Found`.

    `aside` (n): objects that are neither hit nor missed, however often they are found; their class may be ANY. `crowd` (n): those of them
    that stand for many objects, so that what lies in them is theirs.
    """

    boxes: Floats
    classes: Ints
    areas: Floats
    aside: Bools
    crowd: Bools
    outlines: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def of(cls, boxes: Floats, classes: Ints, outlines: NDArray[Any] | None = None, *, aside: Bools | None = None) -> Truth:
        """Objects that all count, less those aside."""
        plain = np.asarray(boxes, np.float64).reshape(-1, 4)
        none = np.zeros(len(plain), bool)
        return cls(plain, np.asarray(classes), _areas(plain, outlines), none if aside is None else aside, none, outlines)

    def take(self, places: NDArray[Any]) -> Truth:
        """Some of them, by places or by a mask."""
        outlines = None if self.outlines is None else self.outlines[places]
        return Truth(self.boxes[places], self.classes[places], self.areas[places], self.aside[places], self.crowd[places], outlines)

    @classmethod
    def joined(cls, parts: Sequence[Truth]) -> Truth:
        """Several, one after the other."""
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("boxes", "classes", "areas", "aside", "crowd")]
        return cls(columns[0], columns[1], columns[2], columns[3], columns[4], _all_outlines(parts))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which found object (its row) overlaps which true one, and by how much: above 0, at most 1."""

    found: Ints
    truth: Ints
    overlap: Floats

    def __len__(self) -> int:
        return len(self.found)

    @classmethod
    def joined(cls, parts: list[Pairs]) -> Pairs:
        """Several, one after the other."""
        if not parts:
            return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        columns = zip(*((part.found, part.truth, part.overlap) for part in parts), strict=True)
        found, truth, overlap = (np.concatenate(column) for column in columns)
        return cls(found, truth, overlap)

    def among(self, found: Bools, truth: Bools) -> Pairs:
        """Those of some found and some true objects, with rows counted among these."""
        both = found[self.found] & truth[self.truth]
        left, right = np.cumsum(found)[self.found[both]] - 1, np.cumsum(truth)[self.truth[both]] - 1
        return Pairs(left, right, self.overlap[both])

    def moved(self, found: int, truth: int) -> Pairs:
        """The same, with rows counted from later ones."""
        return Pairs(self.found + found, self.truth + truth, self.overlap)


def overlapping(found: Found, truth: Truth, *, least: float) -> Pairs:
    """All pairs of one class whose overlap is at least `least`. Memory grows with the pairs that touch, not with all with all."""
    parts = []
    for left, right in touching(found.boxes, truth.boxes):
        alike = (found.classes[left] == truth.classes[right]) | (truth.classes[right] == ANY)
        left, right = left[alike], right[alike]
        shared = _box_shared(found.boxes[left], truth.boxes[right])
        if found.outlines is None and truth.outlines is None:
            overlap = _overlap(shared, left, right, found, truth)
        else:
            most = _overlap(np.minimum(shared, np.minimum(found.areas[left], truth.areas[right])), left, right, found, truth)
            near = most >= least * (1 - 1e-9)
            left, right = left[near], right[near]
            overlap = _overlap(_outline_shared(found, truth, left, right), left, right, found, truth)
        kept = (overlap >= least) & (overlap > 0)
        parts.append(Pairs(left[kept], right[kept], overlap[kept]))
    return Pairs.joined(parts)


def mask_pairs(found: Bools, truth: Bools, crowd: Bools | None = None) -> Pairs:
    """Pairs of masks `(object, row, col)` of one small image, whatever their classes; masks may lie over each other."""
    left, right = (masks.reshape(len(masks), int(np.prod(masks.shape[1:]))).astype(np.float32) for masks in (found, truth))
    shared = (left @ right.T).astype(np.float64)
    of_found = left.sum(1).astype(np.float64)[:, None]
    union = of_found + right.sum(1).astype(np.float64)[None] - shared
    if crowd is not None:
        union[:, crowd] = of_found
    first, second = np.nonzero(shared)
    return Pairs(first, second, shared[first, second] / union[first, second])


def raster_pairs(found: NDArray[Any], truth: NDArray[Any], counted: Bools | None = None) -> Pairs:
    """Pairs of objects of two rasters of ids `(row, col)`: id n is row n - 1, and 0 is nothing. Only `counted` pixels count."""
    where = np.ones(found.shape, bool) if counted is None else counted
    first, second = found[where].astype(np.int64), truth[where].astype(np.int64)
    width = int(truth.max(initial=0)) + 1
    sizes = np.bincount(first, minlength=1), np.bincount(second, minlength=width)
    codes, shared = np.unique(first * width + second, return_counts=True)
    left, right = np.divmod(codes, width)
    both = (left > 0) & (right > 0)
    left, right, shared = left[both], right[both], shared[both]
    return Pairs(left - 1, right - 1, shared / (sizes[0][left] + sizes[1][right] - shared))


def _areas(boxes: Floats, outlines: NDArray[Any] | None) -> Floats:
    if outlines is None:
        return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    from shapely import area

    return np.asarray(area(outlines), np.float64)


def _all_outlines(parts: Sequence[Found] | Sequence[Truth]) -> NDArray[Any] | None:
    known = [part.outlines for part in parts if part.outlines is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _overlap(shared: Floats, left: Ints, right: Ints, found: Found, truth: Truth) -> Floats:
    """IoU of pairs; with a crowd, the share of the found object."""
    whole = np.where(truth.crowd[right], found.areas[left], found.areas[left] + truth.areas[right] - shared)
    return np.divide(shared, whole, out=np.zeros(len(shared)), where=whole > 0)


def _box_shared(found: Floats, truth: Floats) -> Floats:
    rows = np.minimum(found[:, 2], truth[:, 2]) - np.maximum(found[:, 0], truth[:, 0])
    cols = np.minimum(found[:, 3], truth[:, 3]) - np.maximum(found[:, 1], truth[:, 1])
    return np.asarray(np.maximum(rows, 0) * np.maximum(cols, 0), np.float64)


def _outline_shared(found: Found, truth: Truth, left: Ints, right: Ints) -> Floats:
    """The area that pairs share, where one side or both have outlines."""
    from shapely import area, intersection

    shared = np.empty(len(left))
    for start in range(0, len(left), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        shared[part] = area(intersection(_shapes(found, left[part]), _shapes(truth, right[part])))
    return shared


def _shapes(things: Found | Truth, rows: Ints) -> NDArray[Any]:
    from shapely import box

    return np.asarray(box(*things.boxes[rows][:, [1, 0, 3, 2]].T)) if things.outlines is None else things.outlines[rows]
