"""The built-in world at two times: the same place, with houses that came and went where the labels say so."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize

from geohydra.sources.demo_pairs import DemoPairs
from geohydra.types import Scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    [found] = DemoPairs(scenes=1, size=384, seed=3).scenes([], tmp_path_factory.mktemp("world"), lambda *_: None)
    return found


def test_a_scene_has_two_acquisitions_and_labels_of_both_kinds(scene: Scene) -> None:
    assert len(scene.times) == 2
    assert scene.labels is not None
    frame = geopandas.read_parquet(scene.labels.uri)
    assert set(frame["class"]) == {"built", "demolished"}
    assert frame.is_valid.all()
    assert scene.properties["geohydra:labels"] == frame["class"].value_counts().to_dict()


def test_roofs_appear_and_vanish_where_the_labels_say(scene: Scene) -> None:
    assert scene.labels is not None
    frame = geopandas.read_parquet(scene.labels.uri)
    before, after = (rasterio.open(asset.uri).read().astype(float) for asset in scene.assets)
    green = [(image[3] - image[0]) / (image[3] + image[0]) for image in (before, after)]
    for name, (with_roof, without) in {"built": (1, 0), "demolished": (0, 1)}.items():
        areas = [area.buffer(-1) for area in frame.geometry[frame["class"] == name] if not area.buffer(-1).is_empty]
        inside = rasterize(areas, out_shape=before.shape[1:], transform=rasterio.Affine(*scene.grid.transform)) == 1
        assert np.median(green[with_roof][inside]) < np.median(green[without][inside])


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        [found] = DemoPairs(scenes=1, size=128).scenes([], tmp_path / name, lambda *_: None)
        files.append([Path(asset.uri).read_bytes() for asset in found.assets])

    assert files[0] == files[1]
    assert files[0][0] != files[0][1]
