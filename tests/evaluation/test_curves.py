"""Curves from histograms equal scikit-learn's on the same levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from geohydra.evaluation.curves import LEVELS, Curve, calibration_error, curve


def curve_of(truth: np.ndarray, level: np.ndarray) -> Curve:
    return curve(np.bincount(level[truth], minlength=LEVELS + 1), np.bincount(level[~truth], minlength=LEVELS + 1))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 400), st.integers(1, LEVELS), st.integers(0, 10_000))
def test_areas_and_the_best_threshold_equal_scikit_learn(count: int, top: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.random(count) < 0.3
    truth[:2] = [True, False]
    level = np.clip(draw.integers(0, top + 1, count) + 20 * truth, 0, LEVELS)
    ours = curve_of(truth, level)
    precision, recall, thresholds = sk.precision_recall_curve(truth, level)
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))[:-1]

    assert math.isclose(ours.average_precision, sk.average_precision_score(truth, level), abs_tol=1e-12)
    assert math.isclose(ours.auroc, sk.roc_auc_score(truth, level), abs_tol=1e-12)
    assert math.isclose(ours.best[1], f1.max(), abs_tol=1e-12)
    assert np.isclose(f1[np.flatnonzero(np.isclose(thresholds, ours.best[0] * LEVELS))[0]], f1.max())


def test_points_equal_scikit_learns_curve() -> None:
    truth = np.array([True, False, True, False, False])
    level = np.array([200, 180, 90, 90, 3])
    ours = curve_of(truth, level)
    false, hits, thresholds = sk.roc_curve(truth, level, drop_intermediate=False)

    assert np.allclose(ours.recall, hits[1:])
    assert np.allclose(ours.false_positive_rate, false[1:])
    assert np.allclose(ours.thresholds * LEVELS, thresholds[1:])


def test_a_class_without_pixels_has_no_areas() -> None:
    ours = curve_of(np.array([False, False]), np.array([3, 4]))

    assert math.isnan(ours.average_precision)
    assert math.isnan(ours.auroc)
    assert math.isnan(ours.best[0])


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5))
def test_the_calibration_error_equals_that_of_torchmetrics(seed: int, classes: int) -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    draw = np.random.default_rng(seed)
    chances = draw.dirichlet(np.full(classes, 0.5), 400)
    level = np.rint(chances * LEVELS).astype(int)
    answer, truth = level.argmax(1), draw.integers(0, classes, 400)
    best = level.max(1)
    sure = np.zeros((2, LEVELS + 1), np.int64)
    np.add.at(sure, ((answer == truth).astype(int), best), 1)
    given_levels = torch.from_numpy(level / LEVELS)

    expected = multiclass_calibration_error(given_levels, torch.from_numpy(truth), num_classes=classes, n_bins=15, validate_args=False)

    assert calibration_error(sure) == pytest.approx(float(expected), abs=1e-5)
