"""What classification says for itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from geohydra.models.classifier import Classifier
from geohydra.models.smp import SmpModel
from geohydra.task import Task
from geohydra.tasks.classification import Classification
from geohydra.training.criteria import CrossEntropyLoss
from geohydra.types import IGNORE, Grid, Shape, Window


class Ground:
    """Ground of 4 x 4 pixels whose labels are given by name."""

    grid = Grid("EPSG:32633", (1, 0, 0, 0, -1, 0), Shape(4, 4))

    def __init__(self, names: list[list[str | None]]) -> None:
        self.names = names

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        rows, cols = window.slices
        found = [[IGNORE if name == "?" else ids.get(name or "", background) for name in row[cols]] for row in self.names[rows]]
        return np.array(found, np.uint8)


WHOLE = Window(0, 0, Shape(4, 4))
MOSTLY_WATER = Ground([["water"] * 4, ["water", "road", None, None], [None] * 4, ["?"] * 4])


def label(task: Classification, ground: Ground, window: Window = WHOLE) -> int:
    return int(task.target(ground, window)["label"][0])  # type: ignore[arg-type]


def test_it_is_a_task() -> None:
    assert isinstance(Classification(classes=["water", "road"]), Task)


def test_a_chip_is_of_the_label_that_covers_most_of_it() -> None:
    assert label(Classification(classes=["road", "water"]), MOSTLY_WATER) == 1


def test_a_label_that_covers_too_little_leaves_the_class_unknown_or_background() -> None:
    assert label(Classification(classes=["road", "water"], min_share=5 / 12), MOSTLY_WATER) == 1
    assert label(Classification(classes=["road", "water"], min_share=0.42), MOSTLY_WATER) == IGNORE
    assert label(Classification(classes=["road", "water"], min_share=0.42, background="land"), MOSTLY_WATER) == 0


def test_a_chip_of_which_nothing_is_known_is_unknown_even_with_a_background() -> None:
    nothing = Ground([["?"] * 4] * 4)

    assert label(Classification(classes=["road", "water"], background="land"), nothing) == IGNORE
    assert label(Classification(classes=["road", "water"], background="land"), Ground([[None] * 4] * 4)) == 0


def test_the_truth_of_cells_is_that_of_their_chips() -> None:
    task = Classification(classes=["road", "water"], background="land")

    truth = task.truth(MOSTLY_WATER, Window(0, 0, Shape(2, 2)), cell=Shape(2, 2))  # type: ignore[arg-type]

    assert truth.tolist() == [[2, 2], [0, 0]]


def test_chips_that_were_not_measured_or_are_unknown_do_not_count() -> None:
    task = Classification(classes=["road", "water"])
    valid = torch.ones(4, 3, 3, dtype=torch.bool)
    valid[3] = False
    batch = {"image": torch.zeros(4, 2, 3, 3), "valid": valid, "label": torch.tensor([[0], [1], [IGNORE], [0]], dtype=torch.uint8)}
    outputs = torch.tensor([[5.0, 0.0], [0.0, 5.0], [0.0, 5.0], [0.0, 5.0]])
    scores = task.scores()
    scores.update(outputs, batch)

    loss = task.loss(CrossEntropyLoss(None, smoothing=0.0), outputs, batch)

    assert scores.compute()["accuracy"] == 1
    assert float(loss) == pytest.approx(float(torch.nn.functional.cross_entropy(outputs[:2], torch.tensor([0, 1]))))


def test_a_model_that_answers_for_pixels_is_refused() -> None:
    task = Classification(classes=["road", "water"])

    [error] = task.check({"model": SmpModel(), "task": task})

    assert "model=classifier" in str(error)
    assert not list(task.check({"model": Classifier()}))


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet_b0"])
def test_a_classifier_takes_any_number_of_bands(encoder: str) -> None:
    network = Classifier(encoder=encoder).build(channels=7, classes=3).eval()

    assert network(torch.zeros(2, 7, 64, 64)).shape == (2, 3)


def test_an_unknown_encoder_is_told_with_others() -> None:
    with pytest.raises(Exception, match="timm has no 'resnet1800'"):
        Classifier(encoder="resnet1800").build(channels=3, classes=2)
