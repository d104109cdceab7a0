"""A scene through a small network: the same as the whole array at once, whatever its shape."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS
from rio_cogeo import cog_validate

from geohydra.errors import ConfigError, DataError
from geohydra.prediction.dense import Tiling, predict_scene
from geohydra.prediction.settings import Prediction
from geohydra.raster.read import probe
from geohydra.raster.write import write_image
from geohydra.types import IGNORE, Asset, Grid, Image, Scene, Shape
from geohydra.work import Resources, Work

NAMES = ("land", "water", "road")


class Small:
    """A trained network of a few weights."""

    bands = ("red", "nir")
    device = "cpu"

    def __init__(self, network: torch.nn.Module, **details: Any) -> None:
        self.network = network.eval()
        self.details = details
        self.windows = 0

    def normalise(self, image: Image) -> NDArray[np.float32]:
        pixels = image.pixels.astype(np.float32) / 100 - 1
        pixels[:, ~image.valid] = 0
        return pixels

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        self.windows += len(batch)
        with torch.inference_mode():
            outputs: torch.Tensor = self.network(batch)
            return outputs

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.infer(torch.from_numpy(batch)).numpy()


def network(reach: int = 0, classes: int = 3) -> torch.nn.Module:
    """Every answer depends on pixels no further than `reach`."""
    torch.manual_seed(0)
    return torch.nn.Conv2d(2, classes, 2 * reach + 1, padding=reach, padding_mode="zeros")


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., Scene]:
    def make(rows: int, cols: int, *, seed: int = 0, holes: float = 0.0) -> Scene:
        draw = np.random.default_rng(seed)
        pixels = draw.integers(1, 255, (2, rows, cols)).astype(np.uint8)
        pixels[:, draw.random((rows, cols)) < holes] = 0
        grid = Grid("EPSG:32633", (2, 0, 500_000, 0, -2, 5_000_000), Shape(rows, cols))
        path = tmp_path / f"{rows}x{cols}-{seed}-{holes}.tif"
        write_image(path, pixels, grid=grid, nodata=0)
        return Scene(path.stem, grid, (Asset(str(path), ("red", "nir"), (1, 2), "uint8", 0.0),))

    return make


def predict(scene: Scene, trained: Small, out: Path, **chosen: Any) -> dict[str, Any]:
    options = {"window": 32, "polygons": False, "probabilities": "float32"} | chosen
    work = Work({}, out.parent / "work", Resources())
    names = NAMES[: trained.network.out_channels]  # type: ignore[union-attr]
    return predict_scene(scene, trained, Prediction(**options), out=out, work=work, classes=names, background="land")


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read())


def untiled(scene: Scene, trained: Small) -> NDArray[np.float32]:
    pixels = read(Path(scene.assets[0].uri))
    valid = (pixels != 0).any(0)
    outputs = trained.infer(torch.from_numpy(trained.normalise(Image(pixels, valid)))[None])
    chances = outputs.softmax(1)[0].numpy().copy()
    chances[:, ~valid] = np.nan
    return chances


def same(ours: NDArray[Any], whole: NDArray[Any]) -> bool:
    return bool(np.allclose(ours, whole, atol=1e-5, equal_nan=True))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 90),
    cols=st.integers(1, 90),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7]),
    blend=st.sampled_from(["smooth", "center"]),
    window=st.sampled_from([8, 30, 32]),
    batch=st.integers(1, 5),
)
def test_tiled_equals_untiled_for_any_shape(world, tmp_path, rows, cols, overlap, blend, window, batch) -> None:  # type: ignore[no-untyped-def]
    scene = world(rows, cols, holes=0.1)
    trained = Small(network())
    predict(scene, trained, tmp_path / "out", overlap=overlap, blend=blend, window=window, batch_size=batch)
    whole = untiled(scene, trained)
    labels = np.where(np.isnan(whole[0]), IGNORE, whole.argmax(0))

    assert same(read(tmp_path / "out/probabilities.tif"), whole)
    assert (read(tmp_path / "out/classes.tif")[0] == labels).mean() > 0.999


def test_with_enough_overlap_no_seam_is_left_inside(world: Callable[..., Scene], tmp_path: Path) -> None:
    scene, trained = world(100, 77), Small(network(reach=3))
    predict(scene, trained, tmp_path / "out", overlap=0.25, blend="center")

    assert same(read(tmp_path / "out/probabilities.tif"), untiled(scene, trained))


def test_smooth_blending_is_nearer_to_the_whole_than_no_overlap(world: Callable[..., Scene], tmp_path: Path) -> None:
    scene, trained = world(128, 128), Small(network(reach=5))
    whole = untiled(scene, trained)
    errors = []
    for overlap in (0.0, 0.5):
        predict(scene, trained, tmp_path / "out", overlap=overlap)
        errors.append(float(np.abs(read(tmp_path / "out/probabilities.tif") - whole).mean()))

    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("blend", ["smooth", "center"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (33, 1), (32, 32), (5, 100)])
def test_thin_and_tiny_scenes_are_predicted_whole(world: Callable[..., Scene], tmp_path: Path, shape: tuple[int, int], blend: str) -> None:
    scene, trained = world(*shape), Small(network(reach=1))
    row = predict(scene, trained, tmp_path / "out", blend=blend)

    assert row["pixels"] == shape[0] * shape[1]
    assert (read(tmp_path / "out/classes.tif") < 3).all()


def test_what_was_not_measured_is_nodata_everywhere(world: Callable[..., Scene], tmp_path: Path) -> None:
    scene = world(70, 70, holes=0.4)
    hidden = (read(Path(scene.assets[0].uri)) == 0).all(0)
    row = predict(scene, Small(network()), tmp_path / "out", probabilities="uint8")

    assert (read(tmp_path / "out/classes.tif")[0] == IGNORE).tolist() == hidden.tolist()
    assert (read(tmp_path / "out/probabilities.tif") == 255).all(0).tolist() == hidden.tolist()
    assert row["unknown_pixels"] == hidden.sum()


def test_windows_without_a_valid_pixel_never_reach_the_network(world: Callable[..., Scene], tmp_path: Path) -> None:
    scene, trained = world(64, 64, holes=1.1), Small(network())
    row = predict(scene, trained, tmp_path / "out")

    assert trained.windows == 0
    assert row["pixels"] == 0
    assert (read(tmp_path / "out/classes.tif") == IGNORE).all()


def test_probabilities_as_bytes_are_the_rounded_ones(world: Callable[..., Scene], tmp_path: Path) -> None:
    scene, trained = world(40, 50), Small(network())
    predict(scene, trained, tmp_path / "out", probabilities="uint8")
    levels = read(tmp_path / "out/probabilities.tif").astype(int)

    assert np.abs(levels - 254 * untiled(scene, trained)).max() <= 0.51
    with rasterio.open(tmp_path / "out/probabilities.tif") as dataset:
        assert dataset.descriptions == NAMES
        assert dataset.scales == pytest.approx([1 / 254] * 3)


def test_the_threshold_of_two_classes_decides(world: Callable[..., Scene], tmp_path: Path) -> None:
    scene = world(60, 60)
    for overlap in (0.0, 0.25):
        trained = Small(network(classes=2), thresholds={"water": 0.8})
        predict(scene, trained, tmp_path / "out", overlap=overlap)
        assert ((read(tmp_path / "out/classes.tif")[0] == 1) == (untiled(scene, trained)[1] >= 0.8)).mean() > 0.999


def test_the_map_is_a_valid_cog_with_colours_and_names_on_the_scenes_grid(world: Callable[..., Scene], tmp_path: Path) -> None:
    scene = world(600, 700)
    row = predict(scene, Small(network()), tmp_path / "out", window=128)
    with rasterio.open(tmp_path / row["classes"]) as dataset:
        assert dataset.crs.to_epsg() == 32633
        assert tuple(dataset.transform)[:6] == scene.grid.transform
        assert len({dataset.colormap(1)[place] for place in range(3)}) == 3
        assert dataset.tags()["CLASS_1"] == "water"
        assert dataset.nodata == IGNORE

    assert all(cog_validate(tmp_path / row[key])[0] for key in ("classes", "probabilities"))
    assert (tmp_path / row["quicklook"]).read_bytes().startswith(b"\x89PNG")


def test_a_missing_band_is_named(world: Callable[..., Scene], tmp_path: Path) -> None:
    trained = Small(network())
    trained.bands = ("red", "swir")

    with pytest.raises(DataError, match="no band swir"):
        predict(world(10, 10), trained, tmp_path / "out")


def test_a_window_that_the_network_cannot_halve_is_refused(world: Callable[..., Scene], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="take 32"):
        predict(world(10, 10), Small(network(), stride=32), tmp_path / "out", window=40)


def test_stopped_half_way_nothing_stands_in_its_place(world: Callable[..., Scene], tmp_path: Path) -> None:
    scene, trained = world(200, 64), Small(network())
    (tmp_path / "results").mkdir()

    def fail(batch: torch.Tensor) -> torch.Tensor:
        if trained.windows > 5:
            raise KeyboardInterrupt
        return Small.infer(trained, batch)

    broken = SimpleNamespace(
        device="cpu", bands=trained.bands, details={}, normalise=trained.normalise, infer=fail, network=trained.network
    )
    with pytest.raises(KeyboardInterrupt):
        predict(scene, broken, tmp_path / "results/out")  # type: ignore[arg-type]

    assert [path.name for path in (tmp_path / "results").iterdir()] == ["work"]
    assert not [thread for thread in threading.enumerate() if thread.name in {"reader", "writer"}]


def test_a_damaged_file_is_told_by_its_name(world: Callable[..., Scene], tmp_path: Path) -> None:
    scene = world(600, 600)
    path = Path(scene.assets[0].uri)
    content = bytearray(path.read_bytes())
    content[-20_000:] = b"\0" * 20_000
    path.write_bytes(content)

    with pytest.raises(DataError, match=path.name):
        predict(scene, Small(network()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.realdata
@pytest.mark.slow
def test_every_readable_real_file_gives_a_map_on_its_own_grid(realdata: Path, tmp_path: Path) -> None:
    seen = 0
    for path in sorted((realdata / "raster_access").glob("*.tif")):
        try:
            header = probe(str(path))
        except DataError:
            continue
        index = header.indexes[0]
        asset = Asset(str(path), ("red", "nir"), (index, index), header.dtypes[index - 1], header.nodata)
        scene = Scene(path.stem, header.grid, (asset,))
        row = predict(scene, Small(network()), tmp_path / path.stem, window=256)
        with rasterio.open(tmp_path / row["classes"]) as ours:
            assert Shape(*ours.shape) == header.grid.shape
            assert ours.crs == CRS.from_user_input(header.grid.crs)
            assert ours.transform.almost_equals(Affine(*header.grid.transform))
        assert row["pixels"] + row["unknown_pixels"] == header.grid.shape.size
        assert row["pixels"] > 0
        seen += 1

    assert seen >= 8


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 70),
    cols=st.integers(1, 70),
    cell=st.sampled_from([2, 4, 7]),
    window=st.integers(1, 5),
    overlap=st.sampled_from([0, 0.5]),
)
def test_tiled_equals_untiled_in_cells_too(world, tmp_path, rows, cols, cell, window, overlap) -> None:  # type: ignore[no-untyped-def]
    scene = world(rows, cols, holes=0.3)
    answer = network()
    trained = Small(torch.nn.Sequential(torch.nn.AvgPool2d(cell), answer))
    options = Prediction(polygons=True, probabilities="float32")
    tiling = Tiling(Shape(cell, cell), Shape(window, window), overlap)
    work = Work({}, tmp_path / "work", Resources())
    row = predict_scene(scene, trained, options, out=tmp_path / "out", work=work, classes=NAMES[:3], tiling=tiling)

    pixels = np.pad(read(Path(scene.assets[0].uri)), ((0, 0), (0, -rows % cell), (0, -cols % cell)))
    valid = (pixels != 0).any(0)
    known = valid.reshape(-(-rows // cell), cell, -(-cols // cell), cell).any((1, 3))
    whole = trained.infer(torch.from_numpy(trained.normalise(Image(pixels, valid)))[None]).softmax(1)[0].numpy().copy()
    whole[:, ~known] = np.nan
    found = read(tmp_path / "out/probabilities.tif")
    assert same(found, whole)
    with rasterio.open(tmp_path / row["classes"]) as dataset:
        assert dataset.transform[0] == 2 * cell
    assert "cells_parquet" in row
