"""The embedded world with houses wall to wall."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np

from geohydra.identity import digest
from geohydra.sources.demo_terraces import DemoTerraces
from geohydra.types import Scene


def made(folder: Path) -> Scene:
    [scene] = DemoTerraces(scenes=1, size=512).scenes((), folder, lambda _done, _total, _text: None)
    return scene


def test_most_houses_touch_another_and_none_overlaps_one(tmp_path: Path) -> None:
    scene = made(tmp_path)

    assert scene.labels is not None
    houses = geopandas.read_parquet(scene.labels.uri)
    apart = [np.sort(houses.distance(shape).to_numpy())[1] for shape in houses.geometry]

    assert set(houses["class"]) == {"building"}
    assert len(houses) > 8
    assert np.mean(np.array(apart) < 0.05) > 0.5
    assert houses.area.sum() - houses.union_all().area < 1e-3 * houses.area.sum()
    assert houses.area.min() > 15


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (made(tmp_path / name) for name in ("one", "two"))

    assert digest(Path(first.assets[0].uri).read_bytes().hex()) == digest(Path(second.assets[0].uri).read_bytes().hex())
