"""Every task type through the command line: from the embedded world to outputs that others can read, and on to new imagery."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pytest
import rasterio
from rio_cogeo import cog_validate

from geohydra.cli import main

pytestmark = pytest.mark.slow

SMALL = ["source.scenes=3", "source.size=256", "train.epochs=2", "tracking=none", "name=small", "predict.window=128"]
FINE = {"coarse_segmentation": ["chip.size=64"], "semantic_segmentation": ["chip.size=64"], "change_detection": ["chip.size=64"]}


def test_every_task_goes_from_source_to_maps_and_its_bundle_on_to_new_imagery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_option: str
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main([f"task={task_option}", *SMALL, *FINE.get(task_option, [])]) == 0

    [run] = Path("outputs/runs").glob("*-small")
    metrics = json.loads((run / "results/evaluate/metrics.json").read_text())["metrics"]
    assert any(name.startswith("test/baseline") for name in metrics)
    rows = json.loads((run / "results/predict/index.json").read_text())
    assert len(rows) == 3
    for row in rows:
        valid, errors, _ = cog_validate(str(run / "results/predict" / row["classes"]))
        assert valid, errors
        with rasterio.open(run / "results/predict" / row["classes"]) as dataset:
            assert dataset.crs.to_epsg() == 32632
            assert dataset.nodata == 255
            assert dataset.colormap(1)
        shapes = next(row[key] for key in ("polygons_parquet", "cells_parquet") if key in row)
        assert geopandas.read_parquet(run / "results/predict" / shapes).crs == "EPSG:32632"
    images = sorted((tmp_path / "outputs/store/ingest").glob("*/images/place-01*.tif"))
    given = (
        [f"source.{name}={path}" for name, path in zip(("before", "after"), images, strict=True)] if len(images) == 2 else [str(images[0])]
    )
    pairs = ["source=pairs"] if len(images) == 2 else []
    assert main(["predict", str(run), *pairs, *given, "predict.window=128", "-o", "maps"]) == 0
    [again] = json.loads(Path("maps/index.json").read_text())
    first = next(row for row in rows if row["scene"] == "place-01")
    with rasterio.open(Path("maps") / again["classes"]) as new, rasterio.open(run / "results/predict" / first["classes"]) as old:
        assert (new.read(1) == old.read(1)).mean() > 0.999
