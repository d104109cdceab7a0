"""Training can begin with weights from a file, whatever its bands and classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from geohydra.errors import ConfigError, DataError
from geohydra.models.classifier import Classifier
from geohydra.models.coarse import EncoderHead
from geohydra.models.siamese import Siamese
from geohydra.models.smp import SmpModel


def make(weights: str | None = None, *, channels: int = 3, classes: int = 2, encoder: str = "mobilenet_v2") -> torch.nn.Module:
    return SmpModel(encoder=encoder, weights=weights).build(channels=channels, classes=classes)


def first(network: torch.nn.Module) -> torch.Tensor:
    return next(value for value in network.parameters() if value.ndim == 4)


@pytest.fixture
def source() -> torch.nn.Module:
    torch.manual_seed(1)
    return make()


@pytest.fixture
def whole(tmp_path: Path, source: torch.nn.Module) -> str:
    save_file(source.state_dict(), tmp_path / "whole.safetensors")
    return str(tmp_path / "whole.safetensors")


def test_a_whole_network_is_loaded(whole, source):
    loaded = make(whole).state_dict()

    assert all(torch.equal(value, loaded[name]) for name, value in source.state_dict().items())


def test_a_model_folder_is_loaded(whole, source):
    Path(whole).rename(Path(whole).with_name("weights.safetensors"))

    assert torch.equal(first(make(str(Path(whole).parent))), first(source))


def test_an_encoder_alone_is_loaded(tmp_path, source):
    torch.save(source.encoder.state_dict(), tmp_path / "encoder.pth")

    assert torch.equal(first(make(str(tmp_path / "encoder.pth"))), first(source))


def test_a_state_dict_below_a_key_with_a_prefix_is_loaded(tmp_path, source):
    state = {f"model.{name}": value for name, value in source.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "kept.ckpt")

    assert torch.equal(first(make(str(tmp_path / "kept.ckpt"))), first(source))


def test_the_first_layer_is_adapted_to_other_bands(whole, source):
    adapted, given = first(make(whole, channels=5)), first(source)

    torch.testing.assert_close(adapted, given[:, [0, 1, 2, 0, 1]] * (3 / 5))


def test_a_head_for_other_classes_stays_as_it_was_made(whole, source):
    loaded = make(whole, classes=4)

    assert loaded.segmentation_head[0].weight.shape[0] == 4
    assert torch.equal(first(loaded), first(source))


def test_weights_of_another_network_are_refused(whole):
    with pytest.raises(ConfigError, match="is for another network"):
        make(whole, encoder="resnet18")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        make(str(tmp_path / "none.safetensors"))


def test_a_file_of_objects_is_never_loaded(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "object.pt")

    with pytest.raises(DataError, match="objects are never loaded from a file"):
        make(str(tmp_path / "object.pt"))


def test_a_file_that_is_no_weights_is_told(tmp_path):
    (tmp_path / "noise.safetensors").write_bytes(b"noise")

    with pytest.raises(DataError, match="it holds no plain weights"):
        make(str(tmp_path / "noise.safetensors"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the hub's client, which is offline, with one repository of weights of timm."""
    from huggingface_hub import constants

    torch.manual_seed(1)
    snapshot = tmp_path / "hub" / "models--someone--resnet10t" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot / "model.safetensors"


FAMILIES = {
    "smp": lambda weights: SmpModel(encoder="tu-resnet10t", weights=weights),
    "classifier": lambda weights: Classifier(encoder="resnet10t", weights=weights),
    "coarse": lambda weights: EncoderHead(encoder="tu-resnet10t", weights=weights),
    "siamese": lambda weights: Siamese(encoder="tu-resnet10t", weights=weights),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("place", ["hub", "file", "uri"])
def test_every_model_family_starts_from_a_hub_or_a_file_with_other_bands(hub: Path, family: str, place: str) -> None:
    given = {"hub": "hf-hub:someone/resnet10t", "file": str(hub), "uri": hub.as_uri()}[place]
    channels = 8 if family == "siamese" else 4

    network = FAMILIES[family](given).build(channels=channels, classes=3)

    stored = load_file(hub)
    found = {name.rpartition("model.")[2]: value for name, value in network.state_dict().items()}
    assert torch.equal(found["layer3.0.conv1.weight"], stored["layer3.0.conv1.weight"])
    stem = stored["conv1.0.weight"]
    ours = next(value for name, value in found.items() if name.endswith(("conv1.0.weight", "conv1_0.weight")))
    assert ours.shape[1] == 4
    assert torch.allclose(ours.sum(1), stem[:, [0, 1, 2, 0]].sum(1) * 3 / 4, atol=1e-6)


def test_stages_that_timm_takes_apart_are_found(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = timm.create_model("convnext_atto", num_classes=5)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")

    network = SmpModel(encoder="tu-convnext_atto", depth=4, weights=str(tmp_path / "whole.safetensors")).build(channels=3, classes=2)

    assert torch.equal(network.state_dict()["encoder.model.stages_1.blocks.0.gamma"], whole.state_dict()["stages.1.blocks.0.gamma"])


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_cannot_be_reached_are_told(hub: Path, family: str) -> None:
    for name in ("hf-hub:someone/else", "imagenet"):
        with pytest.raises(ConfigError, match=r"model.weights: .*(someone/else|'imagenet').* cannot be had"):
            FAMILIES[family](name).build(channels=6, classes=3)


def test_a_tag_that_timm_does_not_know_is_told_with_others() -> None:
    with pytest.raises(ConfigError, match=r"model.weights: timm has no weights 'a9' for resnet18; there are .*a1_in1k"):
        Classifier(encoder="resnet18", weights="a9").build(channels=3, classes=2)
