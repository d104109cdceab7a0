"""Maps of objects: the same however a scene is cut, and readable by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rio_cogeo import cog_validate
from scipy import ndimage

from geohydra.prediction import instances
from geohydra.prediction.dense import predict_scene
from geohydra.prediction.instances import InstanceMap, InstanceWriter
from geohydra.prediction.parts import PartsDecision, objects_of
from geohydra.prediction.settings import Prediction
from geohydra.raster.flooding import SEED
from geohydra.raster.write import CogWriter
from geohydra.types import IGNORE, Asset, Grid, Image, Scene, Shape
from geohydra.work import Resources, Work

CLASSES = ("background", "house", "shed")


def random_parts(seed: int, shape: tuple[int, int], smooth: float = 1.5) -> NDArray[np.uint8]:
    """What PartsDecision might say: hills with seeds, two classes, some pixels that were not measured."""
    draw = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(draw.random(shape), smooth, mode="wrap")
    height = (noise - noise.min()) / max(float(np.ptp(noise)), 1e-9)
    levels = (np.clip((height - 0.35) / 0.3, 0, 1) * SEED).astype(np.uint8)
    kinds = np.where(levels > 0, draw.integers(1, 3, shape), 0).astype(np.uint8)
    parts = np.stack([kinds, levels, (levels * 30).astype(np.uint8)])
    parts[:, draw.random(shape) < 0.02] = IGNORE
    return parts


def grid_of(shape: tuple[int, int]) -> Grid:
    return Grid("EPSG:32633", (0.5, 0, 500_000, 0, -0.5, 5_000_000), Shape(*shape))


def written(folder: Path, parts: NDArray[np.uint8], heights: list[int], *, reach: int = 4) -> tuple[NDArray[Any], Any]:
    """The map of objects from parts that come in strips of such heights."""
    grid = grid_of(parts.shape[1:])
    with InstanceWriter(folder / "instances.tif", grid, classes=3, reach=reach) as writer:
        row = 0
        for place in range(parts.shape[1]):
            rows = parts[:, row : row + heights[place % len(heights)]]
            if rows.shape[1]:
                writer.write(row, rows)
            row += rows.shape[1]
    with rasterio.open(folder / "instances.tif") as dataset:
        return dataset.read(1), writer.table


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 999),
    st.tuples(st.integers(1, 90), st.integers(1, 60)),
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
    st.integers(1, 5),
)
def test_a_map_made_in_strips_and_pieces_is_that_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, seed: int, shape: tuple[int, int], heights: list[int], reach: int
) -> None:
    parts = random_parts(seed, shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instances, "strip_rows", lambda _cols, **_least: 16)
        patch.setattr(instances, "_PIECE", 16)
        ids, table = written(tmp_path_factory.mktemp("map"), parts, heights, reach=reach)

    expected, kinds = objects_of(parts, reach=reach)

    assert (ids == expected).all()
    assert (table.classes[1:] == kinds[1:]).all()
    assert (table.pixels[1:] == np.bincount(expected.ravel())[1:]).all()


@given(st.integers(0, 99))
def test_every_object_is_one_area_with_a_seed_and_no_seed_is_left_over(seed: int) -> None:
    parts = random_parts(seed, (60, 60))

    ids, _ = objects_of(parts, reach=3, least=1)

    inside = (parts[1] > 0) & (parts[1] <= SEED)
    assert not ids[~inside].any()
    assert ids[parts[1] == SEED].all()
    assert set(np.unique(ids[parts[1] == SEED])) == set(range(1, int(ids.max()) + 1))
    for number in range(1, int(ids.max()) + 1):
        assert ndimage.label(ids == number)[1] == 1


def test_a_small_seed_within_a_larger_object_is_noise_and_a_small_one_alone_is_an_object() -> None:
    levels = np.zeros((12, 30), np.uint8)
    levels[1:11, 1:18] = 4
    levels[3:9, 3:9] = SEED
    levels[5, 14] = SEED
    levels[4:8, 22:26] = 3
    levels[5, 23] = SEED
    levels[10:12, 20:30] = 2

    ids, _ = objects_of(np.stack([levels > 0, levels, levels * 30]).astype(np.uint8), reach=4)

    assert (ids[1:11, 1:18] == 1).all()
    assert (ids[4:8, 22:26] == 2).all()
    assert not ids[10:12, 20:30].any()


class Knowing:
    """A network without a view of its surroundings: bands are the planes of its answer."""

    bands = ("background", "house", "border", "distance")
    device = "cpu"

    def __init__(self) -> None:
        self.details: dict[str, Any] = {}

    def normalise(self, image: Image) -> NDArray[np.float32]:
        return np.where(image.valid, image.pixels.astype(np.float32) / 16 - 8, 0).astype(np.float32)

    def infer(self, batch: Any) -> Any:
        return batch

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return batch


def make_scene(path: Path, rows: int, cols: int) -> Scene:
    """Rows of touching houses as a network would see them, and a corner without measurements."""
    row, col = np.mgrid[:rows, :cols]
    house = (row % 24 >= 4) & (row % 24 < 20) & (col % 40 < 36)
    away = np.minimum.reduce([row % 24 - 3, 20 - row % 24, col % 12 + 1, 12 - col % 12]).astype(float)
    depth = np.where(house, np.clip(away / 6, 0, 1), 0)
    border = house & (away <= 2)
    planes = [~house * 200 + 28, house * 200 + 28, border * 200 + 28, np.clip(128 + 16 * np.log((depth + 0.02) / (1.02 - depth)), 28, 228)]
    pixels = np.stack(planes).astype(np.uint8)
    pixels[:, : rows // 5, : cols // 5] = 0
    grid = grid_of((rows, cols))
    with CogWriter(path, grid=grid, bands=4, dtype="uint8", nodata=0) as writer:
        writer.write(0, pixels)
    return Scene("scene", grid, (Asset(str(path), Knowing.bands, (1, 2, 3, 4), "uint8", 0.0),))


def predicted(scene: Scene, folder: Path, **kinds: Any) -> dict[str, Any]:
    chosen = Prediction(**kinds)
    kind = InstanceMap(CLASSES[:2], {}, reach=4, settings=chosen)
    work = Work({}, folder / "work", Resources())
    return predict_scene(scene, Knowing(), chosen, out=folder / "out", work=work, classes=CLASSES[:2], answers=kind)


@pytest.mark.parametrize(("window", "overlap", "blend"), [(64, 0.25, "smooth"), (32, 0.5, "center"), (48, 0.0, "center")])
def test_windows_leave_no_trace(tmp_path: Path, window: int, overlap: float, blend: str) -> None:
    scene = make_scene(tmp_path / "scene.tif", 150, 210)
    maps = []
    for name, kinds in (("one", {"window": 256}), ("many", {"window": window, "overlap": overlap, "blend": blend})):
        row = predicted(scene, tmp_path / name, **kinds)
        with rasterio.open(tmp_path / name / row["instances"]) as dataset:
            maps.append(dataset.read(1))

    assert maps[0].max() > 60
    assert (maps[0] == maps[1]).all()


def test_touching_houses_are_objects_of_their_own_that_others_can_read(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "scene.tif", 120, 200)

    row = predicted(scene, tmp_path, window=64)

    path = tmp_path / row["instances"]
    valid, errors, _ = cog_validate(str(path))
    assert valid, errors
    with rasterio.open(path) as dataset:
        assert (dataset.dtypes[0], dataset.nodata, dataset.crs.to_epsg()) == ("uint32", 0, 32633)
        ids = dataset.read(1)
        transform = dataset.transform
    table = geopandas.read_parquet(tmp_path / row["objects_parquet"]).set_index("id")
    assert table.crs == "EPSG:32633"
    assert sorted(table.index) == list(range(1, int(ids.max()) + 1))
    assert row["objects/house"] == len(table)
    for number, one in table.iterrows():
        own = ids == number
        assert one.geometry.is_valid
        assert one.area_m2 == pytest.approx(own.sum() * 0.25)
        assert one.geometry.area == pytest.approx(own.sum() * 0.25)
        rows, cols = np.nonzero(own)
        assert (one.top, one.left, one.bottom, one.right) == (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)
        assert 0.9 < one.score <= 1
        point = one.geometry.representative_point()
        col, line = ~transform @ (point.x, point.y)
        assert ids[int(line), int(col)] == number
    assert set(table["class"]) == {"house"}
    assert row["unknown_pixels"] == 24 * 40
    assert len(geopandas.read_file(tmp_path / row["objects_geojson"])) == len(table)
    assert (tmp_path / row["quicklook"]).stat().st_size > 1000


def test_small_objects_are_left_out_of_both_files(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "scene.tif", 120, 200)

    row = predicted(scene, tmp_path, window=64, min_area_m2=40.0)

    table = geopandas.read_parquet(tmp_path / row["objects_parquet"])
    assert table.area_m2.min() >= 40
    with rasterio.open(tmp_path / row["instances"]) as dataset:
        assert len(np.unique(dataset.read(1))) == len(table) + 1


def test_a_scene_without_objects_has_empty_files(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "scene.tif", 3, 200)

    row = predicted(scene, tmp_path, window=64)

    assert len(geopandas.read_parquet(tmp_path / row["objects_parquet"])) == 0
    assert row["objects/house"] == 0


@given(st.integers(0, 999), st.floats(0.1, 0.9))
def test_levels_are_where_the_object_is_and_seeds_where_it_is_deep(seed: int, threshold: float) -> None:
    outputs = 3 * torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(seed))
    decision = PartsDecision(CLASSES[:2], {"house": threshold})

    kinds, levels, scores = decision.labels(outputs)[0]

    chance = torch.softmax(outputs[0, :2], 0)[1].numpy()
    assert ((kinds == 1) == (chance >= np.float32(threshold))).mean() > 0.97
    assert ((levels > 0) == (kinds > 0)).all()
    height = (outputs[0, 3].sigmoid() * (1 - outputs[0, 2].sigmoid())).numpy()
    assert ((levels == SEED) == ((kinds > 0) & (height >= 0.5))).mean() > 0.97
    assert np.allclose(scores / 254, chance, atol=0.003)
