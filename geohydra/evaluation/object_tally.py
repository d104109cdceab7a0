"""What found objects were, image by image: hits, false alarms, or neither. Of an image only a few bytes for each found object are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation.average_precision import RULES, Line, Rule, RuleName, line
from geohydra.evaluation.matching import NOBODY, Matches, best, by_choice, free
from geohydra.evaluation.overlaps import Bools, Floats, Found, Ints, Pairs, Truth, overlapping

COCO_OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Areas in pixels, as COCO divides them."""

ASIDE, FALSE, HIT = 0, 1, 2
_ALMOST_ONE = 1 - 1e-10


@dataclass(frozen=True, slots=True)
class Measure:
    """One way to tell hits from false alarms: a rule, the least overlap, and which areas count."""

    overlap: float
    rule: RuleName = "coco"
    area: str = "all"


def coco_measures(areas: Sequence[str] = ("all",)) -> tuple[Measure, ...]:
    """Overlaps 0.50, 0.55, ..., 0.95 for each of these areas."""
    return tuple(Measure(overlap, area=area) for area in areas for overlap in COCO_OVERLAPS)


@dataclass(frozen=True, slots=True)
class Judged:
    """What each found object of an image is by the first measure, in the order given: ASIDE, FALSE or HIT; which true objects were found;
    the overlap of hits, 0 for others."""

    states: NDArray[np.uint8]
    hit: Bools
    overlaps: NDArray[np.float32]


class Tally:
    """Counts of found objects by class and measure. The first measure is the one at which `line`, `at` and `by_image` look.

    `most`: only so many found objects of a class and an image count, those of the highest scores. 16 bytes and two bits a measure
    are kept for each found object, so memory does not grow with the size of images or the number of true objects.
    """

    def __init__(self, classes: int, measures: Sequence[Measure], *, most: int | None = None) -> None:
        self.measures = tuple(measures)
        self._most = most
        self._classes = classes
        self.truths = np.zeros((len(self.measures), classes), np.int64)
        self.by_image: list[NDArray[np.int64]] = []
        self._parts: list[_Kept] = []

    def add(self, found: Found, truth: Truth, pairs: Pairs | None = None, *, images: Ints | None = None) -> Judged:
        """Count an image; `pairs` are sought by place where they are not given. Of several images at once, `images` tells the image of
        each found object (0, 1, ...) and the pairs must be given; they count as one in `by_image`."""
        if pairs is None:
            pairs = overlapping(found, truth, least=min(measure.overlap for measure in self.measures))
        order = np.argsort(-found.scores, kind="stable")
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        sorted_found = found.take(order)
        within = self._within(sorted_found.classes, None if images is None else images[order])
        ranked = by_choice(Pairs(ranks[pairs.found], pairs.truth, pairs.overlap))
        states = np.zeros((len(self.measures), len(found)), np.uint8)
        hit, overlaps = np.zeros(len(truth), bool), np.zeros(len(found), np.float32)
        for place, measure in enumerate(self.measures):
            states[place], matches, last = _judged(measure, sorted_found, truth, ranked, within)
            self.truths[place] += _counts(truth.classes[~last], self._classes)
            if place == 0:
                hits = np.flatnonzero(states[0] == HIT)
                overlaps[hits] = ranked.overlap[matches.pair[hits]]
                hit[matches.truth[hits]] = True
                self.by_image.append(_counts(truth.classes[~last], self._classes))
        number = np.full(len(order), len(self.by_image) - 1, np.int32)
        bits = np.packbits(np.concatenate([states == HIT, states == FALSE]), axis=0)
        self._parts.append(_Kept(sorted_found.classes.astype(np.int32), sorted_found.scores, number, overlaps, bits))
        return Judged(states[0][ranks], hit, overlaps[ranks])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was counted so far, to be kept; `join` takes it up again."""
        by_image = np.stack(self.by_image) if self.by_image else np.empty((0, self._classes), np.int64)
        parts = _Kept.together(self._parts, len(self.measures))
        return {"truths": self.truths, "by_image": by_image} | {name: getattr(parts, name) for name in _COLUMNS}

    def join(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Count images that another tally has counted, as if they had been added here in their order."""
        self.truths += arrays["truths"]
        kept = _Kept.of({name: arrays[name] for name in _COLUMNS})
        self._parts.append(replace(kept, images=(kept.images + len(self.by_image)).astype(np.int32)))
        self.by_image += list(arrays["by_image"])

    def average(self, place: int) -> Floats:
        """Average precision of each class by one of the measures; NaN for classes without a true object."""
        kept, rule = self._whole(), RULES[self.measures[place].rule]
        hits, false = self._told(place)
        values = np.full(self._classes, np.nan)
        for number in np.flatnonzero(self.truths[place]):
            chosen = (kept.classes == number) & (hits | false)
            values[number] = rule.average(hits[chosen], int(self.truths[place][number]))
        return values

    def averages(self, *, rule: RuleName = "coco", area: str = "all") -> dict[float, Floats]:
        """Average precision of each class, by the least overlap."""
        chosen = {m.overlap: place for place, m in enumerate(self.measures) if m.rule == rule and m.area == area}
        return {overlap: self.average(place) for overlap, place in chosen.items()}

    def line(self, number: int) -> Line:
        """Precision and recall of one class by score."""
        kept = self._whole()
        hits, false = self._told(0)
        chosen = (kept.classes == number) & (hits | false)
        return line(kept.scores[chosen], hits[chosen], int(self.truths[0][number]))

    def at(self, thresholds: NDArray[np.float64]) -> AtThreshold:
        """Hits and false alarms by image and class, of found objects whose score is at least that of their class."""
        kept = self._whole()
        shape = (len(self.by_image), self._classes)
        chosen = kept.scores >= thresholds.astype(np.float32)[kept.classes]
        cells = kept.images.astype(np.int64) * self._classes + kept.classes
        right, wrong = (chosen & is_so for is_so in self._told(0))
        hits, false = (np.bincount(cells[is_so], minlength=shape[0] * shape[1]).reshape(shape) for is_so in (right, wrong))
        truths = np.stack(self.by_image) if self.by_image else np.zeros(shape, np.int64)
        overlaps = np.bincount(kept.classes[right], weights=kept.overlaps[right], minlength=self._classes)
        return AtThreshold(hits, false, truths, overlaps.astype(np.float64))

    def _within(self, classes: Ints, images: Ints | None) -> Bools:
        """Which of found objects in order of their scores are among the `most` of their class and image."""
        if self._most is None:
            return np.ones(len(classes), bool)
        cells = classes if images is None else images * self._classes + classes
        order = np.argsort(cells, kind="stable")
        starts = np.searchsorted(cells[order], cells[order], side="left")
        within = np.empty(len(classes), bool)
        within[order] = np.arange(len(order)) - starts < self._most
        return within

    def _told(self, place: int) -> tuple[Bools, Bools]:
        """Which of all that was kept are hits by a measure, and which are false alarms; some are neither."""
        bits = self._whole().bits
        hit, false = (bits[at // 8] & (128 >> at % 8) > 0 for at in (place, len(self.measures) + place))
        return hit, false

    def _whole(self) -> _Kept:
        """All that was kept, from the highest score to the lowest; of equal ones the earlier image first."""
        if len(self._parts) != 1 or not self._parts[0].sorted:
            self._parts = [_Kept.joined(self._parts, len(self.measures))]
        return self._parts[0]


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """Counts `(image, class)` at chosen thresholds, and for each class the sum of the overlaps of its hits."""

    hits: Ints
    false: Ints
    truths: Ints
    overlaps: Floats

    @property
    def precision(self) -> Floats:
        """Of each class; 0 where nothing was found, NaN where a class is neither there nor found."""
        return self._share(self.hits.sum(0), (self.hits + self.false).sum(0))

    @property
    def recall(self) -> Floats:
        """Of each class; likewise."""
        return self._share(self.hits.sum(0), self.truths.sum(0))

    @property
    def f1(self) -> Floats:
        """Of each class; likewise."""
        return self._share(2 * self.hits.sum(0), (self.hits + self.false + self.truths).sum(0))

    @property
    def mean_overlap(self) -> float:
        """Of hits; NaN where there are none."""
        hits = int(self.hits.sum())
        return float(self.overlaps.sum()) / hits if hits else float("nan")

    @property
    def count_error(self) -> float:
        """How far counts by image and class are off, all together, over the true count."""
        return float(np.abs(self.hits + self.false - self.truths).sum() / max(1, self.truths.sum()))

    @property
    def count_mae(self) -> float:
        """How far the count of an image is off, all classes together, in the mean."""
        off = (self.hits + self.false - self.truths).sum(1)
        return float(np.abs(off).mean()) if len(off) else float("nan")

    def of_images(self) -> AtThreshold:
        """Images in the place of classes: scores of each image, all classes together."""
        turned = (counts.sum(1)[None] for counts in (self.hits, self.false, self.truths))
        hits, false, truths = turned
        return AtThreshold(hits, false, truths, np.full(len(self.hits), np.nan))

    def _share(self, part: Ints, whole: Ints) -> Floats:
        known = (self.hits + self.false + self.truths).sum(0) > 0
        return np.divide(part, whole, out=np.where(known, 0.0, np.nan), where=whole > 0)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A row for each found object; `bits` (byte, object): hits by measure, then false alarms by measure."""

    classes: NDArray[np.int32]
    scores: NDArray[np.float32]
    images: NDArray[np.int32]
    overlaps: NDArray[np.float32]
    bits: NDArray[np.uint8]
    sorted: bool = False

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]], *, sorted: bool = False) -> _Kept:
        return cls(columns["classes"], columns["scores"], columns["images"], columns["overlaps"], columns["bits"], sorted)

    @classmethod
    def together(cls, parts: Sequence[_Kept], measures: int) -> _Kept:
        whole = np.empty(0, np.int32), np.empty(0, np.float32)
        every = [cls(whole[0], whole[1], whole[0], whole[1], np.empty((-(-measures // 4), 0), np.uint8)), *parts]
        return cls.of({name: np.concatenate([getattr(part, name) for part in every], axis=-1) for name in _COLUMNS})

    @classmethod
    def joined(cls, parts: Sequence[_Kept], measures: int) -> _Kept:
        every = cls.together(parts, measures)
        order = np.argsort(-every.scores, kind="stable")
        return cls.of({name: getattr(every, name)[..., order] for name in _COLUMNS}, sorted=True)


_COLUMNS = ("classes", "scores", "images", "overlaps", "bits")


def _judged(measure: Measure, found: Found, truth: Truth, pairs: Pairs, within: Bools) -> tuple[NDArray[np.uint8], Matches, Bools]:
    """What each found object is, in order of scores; how they were matched; and which true objects do not count."""
    rule, (low, high) = RULES[measure.rule], AREAS[measure.area]
    last = truth.aside | truth.crowd | (truth.areas < low) | (truth.areas > high)
    near = within[pairs.found] & _reaches(pairs.overlap, measure.overlap, rule)
    chosen = pairs if near.all() else Pairs(pairs.found[near], pairs.truth[near], pairs.overlap[near])
    many = truth.aside | truth.crowd
    matches = free(chosen, len(found), many, last) if rule.free else best(chosen, len(found), many)
    matched = matches.truth != NOBODY
    states = np.where(matched, HIT, FALSE).astype(np.uint8)
    states[matched] = np.where(last[matches.truth[matched]], ASIDE, HIT)
    states[~within | (~matched & (found.aside | (found.areas < low) | (found.areas > high)))] = ASIDE
    if near.all():
        return states, matches, last
    pair = matches.pair.copy()
    pair[matched] = np.flatnonzero(near)[matches.pair[matched]]
    return states, Matches(matches.truth, pair), last


def _reaches(overlap: Floats, least: float, rule: Rule) -> Bools:
    return overlap > least if rule.beyond else overlap >= min(least, _ALMOST_ONE)


def _counts(classes: NDArray[Any], size: int) -> Ints:
    return np.bincount(classes[classes >= 0], minlength=size).astype(np.int64)
