"""The bundle step: a folder that answers as the trained model does."""

from __future__ import annotations

import json

import numpy as np

from geohydra.bundle import load_model
from geohydra.steps import bundle


def test_the_bundle_loads_and_holds_scores_and_a_card(outputs) -> None:
    scores = {"metrics": {"test/iou": 0.5, "test/iou/water": 0.25}, "thresholds": {"val": {"water": 0.4}}}
    (outputs.root / "evaluate").mkdir()
    (outputs.root / "evaluate/metrics.json").write_text(json.dumps(scores))
    work = outputs.work("bundle", "train", "evaluate")
    bundle.run({"name": "lakes", "task": outputs.task, "bundle": {}}, work)
    folder = work.out / "bundle"
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    models = [load_model(place, device="cpu") for place in (outputs.root / "train/model", folder)]

    assert np.allclose(*(model.forward(pixels) for model in models), atol=1e-5)
    assert models[1].details["metrics"]["test/iou"] == 0.5
    assert "| test/iou | 0.5000 |" in (folder / "README.md").read_text()
    assert "geohydra.serving.pyfunc" in (folder / "MLmodel").read_text()
