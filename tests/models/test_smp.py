"""Every network that can be chosen, and every wrong choice told before anything is imported."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch
import yaml
from torch import nn

from geohydra.build import build, problems
from geohydra.config.folders import shipped_conf
from geohydra.errors import ConfigError
from geohydra.models.folding import fold
from geohydra.models.smp import ARCHITECTURES, SmpModel
from geohydra.models.smp_encoders import ENCODERS

TARGET = "geohydra.models.smp.SmpModel"


def test_the_encoders_are_those_of_the_installed_library():
    from segmentation_models_pytorch.encoders import encoders

    assert tuple(encoders) == ENCODERS


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_options_are_those_of_the_installed_library(name):
    import segmentation_models_pytorch as smp

    ours = {"encoder_name", "encoder_depth", "encoder_weights", "in_channels", "classes"}
    fixed = {"activation", "aux_params", "upsampling", "kwargs", "self"}

    signature = inspect.signature(getattr(smp, ARCHITECTURES[name].name).__init__)

    assert set(ARCHITECTURES[name].options) == set(signature.parameters) - ours - fixed


CHOICES = {
    path.stem: node
    for path in sorted((shipped_conf() / "model").glob("*.yaml"))
    if (node := yaml.safe_load(path.read_text()))["_target_"] == TARGET
}


@pytest.fixture(params=CHOICES)
def made(request: pytest.FixtureRequest) -> SmpModel:
    model = build(CHOICES[request.param], where="model")
    assert isinstance(model, SmpModel)
    return model


def test_every_model_answers_for_every_pixel_of_any_number_of_bands(made):
    side = -(-made.smallest // made.stride) * made.stride

    outputs = made.build(channels=5, classes=3).eval()(torch.randn(1, 5, side, 2 * side))

    assert outputs.shape == (1, 3, side, 2 * side)


def test_the_stride_is_the_one_that_the_encoder_has(made):
    patches = 2 if made.architecture.name == "DPT" else 1

    assert made.stride == patches * made.build(channels=3, classes=2).encoder.output_stride


def test_every_model_answers_alike_after_folding(made):
    network = _worn(made.build(channels=4, classes=3))
    example = torch.randn(1, 4, 128 // made.stride * made.stride, 128 // made.stride * made.stride)

    folded = fold(network, example)

    left = [module for module in folded.decoder.modules() if type(module) is nn.BatchNorm2d]
    assert len(left) == 0
    with torch.inference_mode():
        torch.testing.assert_close(folded(example), network(example), rtol=1e-2, atol=1e-3)


def test_a_normalisation_that_is_not_alone_after_its_convolution_stays():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raw = self.convolution(image)
            return self.norm(raw) + raw

    network = _worn(Twice())

    assert fold(network, torch.randn(1, 1, 8, 8)) is network


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"architecture": "unett"}, "model.architecture: there is no architecture 'unett'; did you mean 'unet'?"),
        ({"encoder": "resnet81"}, "model.encoder: there is no encoder 'resnet81'; did you mean 'resnet18'?"),
        ({"architecture": "linknet", "encoder": "mit_b0"}, "model.encoder: Linknet does not go with mit_b0, which has no features"),
        ({"architecture": "pan", "encoder": "vgg11_bn"}, "model.encoder: PAN does not go with vgg11_bn, whose pooling"),
        ({"architecture": "dpt"}, "model.encoder: 'resnet18' is no vision transformer of timm"),
        (
            {"options": {"decoder_chanels": [1]}},
            "model.options.decoder_chanels: Unet takes no such option; did you mean 'decoder_channels'?",
        ),
        ({"depth": 4, "options": {"decoder_channels": [8, 8]}}, "2 numbers for a depth of 4; such as [128, 64, 32, 16]"),
        ({"architecture": "pan", "options": {"encoder_output_stride": 7}}, "it is 16 or 32 for PAN"),
        ({"architecture": "deeplabv3", "depth": 2}, "model.depth: DeepLabV3 needs an encoder of depth 3 or more"),
        ({"depth": 9}, "model.depth"),
    ],
)
def test_a_wrong_choice_is_told(node, message):
    found = problems({"_target_": TARGET} | node, where="model")

    assert len(found) == 1
    assert message in str(found[0])


def test_a_shallow_network_gets_as_many_decoder_channels_as_it_needs():
    model = SmpModel(encoder="mobilenet_v2", depth=3)

    assert model.build(channels=2, classes=2)(torch.zeros(2, 2, 8, 8)).shape == (2, 2, 8, 8)


def test_any_encoder_of_timm_can_be_named():
    model = SmpModel(encoder="tu-mobilenetv3_small_050")

    assert model.build(channels=6, classes=2).eval()(torch.zeros(1, 6, 32, 32)).shape == (1, 2, 32, 32)


def test_an_encoder_that_timm_does_not_have_is_told():
    with pytest.raises(ConfigError, match="Unet with tu-nothing cannot be made"):
        SmpModel(encoder="tu-nothing").build(channels=3, classes=2)


def test_weights_by_an_unknown_name_are_told():
    with pytest.raises(ConfigError, match=r"model.weights: 'imagenot' for resnet18 cannot be had"):
        SmpModel(weights="imagenot").build(channels=3, classes=2)


def test_checking_a_model_imports_no_heavy_package():
    code = (
        "import sys; from geohydra.build import build; build({'_target_': 'geohydra.models.smp.SmpModel'}, where='model');"
        "sys.exit(bool({'torch', 'timm', 'segmentation_models_pytorch'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _worn(network: nn.Module) -> nn.Module:
    """As after some training."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()
