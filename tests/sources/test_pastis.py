"""PASTIS on a tiny folder in its published layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.raster.series import SeriesReader
from geohydra.sources.inspection import inspect
from geohydra.sources.pastis import Pastis
from geohydra.types import IGNORE, Window


def make(root: Path, *, dates: int = 3, size: int = 8) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    features = []
    for fold, number in enumerate(("10000", "10001"), start=1):
        arrays[number] = draw.integers(0, 10_000, (dates, 10, size, size)).astype(np.int16)
        arrays[f"{number}-labels"] = draw.integers(0, 20, (3, size, size)).astype(np.uint8)
        for name, values in ((f"DATA_S2/S2_{number}", arrays[number]), (f"ANNOTATIONS/TARGET_{number}", arrays[f"{number}-labels"])):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(root / f"{name}.npy", values)
        x = 900_000 + fold * 2_000
        ring = [
            [x, 6_500_000],
            [x + 10 * size, 6_500_000],
            [x + 10 * size, 6_500_000 + 10 * size],
            [x, 6_500_000 + 10 * size],
            [x, 6_500_000],
        ]
        told = {"ID_PATCH": int(number), "Fold": fold, "dates-S2": {str(place): 20180917 + place for place in range(dates)}}
        features.append({"type": "Feature", "properties": told, "geometry": {"type": "Polygon", "coordinates": [ring]}})
    (root / "metadata.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return arrays


def test_patches_are_series_with_crops_and_folds(tmp_path: Path) -> None:
    arrays = make(tmp_path / "PASTIS")
    source = Pastis(root=str(tmp_path / "PASTIS"))
    lock = source.lock()

    looked = inspect(source, lock)
    scenes = list(source.scenes(lock, tmp_path / "ingest", lambda *_: None))

    assert [row["verdict"] for row in looked.rows] == ["good", "good"]
    assert [scene.properties["fold"] for scene in scenes] == [1, 2]
    for scene, number in zip(scenes, ("10000", "10001"), strict=True):
        with SeriesReader(scene) as reader:
            series = reader.read(Window(0, 0, scene.grid.shape))
        assert [f"{time:%Y%m%d}" for time in series.times] == ["20180917", "20180918", "20180919"]
        assert (series.pixels == arrays[number]).all()
        assert series.valid.all()
        assert scene.grid.resolution == (10, 10)
        ground = open_ground(scene)
        assert ground is not None
        mask = ground.mask(Window(0, 0, scene.grid.shape), ids={"meadow": 1, "sorghum": 18}, background=0)
        crops = arrays[f"{number}-labels"][0]
        assert (mask == np.where(crops == 19, IGNORE, np.where(np.isin(crops, [1, 18]), crops, 0))).all()


def test_some_folds_can_be_taken(tmp_path: Path) -> None:
    make(tmp_path)
    source = Pastis(root=str(tmp_path), folds=[2])

    assert [scene.id for scene in source.scenes(source.lock(), tmp_path / "ingest", lambda *_: None)] == ["patch-10001"]


def test_a_cut_array_a_missing_one_and_other_dates_are_told(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "DATA_S2/S2_10000.npy"
    path.write_bytes(path.read_bytes()[:-10])
    (tmp_path / "ANNOTATIONS/TARGET_10001.npy").unlink()
    source = Pastis(root=str(tmp_path))

    problems = [error.problem for error in inspect(source, source.lock()).errors]

    assert problems == ["is cut: it is shorter than its header tells", "its series or its annotation is not there"]


def test_objects_in_an_array_are_never_loaded(tmp_path: Path) -> None:
    make(tmp_path)
    np.save(tmp_path / "DATA_S2/S2_10000.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    source = Pastis(root=str(tmp_path), folds=[1])

    with pytest.raises(DataError, match="cannot be read as bands"):
        list(source.scenes(source.lock(), tmp_path / "ingest", lambda *_: None))
