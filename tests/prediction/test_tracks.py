from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.prediction.tracks import Tracked, Tracker, track_all
from geohydra.task import Detections


def _boxes(middles: np.ndarray, size: float = 6.0) -> np.ndarray:
    return np.hstack([middles - size / 2, middles + size / 2])


def _found(boxes: np.ndarray, scores: float | np.ndarray = 0.9, classes: int | np.ndarray = 0) -> Detections:
    count = len(boxes)
    return Detections(boxes, np.broadcast_to(scores, count).astype(np.float32), np.broadcast_to(classes, count).astype(np.int64))


def _moving(rng: np.random.Generator, objects: int, frames: int) -> list[np.ndarray]:
    """Middles of objects on lanes far apart, each at its own speed."""
    rows = 40.0 * np.arange(objects)
    start, speed = rng.uniform(0, 100, objects), rng.uniform(-4, 4, objects)
    return [np.stack([rows, start + speed * frame], axis=1) for frame in range(frames)]


def _tracks(told: list[Tracked]) -> dict[int, list[tuple[int, float, float]]]:
    found: dict[int, list[tuple[int, float, float]]] = {}
    for frame in told:
        for track, box in zip(frame.tracks.tolist(), frame.objects.boxes, strict=True):
            found.setdefault(track, []).append((frame.frame, box[0] + 3, box[1] + 3))
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(2, 20))
def test_perfect_detections_of_objects_far_apart_give_perfect_tracks(seed: int, objects: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    middles = _moving(rng, objects, frames)

    told = list(track_all(Tracker(least=2), {10 + number: _found(_boxes(here)) for number, here in enumerate(middles)}))

    assert [one.frame for one in told] == [10 + number for number in range(frames)]
    tracks = _tracks(told)
    assert sorted(tracks) == list(range(1, objects + 1))
    for rows in tracks.values():
        lane = {row for _, row, _ in rows}
        assert len(lane) == 1
        np.testing.assert_allclose([col for _, _, col in rows], [here[int(next(iter(lane)) / 40), 1] for here in middles])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_detections_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plain = [_found(_boxes(rng.uniform(0, 60, (12, 2))), rng.choice([0.2, 0.6, 0.9], 12), rng.integers(0, 2, 12)) for _ in range(8)]
    shuffled = [one.take(rng.permutation(len(one))) for one in plain]

    both = [list(track_all(Tracker(), dict(enumerate(frames)))) for frames in (plain, shuffled)]

    for one, other in zip(*both, strict=True):
        assert one.tracks.tolist() == other.tracks.tolist()
        np.testing.assert_array_equal(one.objects.boxes, other.objects.boxes)


@pytest.mark.parametrize("missing", [1, 5])
def test_gaps_are_bridged_and_filled_by_straight_lines(missing: int) -> None:
    middles = [np.array([[20.0, 10.0 + 2 * frame]]) for frame in range(20)]
    frames = {number: _found(_boxes(here if not 8 <= number < 8 + missing else here[:0])) for number, here in enumerate(middles)}

    told = list(track_all(Tracker(gap=5), frames))

    (rows,) = _tracks(told).values()
    assert [frame for frame, _, _ in rows] == list(range(20))
    np.testing.assert_allclose([col for _, _, col in rows], [here[0, 1] for here in middles])
    assert [bool(one.seen.all()) for one in told] == [not 8 <= number < 8 + missing for number in range(20)]


def test_an_object_that_is_away_for_longer_comes_back_as_another() -> None:
    frames = {number: _found(_boxes(np.array([[20.0, 20.0]])[: 0 if 5 <= number < 9 else 1])) for number in range(14)}

    tracks = _tracks(list(track_all(Tracker(gap=3), frames)))

    assert {track: [frame for frame, _, _ in rows] for track, rows in tracks.items()} == {1: [0, 1, 2, 3, 4], 2: [9, 10, 11, 12, 13]}


def test_weak_detections_keep_a_track_alive_and_begin_none() -> None:
    middles = np.array([[20.0, 20.0], [80.0, 80.0]])
    frames = {number: _found(_boxes(middles), np.array([0.9 if number < 3 else 0.3, 0.3])) for number in range(8)}

    told = list(track_all(Tracker(gap=0, low=0.5), frames))

    assert [one.tracks.tolist() for one in told] == [[1]] * 8


def test_what_is_seen_once_is_no_track() -> None:
    frames = {number: _found(_boxes(np.array([[20.0, 20.0], [80.0, 80.0]])[: 2 if number == 2 else 1])) for number in range(5)}

    assert [one.tracks.tolist() for one in track_all(Tracker(), frames)] == [[1]] * 5
    assert [len(one) for one in track_all(Tracker(least=1), frames)] == [1, 1, 2, 1, 1]


def test_two_that_meet_keep_their_tracks_because_both_go_on() -> None:
    steps = np.arange(21)
    east, west = (np.stack([np.full(21, 20.0), 50 + sign * (steps - 10) * 4.0], axis=1) for sign in (1, -1))
    west[:, 0] += 1.0

    told = list(track_all(Tracker(), {number: _found(_boxes(np.stack([east[number], west[number]]))) for number in steps.tolist()}))

    tracks = _tracks(told)
    assert sorted(tracks) == [1, 2]
    assert all(np.ptp([row for _, row, _ in rows]) == 0 for rows in tracks.values())


def test_small_fast_objects_need_reach() -> None:
    frames = {number: _found(_boxes(np.array([[20.0, 10.0 + 9 * number]]))) for number in range(6)}

    assert all(len(one) == 0 for one in track_all(Tracker(reach=0.0), frames))
    assert [one.tracks.tolist() for one in track_all(Tracker(reach=1.0), frames)] == [[1]] * 6


def test_classes_do_not_mix_unless_asked_to() -> None:
    frames = {number: _found(_boxes(np.array([[20.0, 20.0]])), classes=int(number >= 4)) for number in range(8)}

    assert [one.tracks.tolist() for one in track_all(Tracker(gap=0), frames)] == [[1]] * 4 + [[2]] * 4
    assert [one.tracks.tolist() for one in track_all(Tracker(mixed=True), frames)] == [[1]] * 8


def test_memory_does_not_grow_with_frames() -> None:
    def frames(count: int) -> Iterator[tuple[int, Detections]]:
        rng = np.random.default_rng(0)
        for number in range(count):
            yield number, _found(_boxes(40.0 * np.stack(np.divmod(np.arange(30), 6), axis=1) + rng.normal(0, 0.2, (30, 2))))

    peaks = []
    for count in (50, 400):
        tracemalloc.start()
        assert sum(len(one) for one in track_all(Tracker(), frames(count))) == 30 * count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.5 * peaks[0]


def test_the_scores_that_validation_chose_decide_where_none_is_given() -> None:
    frames = {number: _found(_boxes(np.array([[20.0, 20.0], [80.0, 80.0]])), 0.35, np.array([0, 1])) for number in range(4)}

    def tracks(tracker: Tracker, thresholds: list[float] | None) -> list[int]:
        following = tracker.follow(None if thresholds is None else np.array(thresholds))
        told = [*(one for number, found in frames.items() for one in following.update(number, found)), *following.finish()]
        return [len(one) for one in told]

    assert tracks(Tracker(), None) == [0] * 4
    assert tracks(Tracker(), [0.3, 0.6]) == [1] * 4
    assert tracks(Tracker(high=0.2), [0.9, 0.9]) == [2] * 4
