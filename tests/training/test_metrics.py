"""Counts on the device are those of numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geohydra.training.metrics import Confusion, Levels, answers


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_an_answer_is_the_class_of_the_largest_output(classes, order):
    outputs = torch.randn(2, classes, 5, 6).contiguous(memory_format=order)

    assert torch.equal(answers(outputs), outputs.argmax(1))


def test_a_confusion_matrix_counts_truth_by_row():
    confusion = Confusion(3)

    confusion.update(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 0, 1, 255], dtype=torch.uint8))
    confusion.update(torch.tensor([1]), torch.tensor([0], dtype=torch.uint8))

    assert confusion.matrix.tolist() == [[1, 2, 0], [0, 0, 1], [0, 0, 0]]


def test_a_confusion_matrix_of_nothing_is_empty():
    assert Confusion(2).matrix.tolist() == [[0, 0], [0, 0]]


def test_many_classes_do_not_overflow():
    confusion = Confusion(255)

    confusion.update(torch.tensor([254]), torch.tensor([254], dtype=torch.uint8))

    assert confusion.matrix[254, 254] == 1


def test_levels_count_probabilities_by_truth():
    levels = Levels(10)
    probability = torch.tensor([[0.0, 0.51], [1.0, 0.9]])
    outputs = torch.stack([torch.zeros(2, 2), torch.logit(probability, eps=1e-6)])[None]

    levels.update(outputs, torch.tensor([[[0, 1], [1, 255]]], dtype=torch.uint8))

    positive, negative = levels.histograms
    assert np.flatnonzero(positive).tolist() == [5, 10]
    assert np.flatnonzero(negative).tolist() == [0]


def test_levels_of_nothing_are_empty():
    assert [counts.sum() for counts in Levels(4).histograms] == [0, 0]
