"""Where a training stands."""

from __future__ import annotations

import math

import pytest

from geohydra.training.progress import Standing
from geohydra.training.settings import Training


def standing(scores: list[float], *, monitor: str = "iou", patience: int | None = None, epochs: int = 10) -> Standing:
    history = [{f"val/{monitor}": score} for score in scores]
    return Standing(monitor, Training(epochs=epochs, patience=patience), history)


def test_the_best_epoch_is_the_first_of_the_highest_scores():
    assert standing([0.1, 0.5, 0.5, 0.2]).best == 1


@pytest.mark.parametrize("monitor", ["loss", "rmse", "mae"])
def test_of_losses_and_errors_the_least_is_best(monitor):
    assert standing([0.3, 0.1, 0.2], monitor=monitor).best == 1


def test_a_score_without_meaning_is_the_worst():
    assert standing([math.nan, 0.0]).best == 1
    assert standing([math.nan, math.nan]).best == 0


def test_training_is_over_when_patience_is():
    assert not standing([0.5, 0.4], patience=2).over
    assert standing([0.5, 0.4, 0.3], patience=2).over
    assert not standing([0.5, 0.4, 0.3]).over


def test_training_is_over_after_the_last_epoch():
    assert standing([0.1, 0.2], epochs=2).over


def test_training_that_has_not_begun_is_not_over():
    assert not standing([], patience=1).over


def test_the_last_epoch_is_kept_where_nothing_is_to_choose():
    found = standing([0.9, 0.5, math.nan], monitor="last", patience=1)

    assert found.best == 2
    assert found.kept(2) == [2, 1]
    assert not found.over
