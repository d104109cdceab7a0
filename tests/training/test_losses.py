"""Losses: what they are, and that nothing unknown touches them."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from geohydra.build import build
from geohydra.errors import ConfigError, Problems
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.training.criteria import CrossEntropyLoss, FocalLoss
from geohydra.training.losses import BOUND, CrossEntropy, Sum, automatic, class_shares, class_weights, positive_weights

SHARES = {"land": 0.7, "water": 0.2, "road": 0.1}


@pytest.fixture
def outputs() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def truth() -> torch.Tensor:
    known = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    known[:, 4:] = 255
    return known


def test_every_loss_falls_to_nothing_for_perfect_answers(loss, truth):
    perfect = 30.0 * functional.one_hot(truth.clamp(max=2), 3).permute(0, 3, 1, 2)

    assert float(loss(perfect, truth)) == pytest.approx(0, abs=1e-3)


def test_every_loss_is_higher_for_wrong_answers(loss, truth):
    wrong = 30.0 * functional.one_hot((truth.clamp(max=2) + 1) % 3, 3).permute(0, 3, 1, 2)

    assert float(loss(wrong, truth)) > 0.5


def test_no_loss_sees_what_is_ignored(loss, outputs, truth):
    changed = outputs.clone()
    changed[:, :, 4:] += 7

    assert float(loss(changed, truth)) == pytest.approx(float(loss(outputs, truth)), rel=1e-5)


def test_no_gradient_reaches_what_is_ignored(loss, outputs, truth):
    outputs.requires_grad_()

    loss(outputs, truth).backward()

    assert float(outputs.grad[:, :, 4:].abs().max()) == 0
    assert float(outputs.grad[:, :, :4].abs().max()) > 0


def test_every_loss_is_finite_and_still_where_nothing_is_known(loss, outputs):
    outputs.requires_grad_()

    value = loss(outputs, torch.full((2, 8, 8), 255))
    value.backward()

    assert value.item() == 0
    assert float(outputs.grad.abs().max()) == 0


def test_cross_entropy_is_that_of_torch(outputs, truth):
    weights = [1.0, 2.0, 3.0]

    found = CrossEntropyLoss(weights, smoothing=0.0)(outputs, truth)

    assert float(found) == pytest.approx(float(functional.cross_entropy(outputs, truth, torch.tensor(weights), ignore_index=255)))


def test_focal_without_gamma_is_cross_entropy(outputs, truth):
    weights = [1.0, 2.0, 3.0]

    assert float(FocalLoss(weights, gamma=0.0)(outputs, truth)) == pytest.approx(
        float(CrossEntropyLoss(weights, smoothing=0.0)(outputs, truth)), rel=1e-5
    )


def test_a_sum_adds_its_parts_by_weight(outputs, truth):
    one = CrossEntropy()

    found = Sum(parts=[one, one], weights=[1.0, 0.5]).build(SHARES)(outputs, truth)

    assert float(found) == pytest.approx(1.5 * float(one.build(SHARES)(outputs, truth)))


def test_a_sum_needs_a_weight_for_each_part():
    node = {"_target_": "geohydra.training.losses.Sum", "weights": [1.0, 2.0]}
    node["parts"] = [{"_target_": "geohydra.training.losses.CrossEntropy"}]

    with pytest.raises(ConfigError, match=r"loss.weights: 2 weights for 1 losses"):
        build(node, where="loss")


def test_a_part_of_a_sum_that_is_no_loss_is_refused():
    node = {"_target_": "geohydra.training.losses.Sum", "parts": [{"_target_": "geohydra.training.settings.Training"}]}

    with pytest.raises(Problems, match=r"loss.parts\[0\]"):
        build(node, where="loss")


def test_automatic_weights_are_inverse_frequencies_within_bounds():
    weights = automatic([0.5, 0.25, 0.0001, 0.0])

    assert weights[1] == pytest.approx(2 * weights[0])
    assert weights[2] == BOUND
    assert weights[3] == 1.0


def test_automatic_weights_of_a_balanced_world_are_one():
    assert automatic([0.25] * 4) == [1.0] * 4


def test_no_weights_are_no_weights():
    assert class_weights(None, SHARES) is None


def test_the_number_of_weights_is_checked_against_the_task():
    task = SemanticSegmentation(classes=["water", "road"], background="land")

    found = list(CrossEntropy(weights=[1.0, 2.0]).check({"task": task}))

    assert [str(error) for error in found] == ["loss.weights: 2 weights for 3 classes; give one each for land, water, road"]
    assert not list(CrossEntropy(weights=[1.0, 2.0, 3.0]).check({"task": task}))
    assert not list(CrossEntropy(weights="auto").check({"task": task}))


def test_the_number_of_weights_is_checked_inside_a_sum():
    task = SemanticSegmentation(classes=["water"])

    found = list(Sum(parts=[CrossEntropy(), CrossEntropy(weights=[1.0])]).check({"task": task}))

    assert [error.where for error in found] == ["loss.parts[1].weights"]


def test_shares_are_weighted_by_valid_pixels_and_the_background_has_the_rest():
    shares = class_shares([(1.0, {"water": 0.4, "road": 0.0}), (0.5, {"water": 0.1, "road": 0.3})], ["land", "water", "road"])

    assert shares == pytest.approx({"land": 0.6, "water": 0.3, "road": 0.1})


def test_shares_of_nothing_are_nothing():
    assert all(not math.isnan(share) for share in class_shares([(0.0, {"water": 1.0})], ["water"]).values())


def test_root_weights_lie_between_none_and_automatic_ones():
    shares = {"common": 0.8, "rare": 0.2}

    assert class_weights("root", shares) == pytest.approx([weight**0.5 for weight in automatic([0.8, 0.2])])
    assert positive_weights("root", shares) == pytest.approx([0.5, 2.0])
