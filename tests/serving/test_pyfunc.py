"""Every kind of bundle answers through MLflow with what its signature says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geohydra.build import build
from geohydra.bundle import Card, write_model
from geohydra.prediction.served import served
from geohydra.tracking import pyfunc

BANDS = ("red", "nir")
CLASSES = ["water", "road", "wood"]
SMP = {"_target_": "geohydra.models.smp.SmpModel", "encoder": "mobilenet_v2", "depth": 3, "options": {"decoder_channels": [16, 8, 8]}}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], str, tuple[int, ...]]] = {
    "classification": (
        {"_target_": "geohydra.tasks.classification.Classification", "classes": CLASSES},
        {"_target_": "geohydra.models.classifier.Classifier", "encoder": "resnet10t"},
        *("uint8", (3,)),
    ),
    "labels of images": (
        {"_target_": "geohydra.tasks.classification.Classification", "classes": CLASSES, "multi_label": True},
        {"_target_": "geohydra.models.classifier.Classifier", "encoder": "resnet10t"},
        *("uint8", (3, 3)),
    ),
    "labels of pixels": (
        {"_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation", "classes": CLASSES, "multi_label": True},
        *(SMP, "uint8", (3, 3, 45, 50)),
    ),
    "numbers": ({"_target_": "geohydra.tasks.regression.Regression", "value": "height"}, SMP, "float32", (3, 45, 50)),
    "cells": (
        {"_target_": "geohydra.tasks.coarse_segmentation.CoarseSegmentation", "classes": CLASSES, "cell": 16},
        {"_target_": "geohydra.models.coarse.EncoderHead", "encoder": "resnet18", "output_stride": 16, "hidden": 8},
        *("uint8", (3, 3, 4)),
    ),
    "series": (
        {"_target_": "geohydra.tasks.time_series.TimeSeries", "classes": CLASSES},
        {"_target_": "geohydra.models.series.Ltae"},
        *("uint8", (3, 45, 50)),
    ),
    "clips": (
        {"_target_": "geohydra.tasks.video_clips.VideoClips", "classes": CLASSES},
        {"_target_": "geohydra.models.clips.ClipClassifier", "architecture": "small"},
        *("uint8", (3,)),
    ),
}


@pytest.fixture(params=KINDS)
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str, tuple[int, ...]]:
    task, model, dtype, shape = KINDS[request.param]
    torch.manual_seed(0)
    made, net = build(task, where="task"), build(model, where="model")
    network = made.network(net, channels=2).eval()
    known = {"red": {"mean": 100.0, "std": 10.0}, "nir": {"mean": 50.0, "std": 5.0}}
    write_model(tmp_path, network, Card(task, model, BANDS, made.classes, known, (32, 32), stride=net.stride))
    form = served(made, net, classes=made.classes, thresholds={})
    outputs = (form.decision.dtype, form.shape)
    pyfunc.save(tmp_path, tmp_path, bands=BANDS, classes=made.classes, inputs=form.inputs(2), outputs=outputs)
    return tmp_path, dtype, shape


def test_answers_have_the_type_and_the_shape_of_the_signature(bundle: tuple[Path, str, tuple[int, ...]]) -> None:
    import mlflow.pyfunc

    folder, dtype, shape = bundle
    loaded = mlflow.pyfunc.load_model(str(folder))
    draw = np.random.default_rng(1)
    dated = loaded.metadata.signature.inputs.has_input_names()
    sides = (3, 5, 45, 50, 2) if dated else (3, 45, 50, 2)
    pixels = np.moveaxis(draw.normal((100, 50), (10, 5), sides), -1, -3).astype(np.float32)
    pixels[1] = np.nan
    days = np.tile(np.arange(5, dtype=np.int32)[::-1] * 20 + 19_800, (3, 1))

    found = loaded.predict({"pixels": pixels, "days": days} if dated else pixels)

    told = loaded.metadata.signature.outputs.inputs[0]
    assert (found.dtype, found.shape) == (np.dtype(dtype), shape)
    assert told.type == found.dtype
    assert len(told.shape) == found.ndim
    assert all(side in (-1, length) for side, length in zip(told.shape, found.shape, strict=True))
    unknown = np.isnan(found) if dtype == "float32" else found == 255
    assert unknown[1].all()
    assert not unknown[[0, 2]].any()


def test_dates_may_come_in_any_order(tmp_path: Path) -> None:
    from geohydra.bundle import load_model
    from geohydra.serving.pyfunc import Segmenter

    task, model, _, _ = KINDS["series"]
    torch.manual_seed(0)
    made, net = build(task, where="task"), build(model, where="model")
    known = {band: {"mean": 0.0, "std": 1.0} for band in BANDS}
    write_model(tmp_path, made.network(net, channels=2), Card(task, model, BANDS, made.classes, known, (16, 16), stride=1))
    segmenter = Segmenter(load_model(tmp_path, device="cpu"))
    pixels = np.random.default_rng(0).normal(0, 20, (1, 4, 2, 16, 16)).astype(np.float32)
    days = np.array([[19_800, 19_850, 19_900, 19_950]], np.int32)
    order = [2, 0, 3, 1]

    one = segmenter.predict({"pixels": pixels, "days": days})
    other = segmenter.predict({"pixels": pixels[:, order], "days": days[:, order]})

    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one)) > 1
