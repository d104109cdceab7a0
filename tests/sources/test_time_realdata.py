"""Sources of series, pairs, frames and chips on real imagery."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from sklearn.metrics import roc_auc_score

from geohydra.ground import open_ground
from geohydra.raster.clouds import CloudMask
from geohydra.raster.composites import monthly, regular
from geohydra.raster.read import SceneReader
from geohydra.raster.series import SeriesReader, open_image
from geohydra.sources.chipset_formats import Boxes, Records, Table
from geohydra.sources.chipsets import Chips
from geohydra.sources.files import Files
from geohydra.sources.frames import Frames
from geohydra.sources.inspection import inspect
from geohydra.sources.pairs import Pairs
from geohydra.sources.times import Series
from geohydra.types import Scene, Window

pytestmark = [pytest.mark.realdata, pytest.mark.filterwarnings("ignore:Dataset has no geotransform")]


def _scenes(source: Any, folder: Path) -> list[Scene]:
    lock = source.lock()
    found = inspect(source, lock)
    assert not found.errors
    assert {row["verdict"] for row in found.rows} == {"good"}
    return list(source.scenes(lock, folder, lambda done, total, text: None))


def test_68_dates_of_ndvi_are_a_series_without_its_clouds(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "sentinel2_ndvi_timeseries"
    clouds = CloudMask(file=f"{folder}/cloud_mask.tif", values=[1])
    of = Files(images=f"{folder}/ndvi.tif")

    (scene,) = _scenes(Series(of=of, dates=f"{folder}/dates.json", band="ndvi", clouds=clouds, composite="median"), tmp_path)
    whole = Window(0, 0, scene.grid.shape)
    with SeriesReader(scene) as reader, open_image(scene) as image:
        series, median = reader.read(whole), image.read(whole)

    with rasterio.open(folder / "ndvi.tif") as file, rasterio.open(folder / "cloud_mask.tif") as mask:
        wanted, cloudy = file.read(), mask.read() == 1
    with (folder / "frame_labels.csv").open() as stream:
        covers = [float(row["cloud_coverage"]) for row in csv.DictReader(stream)]
    assert series.pixels.shape == (68, 1, 101, 100)
    np.testing.assert_array_equal(series.valid, ~cloudy & np.isfinite(wanted))
    np.testing.assert_array_equal(series.pixels[:, 0][series.valid], wanted[series.valid])
    np.testing.assert_allclose(cloudy.mean(axis=(1, 2)), covers, atol=0.01)
    reference = np.nanmedian(np.where(series.valid, wanted, np.nan), axis=0)
    np.testing.assert_allclose(median.pixels[0], reference, rtol=1e-5)
    months, steps = monthly(series, "median"), regular(series, days=10)
    assert len(months.times) == 30
    assert steps.valid.mean() > 0.9


def test_the_clearest_dates_are_the_cloudless_ones(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "sentinel2_ndvi_timeseries"
    clouds = CloudMask(file=f"{folder}/cloud_mask.tif", values=[1])
    of = Files(images=f"{folder}/ndvi.tif")

    (scene,) = _scenes(Series(of=of, dates=f"{folder}/dates.json", clouds=clouds, months=[6, 7, 8], clearest=5), tmp_path)
    with SeriesReader(scene) as reader:
        series = reader.read(Window(0, 0, scene.grid.shape))

    assert {time.month for time in series.times} <= {6, 7, 8}
    assert len(series.times) == 5
    assert series.valid.mean(axis=(1, 2)).min() > 0.95


def test_taizhou_is_a_pair_whose_change_shows(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "landsat_change_taizhou"
    labels = {"labels": f"{folder}/change_label.tif", "label_values": {0: "unchanged", 1: "changed"}}
    source = Pairs(before=f"{folder}/before.tif", after=f"{folder}/after.tif", times=["2000-03-17", "2003-02-06"], **labels)

    (scene,) = _scenes(source, tmp_path)
    whole = Window(0, 0, scene.grid.shape)
    ground = open_ground(scene)
    assert ground is not None
    with SeriesReader(scene) as reader:
        pixels = reader.read(whole).pixels.astype(float)
    mask = ground.mask(whole, ids={"unchanged": 0, "changed": 1}, background=255)

    alike = (pixels - pixels.mean(axis=(2, 3), keepdims=True)) / pixels.std(axis=(2, 3), keepdims=True)
    size = np.hypot.reduce(alike[1] - alike[0], axis=0)
    assert (mask == 1).sum() == 4227
    assert roc_auc_score(mask[mask != 255], size[mask != 255]) > 0.95


def test_flyover_frames_agree_with_their_place_on_the_ground(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "banepa_flyover_frames"
    told: dict[str, Any] = {"images": f"{folder}/frames/*.jpg", "tracks": f"{folder}/tracks.csv", "classes": ["building"]}

    scenes = _scenes(Frames(**told, placement=f"{folder}/frames.json"), tmp_path)

    assert len(scenes) == 24
    assert sum(scene.properties["geohydra:labels"]["building"] for scene in scenes) == 2219
    with SceneReader(scenes[0]) as first, SceneReader(scenes[1]) as second:
        _, down = (round(offset) for offset in _moved(scenes[0], scenes[1]))
        right = round(_moved(scenes[0], scenes[1])[0])
        size = scenes[0].grid.shape
        one = first.read(Window(down, right, size)).pixels[:, : size.rows - down, : size.cols - right].astype(float)
        other = second.read(Window(0, 0, size)).pixels[:, : size.rows - down, : size.cols - right].astype(float)
    assert np.abs(one - other).mean() < 8


def _moved(one: Scene, other: Scene) -> tuple[float, float]:
    """Columns and rows from the corner of one frame to that of another."""
    a, _, c, _, e, f = one.grid.transform
    return (other.grid.transform[2] - c) / a, (other.grid.transform[5] - f) / e


def test_landsat_chips_have_the_classes_of_their_table(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "landsat7_nc_landcover"

    scenes = _scenes(Chips(images=f"{folder}/chips/*.tif", labels=Table(file=f"{folder}/chips.csv")), tmp_path)

    counts: dict[str, int] = {}
    for scene in scenes:
        counts[scene.properties["geohydra:class"]] = counts.get(scene.properties["geohydra:class"], 0) + 1
        assert scene.id.startswith(scene.properties["geohydra:class"])
    assert counts == {"forest": 347, "developed": 203, "herbaceous": 91, "shrubland": 44, "water": 11}


def test_rsvqa_scenes_have_several_classes(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "rsvqa_lr_sentinel2"

    scenes = _scenes(Chips(images=f"{folder}/*.tif", labels=Records(file=f"{folder}/labels.json", label="present")), tmp_path)

    told = {record["file"]: record["present"] for record in json.loads((folder / "labels.json").read_text())}
    assert len(scenes) == 12
    for scene in scenes:
        assert scene.properties["geohydra:classes"] == [name for name, there in told[f"{scene.id}.tif"].items() if there]


def test_neon_boxes_lie_on_chips_with_and_without_a_place(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "neon_tree_boxes"

    scenes = _scenes(Chips(images=f"{folder}/*.{{tif,png}}", labels=Boxes(files=f"{folder}/*.csv")), tmp_path)

    assert {scene.id: scene.properties["geohydra:labels"] for scene in scenes} == {
        "2019_YELL_2_528000_4978000_crop1600": {"Tree": 190},
        "OSBS_029": {"Tree": 61},
        "SOAP_061": {"Alive": 9, "Dead": 28},
    }
    by_place = {bool(scene.grid.crs) for scene in scenes}
    assert by_place == {True, False}
