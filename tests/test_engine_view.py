"""What an engine's pages are given is what kfp's own class would have written, and the curve is the right one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geohydra.engine_view import POINTS, classification
from geohydra.report import Report


def test_a_confusion_matrix_is_written_as_kfp_writes_it(tmp_path: Path) -> None:
    from kfp.dsl import ClassificationMetrics

    Report(tmp_path).table("confusion_matrix", {"truth": ["land", "water"], "land": [50, 3], "water": [7, 40]})

    theirs = ClassificationMetrics()
    theirs.log_confusion_matrix(["land", "water"], [[50, 7], [3, 40]])
    assert classification(tmp_path)["confusionMatrix"] == theirs.metadata["confusionMatrix"]


def test_a_roc_curve_of_two_classes_is_the_second_ones(tmp_path: Path) -> None:
    from sklearn.metrics import auc, roc_curve

    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.4
    scores = np.round(np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1), 2)
    tables: dict[str, list[float | str]] = {"class": [], "threshold": [], "false_positive_rate": [], "true_positive_rate": []}
    for name, positive, score in (("land", ~truth, 1 - scores), ("water", truth, scores)):
        fallout, recall, thresholds = roc_curve(positive, score, drop_intermediate=False)
        known = np.isfinite(thresholds)
        tables["class"] += [name] * int(known.sum())
        tables["threshold"] += thresholds[known].tolist()
        tables["false_positive_rate"] += fallout[known].tolist()
        tables["true_positive_rate"] += recall[known].tolist()
    Report(tmp_path).table("roc_curve", tables)

    points = classification(tmp_path)["confidenceMetrics"]

    assert len(points) == POINTS + 1
    fallout, recall, _ = roc_curve(truth, scores)
    ours = auc([point["falsePositiveRate"] for point in points], [point["recall"] for point in points])
    assert ours == pytest.approx(auc(fallout, recall), abs=2e-3)
    assert set(points[0]) == {"confidenceThreshold", "falsePositiveRate", "recall"}


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    assert classification(tmp_path) == {}
