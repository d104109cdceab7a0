"""Losses of several labels: what they are, and that nothing unknown touches them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from geohydra.training.losses import BOUND, positive_weights
from geohydra.training.multilabel import BinaryLoss
from geohydra.types import IGNORE

SHARES = {"water": 0.5, "road": 0.1, "field": 0.001}


@pytest.fixture
def outputs() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def truth() -> torch.Tensor:
    known = torch.randint(0, 2, (2, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    known[:, :, 4:] = IGNORE
    return known


def test_every_loss_takes_several_labels(loss, outputs, truth):
    perfect = torch.where(truth == 1, 30.0, -30.0)

    assert float(loss(perfect, truth)) == pytest.approx(0, abs=1e-3)
    assert float(loss(-perfect, truth)) > 0.5
    changed = outputs.clone()
    changed[:, :, 4:] += 7
    assert float(loss(changed, truth)) == pytest.approx(float(loss(outputs, truth)), rel=1e-5)


def test_every_loss_is_nothing_where_nothing_is_known(loss, outputs):
    outputs.requires_grad_()
    value = loss(outputs, torch.full((2, 3, 8, 8), IGNORE))
    value.backward()

    assert float(value.detach()) == 0
    assert torch.isfinite(outputs.grad).all()


def test_without_more_it_is_binary_cross_entropy(outputs, truth):
    known = truth != IGNORE
    expected = functional.binary_cross_entropy_with_logits(outputs[known], truth[known].float(), pos_weight=None)
    weights = torch.tensor([2.0, 3.0, 4.0]).view(1, 3, 1, 1).expand_as(outputs)[known]
    weighted = functional.binary_cross_entropy_with_logits(outputs[known], truth[known].float(), pos_weight=weights)

    assert torch.allclose(BinaryLoss(None)(outputs, truth), expected)
    assert torch.allclose(BinaryLoss([2.0, 3.0, 4.0])(outputs, truth), weighted)


def test_the_asymmetric_loss_is_that_of_its_paper(outputs, truth):
    known = truth != IGNORE
    chance, there = outputs[known].sigmoid(), truth[known] == 1
    shifted = (chance - 0.05).clamp(min=0)
    expected = torch.where(there, -((1 - chance) ** 1.0) * chance.log(), -(shifted**4.0) * (1 - shifted).log()).mean()

    assert torch.allclose(BinaryLoss(None, positive=1.0, negative=4.0, margin=0.05)(outputs, truth), expected, atol=1e-6)


@pytest.mark.parametrize("size", [100.0, 1e4])
def test_extreme_outputs_have_finite_gradients(size):
    outputs = torch.tensor([[[[size]], [[-size]]]], requires_grad=True)
    BinaryLoss(None, positive=2.0, negative=4.0, margin=0.05)(outputs, torch.tensor([[[[0]], [[1]]]])).backward()

    assert torch.isfinite(outputs.grad).all()


def test_automatic_weights_make_up_for_rarity():
    assert positive_weights("auto", SHARES) == [pytest.approx(1), pytest.approx(9), BOUND]
    assert positive_weights([1.0, 2.0, 3.0], SHARES) == [1.0, 2.0, 3.0]
    assert positive_weights(None, SHARES) is None
