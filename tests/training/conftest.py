"""A small thing to learn: bright pixels are water."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from geohydra.build import build
from geohydra.task import Batch
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.training.loop import Recipe
from geohydra.training.losses import CrossEntropy
from geohydra.training.optimizers import AdamW
from geohydra.training.settings import Training
from geohydra.work import Resources, Work


class Chips:
    """Chips in memory, shuffled by epoch, as a loader."""

    def __init__(self, count: int, *, batch_size: int = 4, seed: int = 0, shuffle: bool = True) -> None:
        noise = torch.Generator().manual_seed(seed)
        self.image = torch.randn(count, 2, 16, 16, generator=noise)
        self.mask = (self.image[:, 0] + 0.5 * torch.randn(count, 16, 16, generator=noise) > 0).to(torch.uint8)
        self.mask[:, :2] = 255
        self.valid = torch.ones(count, 16, 16, dtype=torch.bool)
        self.batch_size, self.shuffle, self.epoch = batch_size, shuffle, 0
        self.batch_sampler = self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.image) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.image), generator=torch.Generator().manual_seed(self.epoch))
        order = order if self.shuffle else torch.arange(len(self.image))
        for part in order.split(self.batch_size):
            yield {"image": self.image[part], "valid": self.valid[part], "mask": self.mask[part]}


def network(seed: int = 0) -> nn.Module:
    """With all that makes resuming hard: dropout, and statistics that batches leave behind."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 2, 1),
    )


def recipe(settings: Training | None = None) -> Recipe:
    task = SemanticSegmentation(classes=["water"], background="land")
    settings = settings or Training(epochs=4, lr=0.01)
    loss = CrossEntropy().build({"land": 0.5, "water": 0.5})
    return Recipe(task, loss, AdamW(lr=settings.lr, weight_decay=settings.weight_decay), settings)


@pytest.fixture
def make_work(tmp_path: Path) -> Callable[..., Work]:
    """Work in a folder by name; the same name finds the same state."""

    def make(name: str = "work", **resources: object) -> Work:
        (tmp_path / name).mkdir(exist_ok=True)
        return Work({}, tmp_path / name, Resources(cpu=1, device="cpu", **resources))  # type: ignore[arg-type]

    return make


@pytest.fixture
def chips() -> type[Chips]:
    return Chips


@pytest.fixture
def make_network() -> Callable[..., nn.Module]:
    return network


@pytest.fixture
def make_recipe() -> Callable[..., Recipe]:
    return recipe


@pytest.fixture
def loss(loss_option: str, repository: Path, request: pytest.FixtureRequest) -> Any:
    """Every shipped loss, for the SHARES of classes of the module that asks."""
    node = yaml.safe_load((repository / "conf" / "loss" / f"{loss_option}.yaml").read_text())
    if not node["_target_"].startswith("geohydra.training.losses."):
        pytest.skip("a loss of something else than class maps")
    return build(node, where="loss").build(request.module.SHARES)
