"""Errors of numbers equal scikit-learn's, in pieces as in one, however large the numbers are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from geohydra.evaluation.values import Errors, ValueReview, scores_of
from geohydra.report import Report


@settings(deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 300.0, 1e6]), st.integers(2, 400))
def test_every_score_equals_scikit_learn(seed: int, offset: float, count: int) -> None:
    draw = np.random.default_rng(seed)
    truth = offset + draw.normal(0, 5, count)
    answer = truth + draw.normal(1, 3, count)
    cut = int(draw.integers(0, count))
    errors = Errors()
    for part in (slice(0, cut), slice(cut, count)):
        errors.add(truth[part], answer[part])

    found = errors.scores()

    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, answer))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(truth, answer))
    assert found["r2"] == pytest.approx(sk.r2_score(truth, answer), abs=1e-6)
    assert found["bias"] == pytest.approx((answer - truth).mean())
    assert found["baseline_rmse"] == pytest.approx(truth.std(), rel=1e-6)


def test_nothing_known_gives_no_score() -> None:
    assert scores_of(np.empty(0), np.empty(0)) == {}


def test_pixels_that_are_unknown_do_not_count_and_a_review_shows_the_rest(tmp_path) -> None:
    value = torch.tensor([[[1.0, 2.0], [float("nan"), 4.0]]])
    valid = torch.tensor([[[True, True], [True, False]]])
    review = ValueReview()

    review.update(torch.tensor([[[[1.0, 4.0], [9.0, 9.0]]]]), {"value": value, "valid": valid})
    review.show(Report(tmp_path), split="val", bands=())

    assert review.compute()["mae"] == 1
    assert [path.stem for path in (tmp_path / "figures").iterdir()] == ["val_scatter"]
    assert review.thresholds == {}
