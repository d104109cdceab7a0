"""Training can begin with weights from a file, whatever its bands and classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from geohydra.errors import ConfigError, DataError
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
