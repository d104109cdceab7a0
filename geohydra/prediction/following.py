"""Following objects through one sequence: tracks are born, seen, missed, found again, and end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geohydra.prediction.motion import Motion
from geohydra.task import Detections
from geohydra.vector.pairs import Pairs, assigned, overlapping

if TYPE_CHECKING:
    from geohydra.prediction.tracks import Tracked, Tracker

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class _Track:
    """One object: its number once it is sure, the step at which it was seen last, and what is not told yet."""

    number: int
    last: int
    count: int
    votes: dict[int, float]
    box: Floats
    score: float
    waiting: list[_Row] = field(default_factory=list)

    @property
    def kind(self) -> int:
        """The class with the largest sum of scores; of equal ones the first."""
        return min(self.votes, key=lambda kind: (-self.votes[kind], kind))


@dataclass(frozen=True, slots=True)
class _Row:
    step: int
    box: Floats
    score: float
    kind: int
    seen: bool


class Following:
    """The state of a tracker in one sequence. Rows of a frame are told once nothing can be added to it: after `gap` frames, or as many as a
    track may need to be sure."""

    def __init__(self, tracker: Tracker, thresholds: Floats | None = None) -> None:
        self._rules, self._thresholds = tracker, thresholds
        self._motion = Motion.begun(np.empty((0, 4)))
        self._tracks: list[_Track] = []
        self._sure = 0
        self._step = -1
        self._frames: dict[int, int] = {}
        self._held: dict[int, list[tuple[int, _Row]]] = {}

    def update(self, frame: int, found: Detections, *, elapsed: float = 1.0) -> Iterator[Tracked]:
        """Take the next frame, and tell the frames that are complete by now. The order of detections does not matter.

        `elapsed`: time since the frame before it, in usual distances of frames.
        """
        self._step += 1
        self._frames[self._step] = frame
        self._held[self._step] = []
        found = _ordered(found.take(self._rules.strength(found, self._thresholds) >= self._rules.low))
        self._motion.predict(elapsed)
        strong = self._rules.strength(found, self._thresholds) >= 1
        free = np.ones(len(self._tracks), np.bool_)
        rest = self._round(found, np.flatnonzero(strong), free)
        self._round(found, np.flatnonzero(~strong), free)
        self._bury()
        self._begin(found.take(rest))
        yield from self._told(self._step - max(self._rules.gap, 2 * self._rules.least))

    def finish(self) -> Iterator[Tracked]:
        """All that is left to tell."""
        yield from self._told(self._step)

    def _round(self, found: Detections, places: Ints, free: NDArray[np.bool_]) -> Ints:
        """Give detections to tracks that have none in this frame yet; returns the places of those that nobody wants.

        Boxes that overlap as they are come first, then those that do once they are grown.
        """
        for share in dict.fromkeys((0.0, self._rules.reach)):
            places = self._paired(found, places, free, share)
        return places

    def _paired(self, found: Detections, places: Ints, free: NDArray[np.bool_], share: float) -> Ints:
        mine = np.flatnonzero(free)
        pairs = self._possible(found, places, mine, share)
        chosen = assigned(pairs)
        tracks, theirs = mine[chosen.ones], places[chosen.others]
        self._motion.correct(tracks, found.boxes[theirs])
        for track, place in zip(tracks.tolist(), theirs.tolist(), strict=True):
            self._see(self._tracks[track], found, place)
        free[tracks] = False
        return np.setdiff1d(places, theirs)

    def _possible(self, found: Detections, places: Ints, mine: Ints, share: float) -> Pairs:
        """Tracks and detections that may go together, with how much they overlap once grown."""
        pairs = overlapping(_grown(self._motion.boxes[mine], share), _grown(found.boxes[places], share))
        pairs = pairs.take(pairs.weights > self._rules.overlap)
        if self._rules.mixed or not len(pairs):
            return pairs
        kinds = np.array([self._tracks[track].kind for track in mine])
        return pairs.take(kinds[pairs.ones] == found.classes[places][pairs.others])

    def _see(self, track: _Track, found: Detections, place: int) -> None:
        """A track was seen again; what lay between is filled."""
        box, score, kind = found.boxes[place], float(found.scores[place]), int(found.classes[place])
        missed = self._step - track.last - 1
        for number in range(1, missed + 1):
            between = track.box + (box - track.box) * number / (missed + 1)
            self._tell(track, _Row(track.last + number, between, min(track.score, score), kind, False))
        track.last, track.count, track.box, track.score = self._step, track.count + 1, box, score
        track.votes[kind] = track.votes.get(kind, 0.0) + score
        self._tell(track, _Row(self._step, box, score, kind, True))
        if not track.number and track.count >= self._rules.least:
            self._name(track)

    def _tell(self, track: _Track, row: _Row) -> None:
        if track.number:
            self._held[row.step].append((track.number, row))
        else:
            track.waiting.append(row)

    def _name(self, track: _Track) -> None:
        self._sure += 1
        track.number = self._sure
        for row in track.waiting:
            self._held[row.step].append((track.number, row))
        track.waiting = []

    def _bury(self) -> None:
        """Tracks that were not seen for too long end; one that is not sure yet may be missed once at a time."""
        most = (min(1, self._rules.gap), self._rules.gap)
        kept = [place for place, track in enumerate(self._tracks) if self._step - track.last <= most[track.number > 0]]
        if len(kept) < len(self._tracks):
            self._tracks = [self._tracks[place] for place in kept]
            self._motion = self._motion.take(np.array(kept, np.int64))

    def _begin(self, found: Detections) -> None:
        for place in range(len(found)):
            track = _Track(0, self._step - 1, 0, {}, found.boxes[place], 0.0)
            self._see(track, found, place)
            self._tracks.append(track)
        self._motion = self._motion.joined(Motion.begun(found.boxes))

    def _told(self, until: int) -> Iterator[Tracked]:
        from geohydra.prediction.tracks import Tracked

        for step in [step for step in self._held if step <= until]:
            rows = sorted(self._held.pop(step), key=lambda pair: pair[0])
            numbers = np.array([number for number, _ in rows], np.int64)
            boxes = np.array([row.box for _, row in rows]).reshape(-1, 4)
            scores, kinds = [row.score for _, row in rows], [row.kind for _, row in rows]
            objects = Detections(boxes, np.array(scores, np.float32), np.array(kinds, np.int64))
            yield Tracked(self._frames.pop(step), numbers, objects, np.array([row.seen for _, row in rows], np.bool_))


def _ordered(found: Detections) -> Detections:
    """Best first; of equal scores by place and class, so that the order in which they come does not matter."""
    top, left, bottom, right = found.boxes.T
    return found.take(np.lexsort((found.classes, right, bottom, left, top, -found.scores)))


def _grown(boxes: Floats, share: float) -> Floats:
    sides = (boxes[:, 2:] - boxes[:, :2]) * share
    return np.hstack([boxes[:, :2] - sides, boxes[:, 2:] + sides])
