"""The evaluate step: each split over its own regions."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from geohydra.report import read_metrics
from geohydra.steps import evaluate, predict

PREDICT = {"_target_": "geohydra.prediction.settings.Prediction", "window": 32, "polygons": False}
EVALUATE = {"_target_": "geohydra.evaluation.settings.Evaluation"}


def test_metrics_are_named_by_split_and_count_only_its_regions(outputs) -> None:
    made = outputs.work("predict", "ingest", "train")
    predict.run({"task": outputs.task, "predict": PREDICT}, made)
    outputs.publish("predict", made)
    work = outputs.work("evaluate", "ingest", "chip", "predict")
    evaluate.run({"task": outputs.task, "evaluate": EVALUATE}, work)
    metrics = read_metrics(work.report.folder)
    written = json.loads((work.out / "metrics.json").read_text())
    pixels = pq.read_table(work.report.folder / "tables/per_scene.parquet").to_pydict()["pixels"]

    assert {"val/iou", "test/iou", "test/f1", "test/accuracy", "test/iou/water", "test/baseline_iou"} <= metrics.keys()
    assert written["metrics"] == pytest.approx(metrics)
    assert written["thresholds"].keys() == {"val", "test"}
    assert pixels == [20 * 60, 20 * 60]
