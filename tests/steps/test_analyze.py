"""The analyze step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geohydra import catalogue
from geohydra.report import read_metrics
from geohydra.steps import analyze
from geohydra.types import Asset, Grid, Scene, Shape
from geohydra.work import Resources, Work

CONFIG = {
    "task": {"_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation", "classes": ["water"]},
    "analyze": {"_target_": "geohydra.chips.analysis.Analysis"},
}


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """After an ingest of one scene of ones and threes."""
    grid = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), Shape(20, 30))
    profile = {"driver": "GTiff", "height": 20, "width": 30, "dtype": "uint8", "crs": grid.crs, "transform": Affine(*grid.transform)}
    pixels = np.ones((1, 20, 30), np.uint8)
    pixels[:, :, ::2] = 3
    with rasterio.open(tmp_path / "image.tif", "w", count=1, **profile) as file:
        file.write(pixels)
    catalogue.write([Scene("field", grid, (Asset(str(tmp_path / "image.tif"), ("red",), (1,), "uint8"),))], tmp_path)
    (tmp_path / "work").mkdir()
    return Work({"ingest": str(tmp_path)}, tmp_path / "work", Resources())


def test_statistics_and_report_are_written(work):
    analyze.run(CONFIG, work)

    content = json.loads((work.out / "statistics.json").read_text())
    assert (content["bands"]["red"]["mean"], content["bands"]["red"]["std"]) == (2.0, 1.0)
    assert content["scenes"][0]["scene"] == "field"
    assert read_metrics(work.out / "report")["data/pixels"] == 600
