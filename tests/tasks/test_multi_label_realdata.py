"""Multi-label classification of real Sentinel-2 chips, through the command line: that it works, not how well."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pytest

from geohydra.cli import main

pytestmark = [pytest.mark.realdata, pytest.mark.slow]


def test_chips_with_several_labels_go_from_source_to_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, realdata: Path) -> None:
    monkeypatch.chdir(tmp_path)
    folder = realdata / "rsvqa_lr_sentinel2"
    records = json.loads((folder / "labels.json").read_text())
    names = sorted({name for record in records for name, there in record["present"].items() if there})
    words = ["task=classification", "task.multi_label=true", f"task.classes=[{','.join(names)}]", "task.background=none"]
    words += ["source=chips", "source/labels=records", f"source.images={folder}/*.tif", f"source.labels.file={folder}/labels.json"]
    words += ["source.labels.label=present", "chip.size=128", "chip/split=by_scene", "train.epochs=2", "tracking=none", "name=several"]

    assert main(words) == 0

    [run] = Path("outputs/runs").glob("*-several")
    rows = json.loads((run / "results/predict/index.json").read_text())
    assert len(rows) == 12
    cells = geopandas.read_parquet(run / "results/predict" / rows[0]["cells_parquet"])
    assert len(cells) == 4
    assert {"classes", *(f"score_{name}" for name in names)} <= set(cells.columns)
    metrics = json.loads((run / "results/evaluate/metrics.json").read_text())["metrics"]
    assert {"test/f1", "test/f1_micro", "test/average_precision", "test/subset_accuracy", "test/baseline_f1"} <= set(metrics)
    card = json.loads((run / "results/bundle/bundle/model.json").read_text())
    assert set(card["thresholds"]) <= set(names)
    assert card["thresholds"]
