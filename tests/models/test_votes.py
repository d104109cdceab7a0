"""Several answers become one: the mean of their probabilities."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from geohydra.models.votes import Votes, chances, joined, outputs_of, together

PLACES = st.integers(0, 2**31)


@given(seed=PLACES, activation=st.sampled_from(["softmax", "sigmoid", "none"]), count=st.integers(1, 5))
def test_the_probabilities_of_joined_answers_are_the_mean(seed, activation, count):
    answers = 4 * torch.randn(count, 2, 3, 5, 4, generator=torch.Generator().manual_seed(seed))

    found = chances(joined(iter(answers), activation), activation)

    assert torch.allclose(found, torch.stack([chances(one, activation) for one in answers]).mean(0), atol=1e-5)


@given(seed=PLACES)
def test_the_spread_is_the_largest_variance_of_a_class(seed):
    answers = torch.randn(4, 2, 3, 5, 4, generator=torch.Generator().manual_seed(seed))

    found = joined(iter(answers), "softmax", spread=True)

    assert found.shape == (2, 4, 5, 4)
    assert torch.allclose(found[:, 3], answers.softmax(2).var(0, correction=0).amax(1), atol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_sure_answers_stay_finite(activation):
    outputs = joined([torch.tensor([[900.0, -900.0]]), torch.tensor([[800.0, -800.0]])], activation)

    assert torch.isfinite(outputs).all()
    assert torch.allclose(chances(outputs, activation), torch.tensor([[1.0, 0.0]]), atol=1e-6)


def test_outputs_of_probabilities_have_these_probabilities():
    given_ones = torch.tensor([[0.2, 0.8]])

    assert torch.allclose(chances(outputs_of(given_ones, "softmax"), "softmax"), given_ones)


def test_networks_together_answer_as_their_mean():
    first, second = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)
    image = torch.randn(1, 2, 4, 4)

    both = together(first, [second.state_dict()], "softmax")

    assert isinstance(both, Votes)
    assert torch.allclose(both(image).softmax(1), (first(image).softmax(1) + second(image).softmax(1)) / 2, atol=1e-6)
    assert together(first, [], "softmax") is first


def test_no_answer_cannot_be_joined():
    with pytest.raises(ValueError, match="no answer"):
        joined([], "softmax")
