"""Scores of several labels equal scikit-learn's, however they are counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from geohydra.evaluation.label_review import LabelReview, LabelScores
from geohydra.evaluation.label_scores import LabelTally
from geohydra.evaluation.labels import tally_of
from geohydra.report import Report
from geohydra.types import IGNORE

NAMES = ("water", "road", "field")


def drawn(seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Truth (2, class, 9, 8) with some that is unknown, and levels of probability."""
    draw = np.random.default_rng(seed)
    truth = (draw.random((2, classes, 9, 8)) < draw.random(classes)[:, None, None]).astype(np.uint8)
    levels = np.clip(draw.normal(100 + 60 * truth, 50), 0, 254).round().astype(np.uint8)
    truth[draw.random((2, 1, 9, 8)).repeat(classes, 1) < 0.1] = IGNORE
    return truth, levels


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_every_score_equals_scikit_learn(seed: int) -> None:
    truth, levels = drawn(seed)
    answers = (levels >= 127).astype(np.uint8)
    tally = LabelTally.none(3)
    for part in range(2):
        tally += tally_of(truth[part], answers[part], levels[part])
    known = truth[:, 0] != IGNORE
    t, a, p = (values.transpose(0, 2, 3, 1)[known] for values in (truth, answers, levels / 254))
    found = tally.headline(NAMES)

    for name, score in (("f1", sk.f1_score), ("precision", sk.precision_score), ("recall", sk.recall_score), ("iou", sk.jaccard_score)):
        by_class = score(t, a, average=None, zero_division=0)
        occurs = (t + a).any(0)
        assert found[name] == pytest.approx(by_class[occurs].mean())
    assert found["f1_micro"] == pytest.approx(sk.f1_score(t, a, average="micro", zero_division=0))
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(t, a))
    assert found["accuracy"] == pytest.approx(1 - sk.hamming_loss(t, a))
    there = t.any(0)
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(t[:, there], p[:, there], average="macro"))
    assert found["average_precision_micro"] == pytest.approx(sk.average_precision_score(t, p, average="micro"))
    both = there & ~t.all(0)
    for place in np.flatnonzero(both):
        assert found[f"auroc/{NAMES[place]}"] == pytest.approx(sk.roc_auc_score(t[:, place], p[:, place]))
    assert found["baseline_f1"] == pytest.approx(sk.f1_score(t[:, there], np.ones_like(t[:, there]), average="macro") * there.mean())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_training_counts_as_evaluation_does(seed: int) -> None:
    truth, levels = drawn(seed)
    chances = torch.from_numpy(np.clip(levels / 254, 1e-6, 1 - 1e-6))
    scores = LabelScores(NAMES, lambda batch: batch["truth"])

    for part in range(2):
        scores.update(torch.logit(chances[part : part + 1]).float(), {"truth": torch.from_numpy(truth[part : part + 1])})

    whole = sum((tally_of(truth[part], (levels[part] >= 127).astype(np.uint8), levels[part]) for part in range(2)), LabelTally.none(3))
    assert (scores.tally.levels == whole.levels).all()
    assert abs(scores.tally.answers - whole.answers).sum() <= 2 * (levels == 127).sum()


def test_thresholds_are_those_of_the_best_f1_of_each_class() -> None:
    scores = LabelScores(("water", "road"), lambda batch: batch["truth"])
    chances = torch.tensor([[0.2, 0.3, 0.9, 0.1], [0.6, 0.7, 0.8, 0.9]]).T
    scores.update(torch.logit(chances), {"truth": torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.uint8)[:, :, None, None]})

    assert scores.tally.thresholds(("water", "road")) == {"water": pytest.approx(0.3, abs=0.01), "road": pytest.approx(0.8, abs=0.01)}


def test_nothing_known_gives_no_scores() -> None:
    found = LabelTally.none(2).headline(("water", "road"))

    assert all(value != value for value in found.values())


@pytest.mark.parametrize("size", [1, 16])
def test_a_review_shows_tables_and_chips(tmp_path, size: int) -> None:
    class Lakes:
        classes = ("water", "road")
        colors: dict[str, str] = {}  # noqa: RUF012

    review = LabelReview(Lakes(), lambda batch: batch["truth"])
    truth = torch.randint(0, 2, (3, 2, size, size), dtype=torch.uint8)
    outputs = torch.randn(3, 2, size, size)
    image = {"image": torch.rand(3, 3, 16, 16), "valid": torch.ones(3, 16, 16, dtype=torch.bool), "truth": truth}

    review.update(outputs[:, :, 0, 0] if size == 1 else outputs, image)
    report = Report(tmp_path)
    review.show(report, split="val", bands=("red", "green", "blue"))

    assert {path.stem for path in (tmp_path / "tables").iterdir()} == {"val_per_class", "val_thresholds"}
    assert [path.stem for path in (tmp_path / "figures").iterdir()] == ["val_predictions"]
