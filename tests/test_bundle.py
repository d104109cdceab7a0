"""A model folder gives back the network that was written, or says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geohydra.build import build
from geohydra.bundle import BundleSettings, Card, load_model, read_details, write_model
from geohydra.errors import DataError, Problems
from geohydra.types import Image

TASK = {"_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation", "classes": ["water"], "background": "land"}
MODEL = {
    "_target_": "geohydra.models.smp.SmpModel",
    "architecture": "unet",
    "encoder": "mobilenet_v2",
    "depth": 3,
    "options": {"decoder_channels": [16, 8, 8]},
    "weights": None,
}
STATISTICS = {"red": {"mean": 100.0, "std": 10.0}, "nir": {"mean": 50.0, "std": 5.0}}


def card(**changes: Any) -> Card:
    values: dict[str, Any] = {
        "task": TASK,
        "model": MODEL,
        "bands": ("red", "nir"),
        "classes": ("land", "water"),
        "statistics": STATISTICS,
        "chip": (64, 64),
        "stride": 8,
        "thresholds": {"water": 0.4},
        "metrics": {"val/iou": 0.5},
    }
    return Card(**(values | changes))


def trained_network() -> torch.nn.Module:
    """With normalisations that are no longer as they were made."""
    torch.manual_seed(0)
    network: torch.nn.Module = build(TASK, where="task").network(build(MODEL, where="model"), channels=2)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
    return network.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model", trained_network(), card())
    return tmp_path / "model"


def test_a_loaded_model_answers_as_the_network_that_was_written(folder):
    batch = np.random.default_rng(0).normal(size=(3, 2, 64, 64)).astype(np.float32)
    with torch.inference_mode():
        expected = trained_network()(torch.from_numpy(batch)).numpy()

    found = load_model(folder, device="cpu").forward(batch)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_its_convolutions_have_taken_in_the_normalisations(folder):
    network = load_model(folder, device="cpu").network

    assert not [module for module in network.decoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_it_knows_what_prediction_needs(folder):
    trained = load_model(folder, device="cpu")

    assert trained.bands == ("red", "nir")
    assert trained.classes == ("land", "water")
    assert trained.thresholds == {"water": 0.4}
    assert trained.stride == 8
    assert trained.details["metrics"] == {"val/iou": 0.5}
    assert trained.details["statistics"] == STATISTICS


def test_pixels_are_normalised_as_they_were_in_training(folder):
    pixels = np.array([[[110, 100]], [[50, 0]]], np.uint16)
    valid = np.array([[True, False]])

    found = load_model(folder, device="cpu").normalise(Image(pixels, valid))

    assert found.tolist() == [[[1.0, 0.0]], [[0.0, 0.0]]]


def test_a_tensor_goes_through_without_a_copy_to_numpy(folder):
    trained = load_model(folder, device="cpu", threads=1)
    batch = torch.zeros(1, 2, 32, 32)

    assert torch.equal(trained.infer(batch), torch.from_numpy(trained.forward(batch.numpy())))


def test_weights_that_were_changed_are_refused(folder):
    with (folder / "weights.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"!")

    with pytest.raises(DataError, match="not those that the card names"):
        load_model(folder)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"this is no model folder; one holds model.json and weights.safetensors"):
        load_model(tmp_path)


def test_a_card_that_was_cut_is_refused(folder):
    (folder / "model.json").write_text('{"format": 1, "task"')

    with pytest.raises(DataError, match="cannot be read"):
        read_details(folder)


def test_a_folder_of_a_later_format_is_refused(folder):
    details = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(details | {"format": 2}))

    with pytest.raises(DataError, match="format 2 is not known here; this geohydra reads format 1"):
        load_model(folder)


def test_a_card_cannot_name_code_that_is_not_trusted(folder):
    details = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(details | {"model": {"_target_": "subprocess.Popen", "args": "true"}}))

    with pytest.raises(Problems, match=r"'subprocess.Popen' is not in a trusted package"):
        load_model(folder)


def test_the_weights_that_training_began_with_are_not_asked_for_again(tmp_path):
    write_model(tmp_path, trained_network(), card(model=MODEL | {"weights": "imagenet"}))

    assert read_details(tmp_path)["model"]["weights"] is None
    assert load_model(tmp_path).classes == ("land", "water")


def test_weights_hold_no_pickle(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights.safetensors"]


def test_bundle_settings_check_the_alias():
    with pytest.raises(Problems, match=r"bundle.alias"):
        build({"_target_": "geohydra.bundle.BundleSettings", "alias": "7 up"}, where="bundle")

    assert BundleSettings(alias="champion").alias == "champion"
