"""Every optimizer learns, and spares biases from decay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from geohydra.build import build, problems


@pytest.fixture
def settings(optimizer_option: str, repository: Path):
    node = yaml.safe_load((repository / "conf" / "optimizer" / f"{optimizer_option}.yaml").read_text())
    return build(node | {"lr": 0.01, "weight_decay": 0.1}, where="optimizer")


def test_every_optimizer_goes_downhill(settings):
    network = nn.Linear(4, 1)
    optimizer = settings.build(network)
    image = torch.randn(64, 4)
    losses = []
    for _ in range(20):
        loss = (network(image) - image.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))

    assert losses[-1] < losses[0]


def test_no_optimizer_lets_biases_and_normalisations_decay(settings):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))

    groups = settings.build(network).param_groups

    decays = {value.ndim > 1: group["weight_decay"] for group in groups for value in group["params"]}
    assert decays == {True: 0.1, False: 0.0}


def test_a_rate_that_cannot_be_is_refused():
    found = problems({"_target_": "geohydra.training.optimizers.AdamW", "lr": 0}, where="optimizer")

    assert [error.where for error in found] == ["optimizer.lr"]
