"""Both ways of finding objects, from the embedded world to outlines that others can read, and on to new imagery."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from geohydra.cli import main

pytestmark = pytest.mark.slow

SMALL = ["source.scenes=3", "source.size=256", "chip.size=64", "chip.count=6", "train.epochs=1", "tracking=none", "name=small"]
WAYS = {
    "watershed": [],
    "mask_rcnn": ["model=mask_rcnn", "model.most=20", "model.strides=[8,16]", "model.channels=32", "predict.min_score=0.06"],
}


@pytest.mark.parametrize("way", WAYS)
def test_objects_are_found_from_source_to_new_imagery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["task=instance_segmentation", *SMALL, "predict.window=128", *WAYS[way]]) == 0

    [run] = Path("outputs/runs").glob("*-small")
    metrics = json.loads((run / "results/evaluate/metrics.json").read_text())["metrics"]
    assert {"val/mask_map50", "val/pq", "val/spacenet_f1", "val/baseline_mask_map50"} <= set(metrics)
    rows = json.loads((run / "results/predict/index.json").read_text())
    assert len(rows) == 3
    for row in rows:
        path = run / "results/predict" / row["instances"]
        valid, errors, _ = cog_validate(str(path))
        assert valid, errors
        with rasterio.open(path) as dataset:
            ids = dataset.read(1)
            assert (dataset.crs.to_epsg(), dataset.nodata, dataset.dtypes[0]) == (32632, 0, "uint32")
        table = geopandas.read_parquet(run / "results/predict" / row["objects_parquet"])
        assert table.crs == "EPSG:32632"
        assert set(np.unique(ids)) - {0} <= set(table["id"])
        assert len(table) == row["objects/building"]
        assert table.geometry.is_valid.all()
        assert table.score.between(0, 1).all()
    first = next(row for row in rows if row["scene"] == "place-01")
    [image] = (tmp_path / "outputs/store/ingest").glob("*/images/place-01.tif")
    fixed = [choice for choice in WAYS[way] if choice.startswith("predict.")]
    assert main(["predict", str(run), str(image), "predict.window=128", *fixed, "-o", "maps"]) == 0
    [again] = json.loads(Path("maps/index.json").read_text())
    with rasterio.open(Path("maps") / again["instances"]) as new, rasterio.open(run / "results/predict" / first["instances"]) as old:
        assert ((new.read(1) > 0) == (old.read(1) > 0)).mean() > 0.999
