"""The built-in world."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from shapely import box

from geohydra.ground import open_ground
from geohydra.source import Source
from geohydra.sources.demo import Demo
from geohydra.sources.inspection import inspect
from geohydra.types import Scene, Window


def made(folder: Path, source: Demo) -> list[Scene]:
    return list(source.scenes(source.lock(), folder, lambda done, total, text: None))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    """Three scenes of 384 pixels."""
    return made(tmp_path_factory.mktemp("world"), Demo(scenes=3, size=384, resolution=2.0, seed=5))


def test_it_is_a_source() -> None:
    assert isinstance(Demo(), Source)


def test_every_class_is_in_every_scene(world: list[Scene]) -> None:
    for scene in world:
        ground = open_ground(scene)
        assert ground is not None
        assert scene.labels is not None
        ids = {name: number for number, name in enumerate(scene.labels.classes, start=1)}
        mask = ground.mask(Window(0, 0, scene.grid.shape), ids=ids, background=0)
        shares = np.bincount(mask.ravel(), minlength=5) / mask.size
        assert (shares > 0.004).all(), shares


def test_labels_are_valid_and_do_not_overlap(world: list[Scene]) -> None:
    for scene in world:
        assert scene.labels is not None
        frame = geopandas.read_parquet(scene.labels.uri)
        assert frame.is_valid.all()
        assert frame["id"].is_unique
        assert frame.area.sum() == pytest.approx(frame.union_all().area, rel=1e-3)
        assert box(*scene.grid.bounds).buffer(0.1).covers(frame.union_all())


def test_the_geojson_beside_tells_the_same(world: list[Scene]) -> None:
    assert world[0].labels is not None
    path = Path(world[0].labels.uri)
    told = geopandas.read_file(path.with_suffix(".geojson"))
    exact = geopandas.read_parquet(path)
    assert list(told["class"]) == list(exact["class"])
    np.testing.assert_allclose(told.to_crs(exact.crs).area, exact.area, rtol=1e-3, atol=0.5)
    assert json.loads(path.with_suffix(".geojson").read_text())["features"][0]["properties"].keys() == {"class", "id"}


def test_images_are_tiled_with_names_and_nodata(world: list[Scene]) -> None:
    with rasterio.open(world[0].assets[0].uri) as file:
        assert file.profile["tiled"]
        assert file.overviews(1)
        assert file.descriptions == ("red", "green", "blue", "nir")
        assert (file.nodata, file.dtypes[0]) == (0, "uint16")


def test_every_third_scene_ends_at_a_swath_edge(world: list[Scene]) -> None:
    shares = []
    for scene in world:
        with rasterio.open(scene.assets[0].uri) as file:
            shares.append((file.read(1) == 0).mean())
    assert shares[:2] == [0.0, 0.0]
    assert 0.02 < shares[2] < 0.3


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        made(folder, Demo(scenes=1, size=128, seed=seed))
    files = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} for folder in folders]
    assert files[0] == files[1]
    assert all(files[0][name] != files[2][name] for name in files[0])


@pytest.mark.parametrize("size", [64, 100, 333])
def test_any_size_can_be_made(tmp_path: Path, size: int) -> None:
    for seed in range(2):
        assert made(tmp_path, Demo(scenes=2, size=size, seed=seed))[1].grid.shape.rows == size


def test_scenes_do_not_overlap(world: list[Scene]) -> None:
    squares = [box(*scene.grid.bounds) for scene in world]
    assert not any(one.intersects(other) for one in squares for other in squares if one is not other)


def test_inspecting_makes_no_pixels() -> None:
    found = inspect(Demo(scenes=900, size=8192), ())

    assert len(found.rows) == 900
    assert not found.errors
    assert found.classes == {"field", "water", "road", "building"}
