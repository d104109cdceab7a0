"""What a report tells of chips that may be of several classes."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image as Png

from geohydra.evaluation.label_review import LabelReview, told
from geohydra.types import IGNORE

CLASSES = ("building", "road", "water_area", "forest", "farmland", "commercial_building")


class Kept:
    """A report that keeps its figures."""

    def __init__(self) -> None:
        self.figures: dict[str, bytes] = {}

    def figure(self, name: str, png: bytes) -> None:
        self.figures[name] = png

    def metrics(self, values: dict[str, float]) -> None:
        assert values

    def table(self, name: str, columns: dict[str, list[object]]) -> None:
        assert columns, name


def reviewed(truth: list[int], chances: list[float]) -> Kept:
    def known(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return batch["label"][:, :, None, None]

    chips = {"image": torch.rand(3, 3, 16, 16), "valid": torch.ones(3, 16, 16, dtype=torch.bool)}
    chips["label"] = torch.tensor([truth] * 3, dtype=torch.uint8)
    review, report = LabelReview(SimpleNamespace(classes=CLASSES, colors={}), known), Kept()
    review.update(torch.logit(torch.tensor([chances] * 3))[:, :, None, None], chips)
    review.show(report, split="val", bands=("red", "green", "blue"))
    return report


def test_chips_of_many_labels_fill_their_picture() -> None:
    report = reviewed([1, 1, 1, 1, 1, 0], [0.9, 0.8, 0.7, 0.2, 0.6, 0.9])

    with Png.open(io.BytesIO(report.figures["val_predictions"])) as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    assert (pixels.min(axis=-1) < 250).mean() > 0.5


def test_what_is_wrong_and_what_was_missed_is_told_by_itself() -> None:
    found = told(("water", "road", "forest", "field"), np.array([1, 0, 1, IGNORE]), np.array([0.9, 0.8, 0.25, 0.1]))

    assert found == "water 0.90\nwrong: road 0.80\nmissed: forest 0.25"


def test_long_answers_go_on_in_the_next_line() -> None:
    found = told(CLASSES, np.ones(6), np.full(6, 0.75))

    assert all(f"{name} 0.75" in found.replace("\n", " ") for name in CLASSES)
    assert max(map(len, found.splitlines())) <= 45


def test_a_chip_of_no_class_says_so() -> None:
    assert told(("water",), np.array([0]), np.array([0.1])) == "none"
