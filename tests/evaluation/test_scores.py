"""Scores equal scikit-learn's by their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from geohydra.evaluation import scores

pytestmark = pytest.mark.filterwarnings("ignore")


def matrix_of(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(truth * classes + prediction, minlength=classes**2).reshape(classes, classes)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(1, 200), st.integers(0, 10_000))
def test_every_score_equals_scikit_learn(classes: int, count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth, prediction = draw.integers(0, classes, (2, count))
    ours = scores.class_scores(matrix_of(truth, prediction, classes))
    present = sorted({*truth.tolist(), *prediction.tolist()})
    precision, recall, f1, _ = sk.precision_recall_fscore_support(truth, prediction, labels=present, zero_division=0)

    assert np.allclose(ours.precision[present], precision)
    assert np.allclose(ours.recall[present], recall)
    assert np.allclose(ours.f1[present], f1)
    assert np.allclose(ours.iou[present], sk.jaccard_score(truth, prediction, labels=present, average=None, zero_division=0))
    assert math.isclose(scores.mean(ours.iou), sk.jaccard_score(truth, prediction, labels=present, average="macro", zero_division=0))
    assert math.isclose(scores.accuracy(matrix_of(truth, prediction, classes)), sk.accuracy_score(truth, prediction))


def test_a_class_that_does_not_occur_has_no_score_and_does_not_count_in_the_mean() -> None:
    matrix = np.array([[8, 2, 0], [0, 0, 0], [0, 0, 0]])
    ours = scores.class_scores(matrix)

    assert np.isnan(ours.iou[2])
    assert scores.mean(ours.iou) == pytest.approx((0.8 + 0.0) / 2)


def test_the_trivial_answer_is_the_most_frequent_class() -> None:
    trivial = scores.majority(np.array([[5, 5], [20, 10]]))

    assert trivial.tolist() == [[0, 10], [0, 30]]
    assert scores.headline(np.array([[5, 5], [20, 10]]), ["land", "water"])["baseline_accuracy"] == 0.75


def test_no_pixel_gives_no_number() -> None:
    assert all(math.isnan(value) for value in scores.headline(np.zeros((2, 2), np.int64), ["land", "water"]).values())
