"""Which found object is which true one, by the rules that published scorers have. Greedy: who has the higher score chooses first.

Found objects are numbered in the order in which they choose. All is done for many images at once, as pairs only ever join objects of one
image and one class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geohydra.evaluation.overlaps import Bools, Ints, Pairs

NOBODY = -1


@dataclass(frozen=True, slots=True)
class Matches:
    """For each found object the true one that it is, and its pair; both NOBODY where it is none."""

    truth: Ints
    pair: Ints


def by_choice(pairs: Pairs) -> Pairs:
    """Pairs as `free` takes them: each found object's choices from the best to the worst, of equal ones the later true object first."""
    order = np.lexsort((-pairs.truth, -pairs.overlap, pairs.found))
    return Pairs(pairs.found[order], pairs.truth[order], pairs.overlap[order])


def free(pairs: Pairs, found: int, many: Bools, last: Bools) -> Matches:
    """Each chooses, of the true objects that are still free, the one of the largest overlap (COCO, SpaceNet).

    True objects that are `last` are chosen only where no other is left; those that are `many` are always free. Of equal overlaps the later
    true object is chosen. `pairs` are sorted `by_choice`, `found` is how many were found; `many` and `last` tell of each true object.

    As all true objects prefer the same one, who chooses first, this is the one stable marriage: proposals are made in rounds, all at once.
    """
    order = np.argsort(2 * pairs.found + last[pairs.truth], kind="stable")
    left, right = pairs.found[order], pairs.truth[order]
    first = np.ones(len(order), bool)
    first[1:] = left[1:] != left[:-1]
    holder = np.full(len(many), found, np.int64)
    match = np.full(found, NOBODY, np.int64)
    asking = np.flatnonzero(first)
    while asking.size:
        open_to_all = many[right[asking]]
        match[left[asking[open_to_all]]] = asking[open_to_all]
        lost = _round(asking[~open_to_all], left, right, holder, match)
        following = lost + 1
        following = following[following < len(order)]
        asking = following[~first[following]]
    return _matches(match, order, right)


def best(pairs: Pairs, found: int, many: Bools) -> Matches:
    """Each chooses the true object of the largest overlap, be it free or not, and is nothing where another was before (VOC, DOTA, xView).

    Of equal overlaps the earlier true object is chosen. Those that are `many` are always free.
    """
    order = np.lexsort((pairs.truth, -pairs.overlap, pairs.found))
    left, right = pairs.found[order], pairs.truth[order]
    first = np.ones(len(order), bool)
    first[1:] = left[1:] != left[:-1]
    asking = np.flatnonzero(first)
    holder = np.full(len(many), found, np.int64)
    np.minimum.at(holder, right[asking], left[asking])
    kept = asking[many[right[asking]] | (holder[right[asking]] == left[asking])]
    match = np.full(found, NOBODY, np.int64)
    match[left[kept]] = kept
    return _matches(match, order, right)


def _round(asking: Ints, left: Ints, right: Ints, holder: Ints, match: Ints) -> Ints:
    """Let each true object keep the first of those who ask and of who had it; the pairs of those who are sent away."""
    who, whom = left[asking], right[asking]
    before = holder[whom]
    np.minimum.at(holder, whom, who)
    won = holder[whom] == who
    ousted = before[won]
    ousted = ousted[ousted < len(match)]
    lost = np.concatenate([asking[~won], match[ousted]])
    match[ousted] = NOBODY
    match[who[won]] = asking[won]
    return lost


def _matches(match: Ints, order: Ints, right: Ints) -> Matches:
    there = match != NOBODY
    truth, pair = np.full(len(match), NOBODY, np.int64), np.full(len(match), NOBODY, np.int64)
    truth[there], pair[there] = right[match[there]], order[match[there]]
    return Matches(truth, pair)
