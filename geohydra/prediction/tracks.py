"""Objects found in single frames become tracks: who is who from frame to frame, streamed, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from geohydra.task import Detections

if TYPE_CHECKING:
    from geohydra.prediction.following import Following

_LIKELY = 0.5
"""The score from which on a detection counts where nothing tells another."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Tracker:
    """How detections become tracks: a Kalman filter of constant velocity tells where each object should be, and the Hungarian method gives
    it the detection there, in two rounds as ByteTrack has them: first those with a score of `high` or more (null: what validation chose
    for their class), then those that have `low` times as much at least, which may keep a track alive but begin none.

    Boxes may go together where they overlap (intersection over union) by more than `overlap`: first as they are, then, of those
    that are left, grown by `reach` of their sides at each side: small fast objects need 1 or more. Classes do not mix unless
    `mixed`; a track is then of the class with the largest sum of scores. A track ends when it was not seen for more than `gap`
    frames; shorter gaps are filled by straight lines. One with fewer than `least` detections is none.
    """

    def __init__(
        self,
        *,
        high: Share | None = None,
        low: Share = 0.8,
        reach: Annotated[float, Field(ge=0.0, le=10.0)] = 0.2,
        overlap: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2,
        gap: Annotated[int, Field(ge=0, le=1000)] = 3,
        least: Annotated[int, Field(ge=1, le=100)] = 2,
        mixed: bool = False,
    ) -> None:
        self.high, self.low, self.reach, self.overlap = high, low, reach, overlap
        self.gap, self.least, self.mixed = gap, least, mixed

    def follow(self, thresholds: NDArray[np.float64] | None = None) -> Following:
        """A fresh beginning: what follows one sequence, frame by frame. `thresholds` by class stand for a `high` that is not given."""
        from geohydra.prediction.following import Following

        return Following(self, thresholds if self.high is None else None)

    def strength(self, found: Detections, thresholds: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Scores as shares of those that a track needs to begin."""
        usual = _LIKELY if self.high is None else self.high
        needed = np.full(len(found), usual) if thresholds is None else thresholds[found.classes]
        shares: NDArray[np.float64] = np.divide(found.scores, needed, out=np.ones(len(found)), where=needed > 0)
        return shares


@dataclass(frozen=True, slots=True)
class Tracked:
    """Objects of one frame that belong to tracks, ordered by track.

    `tracks` int64 (n): from 1, in the order in which they were first sure to be there. `seen` (n): False where a gap was filled;
    the score is then that of the weaker end of the gap.
    """

    frame: int
    tracks: NDArray[np.int64]
    objects: Detections
    seen: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tracks)


def track_all(tracker: Tracker, frames: Mapping[int, Detections] | Iterator[tuple[int, Detections]]) -> Iterator[Tracked]:
    """Each frame in turn, as soon as it is sure; frames come in order, and all as far apart."""
    following = tracker.follow()
    for frame, found in frames.items() if isinstance(frames, Mapping) else frames:
        yield from following.update(frame, found)
    yield from following.finish()
