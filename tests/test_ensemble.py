"""Several model folders answer as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geohydra.build import build
from geohydra.bundle import Card, load_model, read_details, write_model
from geohydra.ensemble import load_models
from geohydra.errors import DataError
from geohydra.types import Image

TASK = {"_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation", "classes": ["water"], "background": "land"}
MODEL = {"_target_": "geohydra.models.smp.SmpModel", "encoder": "mobilenet_v2", "depth": 3}


def make(folder: Path, seed: int, *, members: int = 1, mean: float = 100.0, **changes: Any) -> Path:
    networks = []
    for place in range(members):
        torch.manual_seed(seed + 100 * place)
        networks.append(build(TASK, where="task").network(build(MODEL, where="model"), channels=2))
    known = {"red": {"mean": mean, "std": 10.0}, "nir": {"mean": 50.0, "std": 5.0}}
    values: dict[str, Any] = {"bands": ("red", "nir"), "classes": ("land", "water"), "chip": (64, 64), "thresholds": {"water": 0.4}}
    card = Card(task=TASK, model=MODEL, statistics=known, stride=8, **(values | changes))
    write_model(folder, networks[0], card, others=[network.state_dict() for network in networks[1:]])
    return folder


def batch() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((2, 2, 64, 64)).astype(np.float32)


def chance(model: Any, pixels: Any) -> Any:
    return torch.from_numpy(model.forward(pixels)).softmax(1)


def test_members_of_one_folder_answer_together(tmp_path: Path) -> None:
    both = load_model(make(tmp_path / "both", 0, members=2), device="cpu")
    alone = [load_model(make(tmp_path / f"{seed}", seed), device="cpu") for seed in (0, 100)]

    assert both.members == 2
    expected = (chance(alone[0], batch()) + chance(alone[1], batch())) / 2
    assert torch.allclose(chance(both, batch()), expected, atol=1e-4)
    assert len(list(both.each(torch.from_numpy(batch())))) == 2


def test_weights_of_a_member_that_were_changed_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "both", 0, members=3)
    content = bytearray((folder / "weights-3.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights-3.safetensors").write_bytes(content)

    with pytest.raises(DataError, match=r"weights-3\.safetensors: the weights are not those that the card names"):
        read_details(folder)


def test_several_folders_answer_as_the_mean_of_their_probabilities(tmp_path: Path) -> None:
    folders = [make(tmp_path / f"{seed}", seed, thresholds={"water": 0.2 * (1 + seed)}) for seed in range(3)]

    joined = load_models(folders, device="cpu")

    expected = torch.stack([chance(load_model(folder, device="cpu"), batch()) for folder in folders]).mean(0)
    assert torch.allclose(chance(joined, batch()), expected, atol=1e-4)
    assert joined.members == 3
    assert joined.details["thresholds"] == {"water": pytest.approx(0.4)}


def test_each_model_has_pixels_normalised_as_it_was_trained(tmp_path: Path) -> None:
    folders = [make(tmp_path / "first", 0), make(tmp_path / "second", 1, mean=140.0)]
    image = Image(np.full((2, 64, 64), 120, np.uint8), np.ones((64, 64), bool))

    joined = load_models(folders, device="cpu")

    assert joined.normalise(image).shape == (4, 64, 64)
    parts = [load_model(folder, device="cpu") for folder in folders]
    expected = torch.stack([chance(model, model.normalise(image)[None]) for model in parts]).mean(0)
    assert torch.allclose(chance(joined, joined.normalise(image)[None]), expected, atol=1e-4)


def test_models_of_other_bands_or_classes_do_not_go_together(tmp_path: Path) -> None:
    folders = [make(tmp_path / "first", 0), make(tmp_path / "second", 1, classes=("land", "lake"))]

    with pytest.raises(DataError, match="its classes are land, lake, and those of first are land, water"):
        load_models(folders, device="cpu")


def test_one_folder_is_a_plain_model(tmp_path: Path) -> None:
    assert type(load_models([make(tmp_path / "one", 0)], device="cpu")).__name__ == "TrainedModel"
