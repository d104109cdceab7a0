"""Chips of many dates: cut, stored, gathered, normalised and turned like images."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geohydra.chips.analysis import measure_scenes
from geohydra.chips.augment import Augment
from geohydra.chips.cutting import cut_chips
from geohydra.chips.dataset import open_chips
from geohydra.chips.normalise import Normalise
from geohydra.chips.sampling import Sliding
from geohydra.chips.splits import ByScene
from geohydra.chips.strips import Panel, rolling_image
from geohydra.raster.series import SeriesReader, like
from geohydra.raster.write import CogWriter
from geohydra.task import viewed
from geohydra.tasks.time_series import TimeSeries
from geohydra.types import Asset, Grid, LabelAsset, Scene, Series, Shape, Window

BANDS = ("red", "nir")
CLASSES = {1: "wheat", 2: "maize"}
SIZE = 64


def grid(place: int) -> Grid:
    return Grid("EPSG:32632", (10.0, 0.0, 500_000.0 + 5000 * place, 0.0, -10.0, 5_000_000.0), Shape(SIZE, SIZE))


def write(path: Path, pixels: NDArray[Any], where: Grid, nodata: float | None) -> str:
    with CogWriter(path, grid=where, bands=len(pixels), dtype=str(pixels.dtype), nodata=nodata, block=64) as writer:
        writer.write(0, pixels)
    return str(path)


def made(folder: Path, place: int, dates: int) -> Scene:
    """A scene whose dates are irregular, each with a cloudy corner, one of them wholly cloudy."""
    draw = np.random.default_rng(place)
    days = np.sort(draw.choice(300, dates, replace=False))
    assets = []
    for number, day in enumerate(days.tolist()):
        pixels = draw.integers(1, 5000, (2, SIZE, SIZE)).astype(np.uint16)
        pixels[:, : draw.integers(1, 30), : draw.integers(1, 30)] = 0
        if number == 1:
            pixels[:] = 0
        time = datetime(2023, 1, 1, 10, tzinfo=UTC) + timedelta(days=day)
        assets.append(Asset(write(folder / f"{place}-{number}.tif", pixels, grid(place), 0), BANDS, (1, 2), "uint16", 0.0, time))
    labels = draw.integers(1, 3, (1, SIZE, SIZE)).astype(np.uint8)
    asset = LabelAsset(write(folder / f"{place}-labels.tif", labels, grid(place), None), "raster", CLASSES, tuple(CLASSES.values()))
    return Scene(f"place-{place}", grid(place), tuple(assets), asset)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    folder = tmp_path_factory.mktemp("series")
    return viewed(task(), [made(folder, 0, 5), made(folder, 1, 3), made(folder, 2, 7)])


def task() -> TimeSeries:
    return TimeSeries(classes=["wheat", "maize"])


def cut(scenes: list[Scene], out: Path, *, stored: bool = True) -> Path:
    split = ByScene(val=["place-1"], test=0.0)
    cut_chips(scenes, task(), Sliding(size=32, split=split, stored=stored), out, seed=0, progress=lambda *_: None)
    return out


def test_stored_chips_and_those_read_on_the_fly_are_the_same(scenes: list[Scene], tmp_path: Path) -> None:
    folder = cut(scenes, tmp_path)
    normalise = Normalise([2000, 2100], [900, 1000])
    flips = Augment(transforms=[{"D4": {}}])

    one, other = (
        open_chips(folder, scenes, task(), split="train", stored=stored, normalise=normalise, augment=flips, seed=3)
        for stored in (True, False)
    )

    for places in ([0, 1, 5], [(2, 7), (2, 0)]):
        stored, read = one.__getitems__(places), other.__getitems__(places)
        assert list(stored) == ["image", "valid", "days", "mask"]
        for name, values in stored.items():
            assert values.dtype == read[name].dtype
            np.testing.assert_array_equal(values.numpy(), read[name].numpy())


def test_a_batch_is_as_long_as_its_longest_series_and_the_rest_is_not_valid(scenes: list[Scene], tmp_path: Path) -> None:
    chips = open_chips(cut(scenes, tmp_path), scenes, task(), split="train", stored=True, normalise=Normalise([0, 0], [1, 1]))
    short = next(place for place, chip in enumerate(chips.chips) if chip.scene == "place-0")
    long = next(place for place, chip in enumerate(chips.chips) if chip.scene == "place-2")

    batch = chips.__getitems__([short, long])

    assert batch["image"].shape[2:] == (2, 32, 32)
    dates = [int(valid.flatten(1).any(1).sum()) for valid in batch["valid"]]
    assert dates[0] <= 4 < dates[1] <= 6
    assert batch["image"].shape[1] == max(dates)
    assert not batch["valid"][0, dates[0] :].any()
    assert not batch["image"][0, dates[0] :].any()
    assert str(batch["days"].dtype) == "torch.int32"


def test_days_are_counted_from_1970_in_utc() -> None:
    times = (datetime(1970, 1, 2, 0, 30, tzinfo=UTC), datetime(2024, 2, 29, 23, 59, tzinfo=UTC))

    series = Series(np.zeros((2, 1, 1, 1)), np.ones((2, 1, 1), bool), times)

    assert series.days.tolist() == [1, (datetime(2024, 2, 29) - datetime(1970, 1, 1)).days]


def test_what_is_not_valid_is_zero_and_all_dates_turn_alike(scenes: list[Scene], tmp_path: Path) -> None:
    folder = cut(scenes, tmp_path)
    plain = open_chips(folder, scenes, task(), split="train", stored=True, normalise=Normalise([0, 0], [1, 1]))
    turned = open_chips(
        folder,
        scenes,
        task(),
        split="train",
        stored=True,
        normalise=Normalise([0, 0], [1, 1]),
        augment=Augment(transforms=[{"Transpose": {"p": 1}}]),
    )

    before, after = plain.__getitems__([1]), turned.__getitems__([1])

    assert not before["image"].movedim(2, 1)[:, 0][~before["valid"]].any()
    for name in ("image", "valid", "mask"):
        np.testing.assert_array_equal(np.rot90(before[name].numpy(), 3, (-2, -1))[..., ::-1], after[name].numpy())


def test_warps_of_albumentations_move_every_date_with_its_validity(scenes: list[Scene], tmp_path: Path) -> None:
    shifted = Augment(transforms=[{"Affine": {"translate_px": {"x": [4, 4], "y": [0, 0]}, "interpolation": 0, "p": 1}}])
    folder = cut(scenes, tmp_path)
    normalise = Normalise([2000, 2000], [2000, 2000])
    plain = open_chips(folder, scenes, task(), split="train", stored=True, normalise=normalise)
    moved = open_chips(folder, scenes, task(), split="train", stored=True, normalise=normalise, augment=shifted)

    before, after = plain.__getitems__([2]), moved.__getitems__([2])

    np.testing.assert_array_equal(before["valid"][..., :-4], after["valid"][..., 4:])
    np.testing.assert_allclose(before["image"][..., :-4], after["image"][..., 4:], atol=1e-5)


def test_statistics_are_of_all_dates_and_classes_count_ground_once(scenes: list[Scene]) -> None:
    measured = measure_scenes(scenes, ("wheat", "maize"), threads=1, progress=lambda *_: None)

    every = []
    ground = 0
    for scene in scenes:
        with SeriesReader(scene) as reader:
            series = reader.read(Window(0, 0, scene.grid.shape))
        every.append(series.pixels.swapaxes(0, 1)[:, series.valid])
        ground += int(series.measured.sum())
    pixels = np.concatenate(every, axis=1)
    assert measured.total.bands["nir"].mean == pytest.approx(pixels[1].mean())
    assert measured.total.bands["red"].std == pytest.approx(pixels[0].std())
    assert sum(count for _, count, _ in measured.total.class_areas()) == ground
    curves = measured.curves.table()
    assert sum(curves["pixels"]) == 2 * pixels.shape[1]
    assert np.average(curves["mean"], weights=curves["pixels"]) == pytest.approx(pixels.mean())


class Counting(SeriesReader):
    """Keeps which rows of the scene were asked for."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.rows: list[int] = []

    def read(self, window: Window) -> Series:
        self.rows += range(window.row, window.row_stop)
        return super().read(window)


def test_windows_of_a_series_are_cut_from_strips_that_are_read_once(scenes: list[Scene]) -> None:
    windows = [Window(row, col, Shape(24, 24)) for row in (0, 10, 20, 40) for col in (0, 20, 40)]
    with Counting(scenes[0]) as reader, SeriesReader(scenes[0]) as plain:
        read = rolling_image(reader.read, Panel(0, SIZE, 16, SIZE), make=like(reader))

        for window in windows:
            found, expected = read(window), plain.read(window)
            assert isinstance(found, Series)
            assert found.times == expected.times
            np.testing.assert_array_equal(found.pixels, expected.pixels)
            np.testing.assert_array_equal(found.valid, expected.valid)

        assert reader.rows == list(range(SIZE))
