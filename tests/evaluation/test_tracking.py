from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.evaluation.tracking import ALPHAS, Counts, FramePair

Case = list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
_SCORES = ("hota", "deta", "assa", "mota", "motp", "idf1", "switches", "fragments", "mostly_tracked", "mostly_lost")

_TRACKEVAL = {
    # seed: what TrackEval 1.3.0 (HOTA, CLEAR, Identity) tells of `_case(seed)`, in the order of _SCORES
    0: (0.492529, 0.3049561, 0.8421053, 0.2142857, 0.6842283, 0.5925926, 0, 0, 8, 6),
    1: (0.2630253, 0.3680354, 0.1960869, 0.0625, 0.7071562, 0.4141414, 18, 21, 1, 0),
    2: (0.184965, 0.4059808, 0.08739725, 0.1492958, 0.6808128, 0.2380261, 109, 90, 4, 0),
    3: (0.2523774, 0.4220596, 0.1568944, 0.2663043, 0.7072755, 0.3465909, 39, 44, 3, 0),
    4: (0.1969868, 0.4154494, 0.0976173, 0.2222222, 0.6753766, 0.2703963, 55, 49, 4, 0),
    5: (0.1920868, 0.4162415, 0.09027135, 0.2, 0.6936642, 0.2592593, 70, 68, 2, 0),
    6: (0.4393898, 0.4074642, 0.4822902, 0.4776119, 0.6703704, 0.7407407, 0, 15, 5, 0),
    7: (0.514928, 0.4801853, 0.5572343, 0.5733333, 0.7053085, 0.7922078, 2, 13, 9, 0),
    8: (0.4699195, 0.4331162, 0.5430989, 0.48, 0.6638095, 0.7346939, 0, 8, 5, 0),
    9: (0.1755079, 0.3943997, 0.0816453, -0.1028037, 0.6912777, 0.209607, 49, 23, 2, 0),
    10: (0.2516702, 0.4545136, 0.1461009, 0.2290076, 0.6822588, 0.3533835, 45, 23, 5, 0),
    11: (0.2101348, 0.3260655, 0.1373358, -0.1481481, 0.7075036, 0.265625, 14, 16, 2, 0),
}


def _case(seed: int) -> Case:
    """True identities and boxes, found identities and boxes, by frame: some missed, some false, shaken, renamed."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 20))
    start, speed, size = rng.uniform(0, 60, (count, 2)), rng.normal(0, 2, (count, 2)), rng.uniform(8, 16, (count, 2))
    ids = rng.permutation(count) + 5
    frames = []
    for time in range(int(rng.integers(1, 25))):
        middles = start + speed * time
        boxes = np.hstack([middles - size / 2, middles + size / 2])
        here, seen = rng.random(count) < 0.85, rng.random(count) < 0.8
        if rng.random() < 0.3:
            ids = rng.permutation(ids)
        false = rng.uniform(0, 60, (int(rng.integers(0, 3)), 2))
        found = np.vstack([(boxes + rng.normal(0, 1.5, boxes.shape))[seen], np.hstack([false, false + 10])])
        numbers = np.concatenate([ids[seen], 1000 + 10 * time + np.arange(len(false))])
        frames.append((np.arange(count)[here], boxes[here], numbers, found))
    return frames


def _scores(case: Case) -> dict[str, float]:
    return Counts.of([FramePair.of(*frame) for frame in case]).scores()


def _iou(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    top, bottom = np.maximum(ones[:, None, :2], others[None, :, :2]), np.minimum(ones[:, None, 2:], others[None, :, 2:])
    shared = np.clip(bottom - top, 0, None).prod(axis=-1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (ones, others)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


@pytest.mark.parametrize("seed", sorted(_TRACKEVAL))
def test_scores_are_those_of_trackeval(seed: int) -> None:
    scores = _scores(_case(seed))

    np.testing.assert_allclose([scores[name] for name in _SCORES], _TRACKEVAL[seed], atol=1e-6)


def test_sequences_add_up_as_in_trackeval() -> None:
    total = sum((Counts.of([FramePair.of(*frame) for frame in _case(seed)]) for seed in sorted(_TRACKEVAL)), Counts.none()).scores()

    np.testing.assert_allclose(
        [total[name] for name in ("hota", "assa", "mota", "idf1")], [0.2607111, 0.1750381, 0.1995059, 0.3420647], atol=1e-6
    )


@pytest.mark.parametrize("seed", range(30))
def test_identities_are_scored_as_by_motmetrics(seed: int) -> None:
    import motmetrics

    case = _case(seed)
    counted = motmetrics.MOTAccumulator(auto_id=True)
    for truth, boxes, found, theirs in case:
        distances = 1 - _iou(boxes, theirs)
        counted.update(truth, found, np.where(distances > 0.5, np.nan, distances))
    names = ["idf1", "idp", "idr"]

    told = motmetrics.metrics.create().compute(counted, metrics=names, return_dataframe=False)

    scores = _scores(case)
    np.testing.assert_allclose([scores["idf1"], scores["id_precision"], scores["id_recall"]], [told[name] for name in names])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_other_names_of_identities_change_no_score(seed: int) -> None:
    case = _case(seed)
    rng = np.random.default_rng(seed)
    names = [rng.permutation(np.arange(2000)) for _ in range(2)]
    renamed = [(names[0][truth], boxes, names[1][found], theirs) for truth, boxes, found, theirs in case]

    one, other = _scores(case), _scores(renamed)

    assert list(one) == list(other)
    np.testing.assert_allclose(list(one.values()), list(other.values()))


def test_perfect_tracks_score_one() -> None:
    scores = _scores([(truth, boxes, truth + 7, boxes) for truth, boxes, _, _ in _case(3)])

    assert {scores[name] for name in ("hota", "deta", "assa", "mota", "motp", "idf1", "precision", "recall")} == {1.0}
    assert scores["switches"] == scores["mostly_lost"] == 0
    assert scores["mostly_tracked"] == scores["tracks"]


def test_a_track_of_its_own_for_each_detection_halves_nothing_but_the_identities() -> None:
    boxes = np.array([[0.0, 0, 10, 10]])
    case = [(np.array([1]), boxes, np.array([time]), boxes) for time in range(4)]

    scores = _scores(case)

    assert scores["recall"] == scores["precision"] == 1
    assert scores["switches"] == 3
    assert scores["mota"] == pytest.approx(1 - 3 / 4)
    assert scores["idf1"] == pytest.approx(1 / 4)
    assert scores["hota"] == pytest.approx((1 * (1 / 4)) ** 0.5)


def test_hota_of_small_cases_is_what_the_definition_tells() -> None:
    """Written from the paper: at each alpha, hits of the matching that maximises it, A(c) = TPA / (TPA + FNA + FPA)."""
    boxes = np.array([[0.0, 0, 10, 10], [0.0, 20, 10, 30]])
    shaken = boxes + np.array([0, 1.5, 0, 1.5])
    swapped = [np.array([5, 6])] * 3 + [np.array([6, 5])] * 2
    case = [(np.array([1, 2]), boxes, ids, shaken) for ids in swapped]
    overlap = _iou(boxes, shaken).diagonal()
    expected = []
    for alpha in ALPHAS:
        hits = 2 * 5 * float((overlap >= alpha).all())
        by_hit = (6 * 3 / (3 + 2 + 2) + 4 * 2 / (2 + 3 + 3)) / 10 if hits else 0.0
        expected.append((hits / (hits + (10 - hits) * 2) * by_hit) ** 0.5)

    assert _scores(case)["hota"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("seed", range(8))
def test_no_matching_of_identities_scores_better_than_idf1(seed: int) -> None:
    case = _case(seed)[:6]
    truth = sorted({int(one) for frame in case for one in frame[0]})[:4]
    case = [(ids[np.isin(ids, truth)], boxes[np.isin(ids, truth)], found, theirs) for ids, boxes, found, theirs in case]
    found = sorted({int(one) for frame in case for one in frame[2] if one < 1000})[:6]
    case = [(ids, boxes, numbers[np.isin(numbers, found)], theirs[np.isin(numbers, found)]) for ids, boxes, numbers, theirs in case]
    together = np.zeros((len(truth), max(len(found), len(truth))))
    for ids, boxes, numbers, theirs in case:
        rows, cols = np.nonzero(_iou(boxes, theirs) >= 0.5)
        for row, col in zip(rows, cols, strict=True):
            together[truth.index(int(ids[row])), found.index(int(numbers[col]))] += 1
    best = max(together[range(len(truth)), list(order)].sum() for order in permutations(range(together.shape[1]), len(truth)))
    total = sum(len(frame[0]) + len(frame[2]) for frame in case)

    assert _scores(case)["idf1"] == pytest.approx(2 * best / total)


def test_nothing_there_and_nothing_found_has_no_score() -> None:
    empty = np.empty(0, np.int64), np.empty((0, 4))

    scores = _scores([(*empty, *empty)])

    assert all(np.isnan(scores[name]) for name in ("hota", "mota", "idf1"))
