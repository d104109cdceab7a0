"""The train step: from chips on disk to a model folder and a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from geohydra import catalogue
from geohydra.bundle import load_model
from geohydra.errors import ConfigError, DataError
from geohydra.raster.read import SceneReader
from geohydra.report import read_curves, read_metrics
from geohydra.types import Shape, Window
from geohydra.work import Request, Resources, perform

CONFIG: dict[str, Any] = {
    "task": {
        "_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation",
        "classes": ["field", "water", "road", "building"],
    },
    "source": {"_target_": "geohydra.sources.demo.Demo", "scenes": 2, "size": 256},
    "analyze": {"_target_": "geohydra.chips.analysis.Analysis"},
    "chip": {
        "_target_": "geohydra.chips.sampling.Sliding",
        "size": 32,
        "stored": True,
        "split": {"_target_": "geohydra.chips.splits.Blocks", "size": 64.0},
    },
    "model": {
        "_target_": "geohydra.models.smp.SmpModel",
        "encoder": "mobilenet_v2",
        "depth": 3,
        "options": {"decoder_channels": [16, 8, 8]},
    },
    "loss": {"_target_": "geohydra.training.losses.CrossEntropy", "weights": "auto"},
    "optimizer": {"_target_": "geohydra.training.optimizers.AdamW", "lr": 0.01},
    "augment": {"_target_": "geohydra.chips.augment.Augment", "transforms": [{"HorizontalFlip": {}}, {"VerticalFlip": {}}]},
    "train": {"_target_": "geohydra.training.settings.Training", "epochs": 2, "batch_size": 4, "lr": 0.01},
    "lock": [],
    "seed": 0,
}
STEPS = {
    "ingest": ([], ["source", "lock", "seed"]),
    "analyze": (["ingest"], ["task", "analyze"]),
    "chip": (["ingest"], ["task", "chip", "seed"]),
    "train": (["ingest", "analyze", "chip"], ["task", "model", "loss", "optimizer", "augment", "chip", "train", "seed"]),
}


def run(store: Path, config: Mapping[str, Any], *, until: str = "train") -> dict[str, str]:
    """Perform the steps one after the other; their URIs by name."""
    uris: dict[str, str] = {}
    for step, (needs, uses) in STEPS.items():
        given = {key: config[key] for key in uses}
        uris[step] = perform(Request(step, given, {need: uris[need] for need in needs}, str(store), Resources(cpu=1, device="cpu")))
        if step == until:
            break
    return uris


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def uris(store: Path) -> dict[str, str]:
    return run(store, CONFIG)


def test_a_model_folder_predicts_the_scene_it_was_trained_on(uris):
    trained = load_model(Path(uris["train"]) / "model", device="cpu", threads=1)
    scene = catalogue.read(Path(uris["ingest"]))[0]

    with SceneReader(scene, bands=trained.bands) as reader:
        image = reader.read(Window(0, 0, Shape(64, 64)))
    outputs = trained.forward(trained.normalise(image)[None])

    assert trained.bands == ("red", "green", "blue", "nir")
    assert trained.classes == ("background", "field", "water", "road", "building")
    assert outputs.shape == (1, 5, 64, 64)
    assert np.isfinite(outputs).all()


def test_the_card_says_how_it_was_made(uris):
    card = json.loads((Path(uris["train"]) / "model" / "model.json").read_text())

    assert card["task"] == CONFIG["task"]
    assert (card["chip"], card["stride"]) == ([32, 32], 8)
    assert card["metrics"]["val/iou"] == read_metrics(Path(uris["train"]) / "report")["val/iou"]


def test_the_report_holds_metrics_curves_tables_and_pictures(uris):
    report = Path(uris["train"]) / "report"

    metrics = read_metrics(report)
    assert {"val/iou", "val/f1", "val/accuracy", "val/loss", "val/iou/water", "train/epochs", "train/best_epoch"} <= set(metrics)
    assert [line["step"] for line in read_curves(report)] == [0, 1]
    assert {path.stem for path in (report / "figures").iterdir()} == {"training", "val_confusion_matrix", "val_predictions"}
    table = pq.read_table(report / "tables" / "val_per_class.parquet")
    assert table["class"].to_pylist() == ["background", "field", "water", "road", "building"]


def test_chips_read_from_the_scenes_give_the_same_network(store, uris):
    """What differs is only where pixels come from."""
    loose = run(store, CONFIG | {"chip": CONFIG["chip"] | {"stored": False}})

    one, other = (Path(found["train"]) / "model" / "weights.safetensors" for found in (uris, loose))
    assert loose["train"] != uris["train"]
    assert one.read_bytes() == other.read_bytes()


def test_weights_for_other_classes_are_refused(store, uris):
    loss = {"_target_": "geohydra.training.losses.CrossEntropy", "weights": [1.0, 2.0]}

    with pytest.raises(ConfigError, match=r"loss.weights: 2 weights for 5 classes"):
        run(store, CONFIG | {"loss": loss})


def test_a_split_without_chips_is_told(store):
    split = {"_target_": "geohydra.chips.splits.Blocks", "size": 64.0, "val": 0.0}

    with pytest.raises(DataError, match="no chip is for val"):
        run(store, CONFIG | {"chip": CONFIG["chip"] | {"split": split}})


@pytest.mark.slow
def test_two_classes_with_sparse_labels_keep_a_threshold(store):
    task = CONFIG["task"] | {"classes": ["field", "building"], "background": None}

    uris = run(store, CONFIG | {"task": task})

    trained = load_model(Path(uris["train"]) / "model", device="cpu", threads=1)
    assert 0 <= trained.thresholds["building"] <= 1
