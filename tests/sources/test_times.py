from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from geohydra import catalogue
from geohydra.errors import ConfigError, DataError
from geohydra.raster.clouds import CloudMask
from geohydra.raster.series import SeriesReader, open_image, open_pixels, read_times
from geohydra.sources.files import Files
from geohydra.sources.inspection import inspect
from geohydra.sources.pairs import Pairs
from geohydra.sources.times import Series
from geohydra.tasks.time_series import as_series
from geohydra.types import Scene, Window

_DAYS = ("20200105", "20200120", "20200610", "20210612")


def _write(path: Path, pixels: Any, *, left: float = 500_000.0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, rows, cols = pixels.shape
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, left, 0, -10, 5_300_000)}
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=rows, width=cols, dtype=pixels.dtype.name, photometric="minisblack", **place
    ) as file:
        file.write(pixels)
    return str(path)


def _dated(folder: Path) -> Files:
    """Four dates of one tile; the second has clouds on a quarter of it, the third on half."""
    for number, day in enumerate(_DAYS):
        clouds = np.zeros((1, 20, 20), np.uint8)
        clouds[:, : (0, 5, 10, 0)[number]] = 9
        _write(folder / f"T32_{day}.tif", np.concatenate([np.full((1, 20, 20), number + 1, np.uint8), clouds]))
    return Files(images=f"{folder}/T32_*.tif", scene=r"(?P<scene>T32_(?P<time>\d{8}))", bands=["red", "scl"])


def _scenes(source: Any, folder: Path) -> list[Scene]:
    folder.mkdir(exist_ok=True)
    return list(source.scenes(source.lock(), folder, lambda done, total, text: None))


def _days(scene: Scene) -> list[str]:
    return [f"{time:%Y%m%d}" for time in scene.times]


_CLOUDS = CloudMask(band="scl", classes=["cloud_high"])
_PLACE = r"(?P<place>T\d+)_"


def test_scenes_of_one_place_become_a_series(tmp_path: Path) -> None:
    (scene,) = _scenes(Series(of=_dated(tmp_path), place=_PLACE, clouds=_CLOUDS), tmp_path / "out")

    with SeriesReader(scene) as reader:
        series = reader.read(Window(0, 0, scene.grid.shape))

    assert (scene.id, scene.bands, _days(scene)) == ("T32", ("red",), list(_DAYS))
    assert series.pixels[:, 0, 15, 15].tolist() == [1, 2, 3, 4]
    assert series.valid.mean(axis=(1, 2)).tolist() == [1, 0.75, 0.5, 1]


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"start": "2020-01-20", "stop": "2020-06-10"}, [1, 2]),
        ({"months": [6]}, [2, 3]),
        ({"clearest": 3}, [0, 1, 3]),
        ({"every": 365}, [0, 3]),
        ({"pair": {"before": "2020-01-10/2020-12-31", "after": "2021-01-01/2021-12-31"}}, [1, 3]),
    ],
)
def test_acquisitions_are_chosen(tmp_path: Path, asked: dict[str, Any], kept: list[int]) -> None:
    (scene,) = _scenes(Series(of=_dated(tmp_path), place=_PLACE, clouds=_CLOUDS, **asked), tmp_path / "out")

    assert _days(scene) == [_DAYS[place] for place in kept]


def test_a_composite_is_written_into_the_catalogue(tmp_path: Path) -> None:
    source = Series(of=_dated(tmp_path), place=_PLACE, clouds=_CLOUDS, composite="median")
    catalogue.write(_scenes(source, tmp_path / "out"), tmp_path / "out")
    (scene,) = catalogue.read(tmp_path / "out")

    with open_image(scene) as reader:
        image = reader.read(Window(0, 0, scene.grid.shape))

    assert image.pixels[0, [0, 7, 15], 0].tolist() == [2, 2, 2]  # of 1, 4; of 1, 2, 4; of 1, 2, 3, 4: halves go to even numbers


@pytest.mark.parametrize(
    ("asked", "days", "values"),
    [
        ({"steps": "month", "stop": "2020-06-30"}, ["20200101", "20200201", "20200301", "20200401", "20200501", "20200601"], [2, 3]),
        ({"steps": 10, "start": "2020-01-01", "stop": "2020-01-31"}, ["20200101", "20200111"], [1, 2]),
        ({"steps": 5, "steps_by": "linear", "stop": "2020-01-31"}, ["20200105", "20200110", "20200115", "20200120"], [1, 1, 2, 2]),
    ],
)
def test_a_series_becomes_regular(tmp_path: Path, asked: dict[str, Any], days: list[str], values: list[int]) -> None:
    catalogue.write(_scenes(Series(of=_dated(tmp_path), place=_PLACE, clouds=_CLOUDS, **asked), tmp_path / "out"), tmp_path / "out")
    (scene,) = catalogue.read(tmp_path / "out")

    with open_pixels(as_series(scene)) as reader:
        series = reader.read(Window(0, 0, scene.grid.shape))

    assert [f"{time:%Y%m%d}" for time in series.times] == days == [f"{time:%Y%m%d}" for time in read_times(scene)]
    assert series.pixels[series.valid[:, 15, 15], 0, 15, 15].tolist() == values
    assert series.valid[:, 0, 0].tolist() == [day == days[0] for day in days] if "steps_by" not in asked else True


def test_the_steps_of_a_year_begin_with_it(tmp_path: Path) -> None:
    source = Series(of=_dated(tmp_path), place=_PLACE, clouds=_CLOUDS, years_from=1, steps=30)

    starts = {scene.id: read_times(scene)[0] for scene in _scenes(source, tmp_path / "out")}

    assert starts == {f"T32-{year}": datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2021)}


def test_nothing_left_of_a_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of its 4 acquisitions"):
        _scenes(Series(of=_dated(tmp_path), place=_PLACE, start="2030-01-01"), tmp_path / "out")


def test_a_pair_needs_both_periods(tmp_path: Path) -> None:
    pair = {"before": "2019-01-01/2019-12-31", "after": "2021-01-01/2021-12-31"}

    with pytest.raises(DataError, match="has no acquisition from 2019-01-01 to 2019-12-31"):
        _scenes(Series(of=_dated(tmp_path), place=_PLACE, pair=pair), tmp_path / "out")


def test_bands_that_are_dates_become_acquisitions(tmp_path: Path) -> None:
    pixels = np.arange(3, dtype=np.float32)[:, None, None] + np.ones((3, 8, 8), np.float32)
    uri = _write(tmp_path / "ndvi.tif", pixels)
    (tmp_path / "dates.json").write_text(json.dumps({"dates": ["2020-01-01", "2020-02-01", "2020-03-01T10:00:00Z"]}))
    mask = _write(tmp_path / "clouds.tif", (np.arange(3)[:, None, None] == 1).astype(np.uint8) * np.ones((1, 8, 8), np.uint8))

    clouds = CloudMask(file=mask, values=[1])
    source = Series(of=Files(images=uri), dates=f"{tmp_path}/dates.json", band="ndvi", clouds=clouds)
    (scene,) = _scenes(source, tmp_path / "out")
    with SeriesReader(scene) as reader:
        series = reader.read(Window(0, 0, scene.grid.shape))

    assert series.times[2] == datetime(2020, 3, 1, 10, tzinfo=UTC)
    assert series.pixels[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert series.valid[:, 0, 0].tolist() == [True, False, True]
    assert len(source.lock()) == 3


def test_check_tells_the_number_of_acquisitions(tmp_path: Path) -> None:
    source = Series(of=_dated(tmp_path), place=_PLACE, clouds=_CLOUDS)

    (row,) = inspect(source, source.lock()).rows

    assert (row["scene"], row["bands"], row["acquisitions"], row["verdict"]) == ("T32", "red", "4", "good")
    assert row["date"].split(" to ") == [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in (_DAYS[0], _DAYS[-1])]


def test_check_counts_the_dates_that_a_scene_has_already(tmp_path: Path) -> None:
    _dated(tmp_path)
    within = Files(images=f"{tmp_path}/T32_*.tif", scene=r"(?P<scene>T32)_(?P<time>\d{8})", bands=["red", "scl"])

    (row,) = inspect(Series(of=within), within.lock()).rows

    assert (row["acquisitions"], row["verdict"]) == ("4", "good")


def test_check_tells_scenes_without_a_time_that_are_to_be_joined(tmp_path: Path) -> None:
    _dated(tmp_path)
    source = Series(of=Files(images=f"{tmp_path}/T32_*.tif"), place=_PLACE)

    found = inspect(source, source.lock())

    assert [row["verdict"] for row in found.rows] == ["has no time, and cannot be joined with 3 others of T32"]
    assert len(found.errors) == 1


def test_check_tells_where_dates_and_bands_differ(tmp_path: Path) -> None:
    uri = _write(tmp_path / "ndvi.tif", np.ones((3, 8, 8), np.float32))
    source = Series(of=Files(images=uri), dates=["2020-01-01", "2020-02-01"])

    found = inspect(source, source.lock())

    assert "has 3 bands, and there are 2 dates" in str(found.errors[0])


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"place": "x"}, "needs a group of the name `place`"),
        ({"start": "2021-01-01", "stop": "2020-01-01"}, "is after source.stop"),
        ({"start": "spring"}, "is no date"),
        ({"pair": {"before": "2020-01-01/2020-02-01"}}, "needs the periods before and after"),
        ({"pair": {"before": "2020-01-01/2020-02-01", "after": "2020-01-15/2020-03-01"}}, "does not begin after"),
        ({"pair": {"before": "2020-01-01", "after": "2021-01-01/2021-03-01"}}, "is no period"),
        ({"composite": "medium"}, "did you mean 'median'"),
        ({"steps": "month", "steps_by": "linear"}, "linear is for steps of so many days"),
        ({"steps": 10, "steps_by": "medium"}, "did you mean 'median'"),
        ({"steps": 10, "pair": {"before": "2020-01-01/2020-02-01", "after": "2020-03-01/2020-04-01"}}, "of the two of a pair"),
        ({"composite": "best:nir"}, "asks for the band 'nir'"),
        ({"clouds": "scl"}, "is no mask of clouds"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Series(of=Files(images="*.tif", bands=["red"]), **told)


def _pair(folder: Path, names: tuple[str, ...] = ("a", "b")) -> dict[str, Any]:
    for number, name in enumerate(names):
        _write(folder / "A" / f"{name}.tif", np.full((2, 8, 8), 1 + number, np.uint8), left=500_000 + 1000 * number)
        _write(folder / "B" / f"{name}.tif", np.full((2, 8, 8), 5 + number, np.uint8), left=500_000 + 1000 * number)
        _write(folder / "L" / f"{name}.tif", np.full((1, 8, 8), 1, np.uint8), left=500_000 + 1000 * number)
    labels = {"labels": f"{folder}/L/*.tif", "label_values": {0: "unchanged", 1: "changed"}}
    return {"before": f"{folder}/A/*.tif", "after": f"{folder}/B/*.tif", **labels}


def test_images_before_and_after_are_two_acquisitions(tmp_path: Path) -> None:
    source = Pairs(**_pair(tmp_path), times=["2000-03-17", "2003-02-06"])

    looked = inspect(source, source.lock())
    one, other = _scenes(source, tmp_path / "out")
    with SeriesReader(other) as reader:
        series = reader.read(Window(0, 0, other.grid.shape))

    assert [(row["scene"], row["after"], row["verdict"]) for row in looked.rows] == [("a", "a.tif", "good"), ("b", "b.tif", "good")]
    assert _days(one) == ["20000317", "20030206"]
    assert series.pixels[:, 0, 0, 0].tolist() == [2, 6]
    assert other.labels is not None
    assert other.properties["geohydra:dated"] is True


def test_an_image_that_finds_no_other_is_named(tmp_path: Path) -> None:
    told = _pair(tmp_path)
    (tmp_path / "B" / "b.tif").rename(tmp_path / "B" / "c.tif")
    source = Pairs(**told)

    found = inspect(source, source.lock())

    assert "A/b.tif: finds no image of its own after the change" in str(found.errors[0])


def test_pairs_in_the_wrong_order_of_time_are_refused() -> None:
    with pytest.raises(ConfigError, match="the time before is not before"):
        Pairs(before="a", after="b", times=["2003-01-01", "2000-01-01"])
