"""The encoder of a network is found, may rest, and may learn more slowly."""

from __future__ import annotations

from itertools import pairwise

import pytest
import timm
import torch
from torch import nn

from geohydra.errors import ConfigError
from geohydra.models.classifier import Classifier
from geohydra.models.coarse import EncoderHead
from geohydra.models.siamese import Siamese
from geohydra.models.smp import SmpModel
from geohydra.training.checkpoint import load_tree
from geohydra.training.encoder import Encoder, encoder_of, layers_of
from geohydra.training.loop import fit
from geohydra.training.optimizers import AdamW
from geohydra.training.settings import Training

MODELS = [
    SmpModel(encoder="resnet18"),
    SmpModel(encoder="tu-convnext_atto", depth=4),
    SmpModel(architecture="segformer", encoder="mit_b0"),
    EncoderHead(encoder="mobilenet_v2"),
    Siamese(encoder="efficientnet-b0"),
    Classifier(encoder="resnet18"),
    Classifier(encoder="vit_tiny_patch16_224"),
]
NAMES = [f"{type(model).__name__}-{getattr(model, 'encoder', 'pair')}" for model in MODELS]


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_every_model_has_an_encoder_whose_layers_hold_each_of_its_parameters_once(model):
    network = model.build(channels=4, classes=3)
    modules, loose = encoder_of(network)
    known = [name for name, _ in loose] + [f"{place}.{name}" for place, module in modules for name, _ in module.named_parameters()]

    found = [name for layer in layers_of(network) for name in layer]

    assert sorted(found) == sorted(known)
    assert len(layers_of(network)) >= 4
    assert 0 < len(known) < len(list(network.named_parameters()))


def test_layers_are_those_of_timm():
    network = timm.create_model("resnet18", num_classes=2)
    layers = layers_of(network)

    assert [layer[0] for layer in layers[:3]] == ["conv1.weight", "layer1.0.conv1.weight", "layer1.1.conv1.weight"]
    assert len(layers) == 9
    assert "bn1.weight" in layers[0]


def test_what_belongs_to_no_module_is_of_the_first_layer():
    first = layers_of(timm.create_model("vit_tiny_patch16_224", num_classes=2))[0]

    assert {"cls_token", "pos_embed", "patch_embed.proj.weight"} <= set(first)


def test_rates_fall_from_the_head_to_the_image():
    network = SmpModel(encoder="resnet18").build(channels=4, classes=3)
    groups = AdamW(lr=1.0, weight_decay=0.1, encoder_rate=0.5, layer_decay=0.8).build(network).param_groups
    rates = {id(value): group["lr"] for group in groups for value in group["params"]}
    named = {name: rates[id(value)] for name, value in network.named_parameters()}

    depth = [named[layer[0]] for layer in layers_of(network)]
    assert named["segmentation_head.0.weight"] == 1.0
    assert depth[-1] == pytest.approx(0.4)
    assert all(later / earlier == pytest.approx(1 / 0.8) for earlier, later in pairwise(depth))
    assert sum(len(group["params"]) for group in groups) == len(named)
    assert {group["weight_decay"] for group in groups for value in group["params"] if value.ndim <= 1} == {0.0}


def test_without_a_choice_there_are_two_groups_of_one_rate():
    groups = AdamW(lr=0.1).build(SmpModel(encoder="resnet18").build(channels=4, classes=3)).param_groups

    assert [group["lr"] for group in groups] == [0.1, 0.1]


def test_a_network_without_an_encoder_is_told():
    with pytest.raises(ConfigError, match=r"train.freeze_encoder: this network has no encoder"):
        Encoder(nn.Linear(1, 1))
    with pytest.raises(ConfigError, match=r"optimizer.encoder_rate: this network has no encoder"):
        AdamW(encoder_rate=0.1).build(nn.Linear(1, 1))


class Halves(nn.Module):
    """An encoder and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.head(self.encoder(images))
        return answers


def state(module: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().double().flatten() for value in module.state_dict().values()])


@pytest.mark.parametrize("ema", [None, 0.9])
def test_an_encoder_that_always_rests_stays_as_it_was_with_its_statistics(chips, make_work, make_recipe, ema):
    torch.manual_seed(0)
    network = Halves()
    encoder, head = state(network.encoder), state(network.head)

    fit(network, make_recipe(Training(epochs=2, freeze_encoder="always", ema=ema)), chips(16), chips(8, seed=1), work=make_work())

    assert torch.allclose(state(network.encoder), encoder, atol=1e-7)
    assert not torch.allclose(state(network.head), head)


def test_an_encoder_wakes_after_some_epochs(chips, make_work, make_recipe):
    found = []
    for epochs in (2, 3):
        torch.manual_seed(0)
        network, work = Halves(), make_work(f"{epochs}")
        before = network.encoder[0].weight.detach().clone()
        settings = Training(epochs=epochs, freeze_encoder=2)
        fit(network, make_recipe(settings), chips(16), chips(8, seed=1), work=work)
        last = load_tree(work.state / "last.safetensors")["state_dict"]["network.encoder.0.weight"]
        found.append(torch.equal(last, before))

    assert found == [True, False]
