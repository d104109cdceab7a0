"""Every task type through the command line: from the embedded world to outputs that others can read, and on to new imagery."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import yaml
from rio_cogeo import cog_validate

from geohydra.cli import main

pytestmark = pytest.mark.slow

SMALL = ["source.scenes=3", "source.size=256"]
QUICK = ["train.epochs=2", "tracking=none", "name=small", "predict.window=128", "chip.size=64"]
SOURCES = {
    "video": ["source.sequences=3", "source.frames=4", "source.size=160"],
    "video_clips": ["source.sequences=8", "source.frames=8", "source.size=64"],
}
OWN = {
    "classification": ["chip.size=32", "predict.window=256"],
    "detection": ["model.strides=[8,16]", "model.channels=32", "predict.min_score=0.06"],
    "video": ["model.strides=[8,16]", "model.channels=32", "predict.min_score=0.06", "chip.split.val=0.34", "chip.split.test=0.33"],
    "instance_segmentation": ["chip.count=6"],
}


def test_every_task_goes_from_source_to_outputs_and_its_bundle_on_to_new_imagery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = SOURCES.get(task_option, SMALL)

    assert main([f"task={task_option}", *source, *QUICK, *OWN.get(task_option, [])]) == 0

    [run] = Path("outputs/runs").glob("*-small")
    metrics = json.loads((run / "results/evaluate/metrics.json").read_text())["metrics"]
    assert any("/baseline" in name for name in metrics)
    made = _rows(run / "results/predict")
    assert made
    for row in made.values():
        _readable(run / "results/predict", row)
    config = yaml.safe_load((run / "config.yaml").read_text())
    chosen = [f"source={_option(config['source']['_target_'])}", f"source.seed={config['seed']}"]
    fixed = [word for word in OWN.get(task_option, []) if word.startswith("predict.")]
    assert main(["predict", str(run), *chosen, *source, "predict.window=128", *fixed, "-o", "maps"]) == 0
    again = _rows(Path("maps"))
    assert again.keys() == made.keys()
    for scene, row in again.items():
        _alike(run / "results/predict", made[scene], Path("maps"), row)


def test_a_bundle_reads_images_that_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["task=semantic_segmentation", *SMALL, *QUICK]) == 0
    [run] = Path("outputs/runs").glob("*-small")
    [image] = (tmp_path / "outputs/store/ingest").glob("*/images/place-01.tif")

    assert main(["predict", str(run), str(image), "predict.window=128", "-o", "maps"]) == 0

    [row] = _rows(Path("maps")).values()
    _alike(run / "results/predict", _rows(run / "results/predict")["place-01"], Path("maps"), row)


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["scene"]: row for row in json.loads((folder / "index.json").read_text())}


def _files(folder: Path, row: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    for key, value in row.items():
        if isinstance(value, str) and (folder / value).is_file():
            yield key, folder / value


def _readable(folder: Path, row: Mapping[str, Any]) -> None:
    """Maps are valid COGs with a place, a nodata value and, of classes, colours; tables are GeoParquet in the CRS of the scene."""
    for key, path in _files(folder, row):
        assert path.stat().st_size > 0
        if path.suffix == ".tif":
            valid, errors, _ = cog_validate(str(path))
            assert valid, errors
            with rasterio.open(path) as dataset:
                assert dataset.crs.to_epsg() == 32632
                assert dataset.nodata is not None
                assert key != "classes" or dataset.colormap(1)
        if path.suffix == ".parquet" and b"geo" in (pq.read_schema(path).metadata or {}):
            assert geopandas.read_parquet(path).crs == "EPSG:32632"
        if path.suffix == ".geojson":
            assert json.loads(path.read_text())["type"] == "FeatureCollection"


def _alike(folder: Path, row: Mapping[str, Any], other: Path, again: Mapping[str, Any]) -> None:
    new = dict(_files(other, again))
    for key, path in _files(folder, row):
        if path.suffix == ".tif" and key in new:
            with rasterio.open(path) as one, rasterio.open(new[key]) as two:
                assert np.isclose(one.read(1), two.read(1), equal_nan=True, rtol=1e-4, atol=1e-3).mean() > 0.999
        elif path.suffix == ".parquet" and key in new:
            assert pq.read_metadata(path).num_rows == pq.read_metadata(new[key]).num_rows


def _option(target: str) -> str:
    """The option of the group `source` that names a class."""
    folder = Path(__file__).parents[2] / "conf/source"
    return next(path.stem for path in sorted(folder.glob("*.yaml")) if yaml.safe_load(path.read_text()).get("_target_") == target)
