"""Scores of found objects in the middle of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from geohydra.evaluation.object_scores import ObjectScores
from geohydra.task import Detections

NAMES = ("car", "ship")


def batch(seed: int) -> tuple[list[Detections], list[tuple[np.ndarray, np.ndarray]]]:
    """Chips with boxes that are found more or less; truth is padded with rows that are not there."""
    draw = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(4):
        count = int(draw.integers(0, 9))
        start = draw.uniform(0, 100, (count, 2))
        boxes = np.hstack([start, start + draw.uniform(5, 40, (count, 2))])
        classes = draw.integers(0, 2, count)
        guess = np.vstack([boxes + draw.normal(0, 2, boxes.shape), np.array([[0.0, 0, 9, 9]])])
        names = np.concatenate([classes, [0]])
        found.append(Detections(guess, draw.random(len(guess)).astype(np.float32), names.astype(np.int64)))
        truth.append((np.vstack([boxes, np.full((3, 4), np.nan)]), np.concatenate([classes, [-1, -1, -1]]).astype(np.int64)))
    return found, truth


def test_scores_over_batches_equal_torchmetrics() -> None:
    ours, reference = ObjectScores(NAMES), MeanAveragePrecision(class_metrics=True)
    for seed in range(5):
        found, truth = batch(seed)
        ours.update(found, truth)
        there = [~np.isnan(boxes[:, 0]) for boxes, _ in truth]
        reference.update(
            [
                {"boxes": torch.tensor(f.boxes[:, [1, 0, 3, 2]]), "scores": torch.tensor(f.scores), "labels": torch.tensor(f.classes)}
                for f in found
            ],
            [
                {"boxes": torch.tensor(boxes[real][:, [1, 0, 3, 2]]), "labels": torch.tensor(classes[real])}
                for (boxes, classes), real in zip(truth, there, strict=True)
            ],
        )

    values, expected = ours.compute(), reference.compute()

    assert values["map"] == pytest.approx(float(expected["map"]), abs=1e-6)
    assert values["map50"] == pytest.approx(float(expected["map_50"]), abs=1e-6)
    assert values["map50"] == pytest.approx(np.mean([values[f"ap50/{name}"] for name in NAMES]))
    assert set(ours.thresholds) == set(NAMES)


def test_perfect_answers_score_one() -> None:
    scores = ObjectScores(NAMES)
    _, truth = batch(3)
    real = [(boxes[classes >= 0], classes[classes >= 0]) for boxes, classes in truth]

    scores.update([Detections(boxes, np.ones(len(boxes), np.float32), classes) for boxes, classes in real], truth)

    assert set(scores.compute().values()) == {1.0}


def test_without_objects_there_are_no_scores() -> None:
    scores = ObjectScores(NAMES)

    assert np.isnan(scores.compute()["map"])

    scores.update([Detections.none()], [(np.empty((0, 4)), np.empty(0, np.int64))])

    assert np.isnan(scores.compute()["map50"])
    assert scores.thresholds == {}
