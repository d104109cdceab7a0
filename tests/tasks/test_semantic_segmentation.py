"""What semantic segmentation says for itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from geohydra.build import build, problems
from geohydra.evaluation.scores import headline
from geohydra.models.smp import SmpModel
from geohydra.report import Report
from geohydra.task import Task
from geohydra.tasks.semantic_segmentation import SemanticSegmentation, truth
from geohydra.training.criteria import CrossEntropyLoss
from geohydra.types import Grid, Shape, Window

TARGET = "geohydra.tasks.semantic_segmentation.SemanticSegmentation"
WINDOW = Window(0, 0, Shape(2, 3))


class Halves:
    """A ground whose left pixels are water, and whose last column has no label."""

    grid = Grid("EPSG:32633", (1, 0, 0, 0, -1, 0), Shape(2, 3))

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        return np.array([[ids["water"], ids["road"], background]] * 2, np.uint8)


def batch(mask: list[list[int]], valid: list[list[bool]] | None = None) -> dict[str, torch.Tensor]:
    known = torch.tensor([mask], dtype=torch.uint8)
    measured = torch.ones_like(known, dtype=torch.bool) if valid is None else torch.tensor([valid])
    return {"image": torch.zeros(1, 3, *known.shape[1:]), "valid": measured, "mask": known}


def certain(answers: torch.Tensor, classes: int) -> torch.Tensor:
    """Outputs of a network that is sure of these classes."""
    return 10 * torch.nn.functional.one_hot(answers.long(), classes).permute(0, 3, 1, 2).float()


def test_it_is_a_task():
    assert isinstance(SemanticSegmentation(classes=["water"]), Task)


def test_the_background_is_class_zero():
    task = SemanticSegmentation(classes=["water", "road"], background="land")

    assert task.classes == ("land", "water", "road")
    assert task.labels == ("water", "road")
    assert task.target(Halves(), WINDOW)["mask"].tolist() == [[1, 2, 0]] * 2


def test_without_a_background_pixels_without_a_label_are_ignored():
    task = SemanticSegmentation(classes=["water", "road"], background=None)

    assert task.classes == task.labels == ("water", "road")
    assert task.target(Halves(), WINDOW)["mask"].tolist() == [[0, 1, 255]] * 2


def test_labels_to_ignore_are_ignored():
    task = SemanticSegmentation(classes=["water"], ignore=["road"])

    assert task.target(Halves(), WINDOW)["mask"].tolist() == [[1, 255, 0]] * 2


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"classes": []}, "task.classes"),
        ({"classes": ["a", "a"]}, "task.classes: a stands there twice"),
        ({"classes": ["land"], "background": "land"}, "task.classes: land stands there twice"),
        ({"classes": ["a"], "ignore": ["a"]}, "task.classes: a stands there twice"),
        ({"classes": ["a"], "background": None}, "task.classes: one class leaves nothing to tell apart"),
        ({"classes": [f"c{n}" for n in range(255)]}, "task.classes: 256 classes are too many; at most 255"),
        (
            {"classes": ["water", "road"], "colors": {"wter": "#0000ff"}},
            "task.colors.wter: there is no class 'wter'; did you mean 'water'?",
        ),
        ({"classes": ["water"], "colors": {"water": "blue"}}, "task.colors.water"),
    ],
)
def test_a_wrong_config_is_told(node, message):
    found = problems({"_target_": TARGET} | node, where="task")

    assert len(found) == 1
    assert message in str(found[0])


def test_as_many_classes_as_a_byte_holds_are_taken():
    task = build({"_target_": TARGET, "classes": [f"c{n}" for n in range(254)]}, where="task")

    assert len(task.classes) == 255


def test_the_network_has_an_output_for_each_class():
    task = SemanticSegmentation(classes=["water", "road"])

    network = task.network(SmpModel(encoder="mobilenet_v2"), channels=4).eval()

    assert network(torch.zeros(1, 4, 32, 32)).shape == (1, 3, 32, 32)


def test_pixels_that_were_not_measured_do_not_count():
    assert truth(batch([[0, 1, 255]], [[True, False, True]])).tolist() == [[[0, 255, 255]]]


def test_what_is_not_known_changes_neither_loss_nor_scores():
    task = SemanticSegmentation(classes=["water"])
    loss, scores = CrossEntropyLoss(None, smoothing=0.0), task.scores()
    given = batch([[0, 1, 255, 1]], [[True, True, True, False]])
    outputs = certain(torch.tensor([[[0, 1, 0, 0]]]), 2)

    scores.update(outputs, given)

    assert task.loss(loss, outputs, given) < 1e-3
    assert scores.compute() == {"iou": 1.0, "f1": 1.0, "accuracy": 1.0, "iou/background": 1.0, "iou/water": 1.0}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_those_of_scikit_learn(seed, classes):
    rng = np.random.default_rng(seed)
    task = SemanticSegmentation(classes=[f"c{n}" for n in range(1, classes)])
    scores, masks, answers = task.scores(), [], []
    for _ in range(3):
        mask = rng.choice([*range(classes - 1), 255], (4, 8, 8)).astype(np.uint8)
        answer = rng.integers(0, classes, (4, 8, 8))
        given = {"image": torch.zeros(4, 1, 8, 8), "valid": torch.ones(4, 8, 8, dtype=torch.bool), "mask": torch.from_numpy(mask)}
        scores.update(certain(torch.from_numpy(answer), classes), given)
        masks.append(mask.ravel())
        answers.append(answer.ravel())
    known, found = np.concatenate(masks), np.concatenate(answers)
    known, found = known[known != 255], found[known != 255]

    values = scores.compute()

    assert values["iou"] == pytest.approx(jaccard_score(known, found, average="macro"))
    assert values["f1"] == pytest.approx(f1_score(known, found, average="macro"))
    assert values["accuracy"] == pytest.approx(accuracy_score(known, found))
    assert values["iou/c1"] == pytest.approx(jaccard_score(known, found, average=None)[1])


def test_a_class_that_does_not_occur_does_not_count_in_the_mean():
    task = SemanticSegmentation(classes=["water", "road"])
    scores = task.scores()

    scores.update(certain(torch.tensor([[[0, 1]]]), 3), batch([[0, 1]]))

    assert scores.compute()["iou"] == 1.0


def test_no_network_is_better_than_a_perfect_one():
    task = SemanticSegmentation(classes=["water"])
    scores = task.scores()

    scores.update(certain(torch.tensor([[[0, 1, 1]]]), 2), batch([[0, 1, 1]]))

    assert set(scores.compute().values()) == {1.0}


def test_the_threshold_of_two_classes_is_that_of_the_best_f1():
    task = SemanticSegmentation(classes=["water"])
    review = task.review()
    probability = torch.tensor([0.1, 0.2, 0.3, 0.9])
    outputs = torch.stack([torch.zeros(4), torch.logit(probability)]).reshape(1, 2, 1, 4)

    review.update(outputs, batch([[0, 0, 1, 1]]))

    assert review.thresholds["water"] == pytest.approx(0.3, abs=1 / 254)


def test_more_classes_have_no_thresholds():
    review = SemanticSegmentation(classes=["water", "road"]).review()

    review.update(certain(torch.tensor([[[0, 1]]]), 3), batch([[0, 1]]))

    assert review.thresholds == {}


def test_without_any_known_pixel_there_are_no_scores_and_no_threshold():
    review = SemanticSegmentation(classes=["water"]).review()

    review.update(certain(torch.tensor([[[0, 1]]]), 2), batch([[255, 255]]))

    assert review.thresholds == {}
    assert np.isnan(review.compute()["iou"])


def test_a_review_shows_matrix_classes_and_predictions(tmp_path):
    review = SemanticSegmentation(classes=["water"]).review()
    mask = [[0, 1] * 8] * 16
    review.update(certain(torch.tensor([mask]), 2), batch(mask))

    review.show(Report(tmp_path), split="val", bands=("red", "green", "blue"))

    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"val_confusion_matrix", "val_predictions"}
    assert {path.stem for path in (tmp_path / "tables").iterdir()} == {"val_confusion_matrix", "val_per_class"}


def test_a_review_holds_all_headline_scores():
    review = SemanticSegmentation(classes=["water"]).review()

    review.update(certain(torch.tensor([[[0, 1]]]), 2), batch([[0, 1]]))

    assert review.compute() == headline(np.eye(2, dtype=np.int64), ("background", "water"))
