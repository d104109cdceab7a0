"""The chip step, and the analyze step that runs beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geohydra import catalogue
from geohydra.build import build
from geohydra.chips.apart import overlaps
from geohydra.chips.index import read_index, read_splits
from geohydra.config.compose import compose
from geohydra.errors import DataError
from geohydra.report import read_metrics
from geohydra.steps import chip
from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape
from geohydra.work import Request, Resources, Work, perform

TASK = {"_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation", "classes": ["water"]}
CHIP = {"_target_": "geohydra.chips.sampling.Sliding", "size": 32, "split": {"_target_": "geohydra.chips.splits.Blocks"}}


@pytest.fixture
def ingested(tmp_path: Path) -> Path:
    """An ingest output with one scene of 128 x 160 pixels, its upper half water."""
    folder = tmp_path / "store" / "ingest" / "0123456789abcdef"
    folder.mkdir(parents=True)
    grid = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), Shape(128, 160))
    profile = {"driver": "GTiff", "height": 128, "width": 160, "dtype": "uint8", "crs": grid.crs, "transform": Affine(*grid.transform)}
    pixels = np.random.default_rng(0).integers(0, 255, (3, 128, 160)).astype(np.uint8)
    labels = np.zeros((1, 128, 160), np.uint8)
    labels[:, :, ::2] = 1
    for name, array in (("image", pixels), ("labels", labels)):
        with rasterio.open(folder / f"{name}.tif", "w", count=len(array), **profile) as file:
            file.write(array)
    asset = Asset(str(folder / "image.tif"), ("red", "green", "blue"), (1, 2, 3), "uint8")
    scene = Scene("field", grid, (asset,), LabelAsset(str(folder / "labels.tif"), "raster", {1: "water"}, ("water",)))
    scene = replace(scene, properties={"geohydra:sequence": "film"})
    catalogue.write([scene], folder)
    (folder / "manifest.json").write_text("{}")
    return folder


def work(ingested: Path, tmp_path: Path) -> Work:
    (tmp_path / "work").mkdir(exist_ok=True)
    return Work({"ingest": str(ingested)}, tmp_path / "work", Resources())


def test_index_splits_store_and_report_are_written(ingested, tmp_path):
    at = work(ingested, tmp_path)

    chip.run({"task": TASK, "chip": CHIP, "seed": 0}, at)

    assert len(read_index(at.out)) == 20
    assert {region.split for region in read_splits(at.out)} == {"train", "val", "test"}
    assert (at.out / "chips" / "image.raw").stat().st_size == 20 * 3 * 32 * 32
    report = at.out / "report"
    assert sorted(path.stem for path in (report / "figures").iterdir()) == ["chips", "split_map"]
    metrics = read_metrics(report)
    assert metrics["chips/train"] + metrics["chips/val"] + metrics["chips/test"] == 20


def test_the_balance_adds_up(ingested, tmp_path):
    import pyarrow.parquet as pq

    at = work(ingested, tmp_path)
    chip.run({"task": TASK, "chip": CHIP, "seed": 0}, at)

    table = pq.read_table(at.out / "report" / "tables" / "balance.parquet").to_pydict()

    assert table["split"] == ["train", "val", "test"]
    assert sum(table["pixels"]) == 128 * 160
    assert table["water"] == [0.5, 0.5, 0.5]


def test_it_publishes_through_the_store(ingested, tmp_path):
    request = Request("chip", {"task": TASK, "chip": CHIP, "seed": 0}, {"ingest": str(ingested)}, str(tmp_path / "store"))

    uri = perform(request)

    manifest = json.loads((Path(uri) / "manifest.json").read_text())
    assert {"chips/store.json", "index.parquet", "splits.parquet", "report/report.html"} <= {file["path"] for file in manifest["files"]}
    assert perform(request) == uri


@pytest.mark.parametrize("stored", [True, False])
def test_every_shipped_choice_cuts_chips(chip_option, ingested, tmp_path, stored):
    node = composed(f"chip={chip_option}", "chip.size=32", f"chip.stored={stored}", "chip.split.val=0.0", "chip.split.test=0.0")
    at = work(ingested, tmp_path)

    chip.run({"task": TASK, "chip": node, "seed": 0}, at)

    assert (at.out / "chips").exists() == stored


NEEDED = {
    "by_area": ["chip.split.areas=areas.geojson", "chip.split.rest=train"],
    "by_time": ["chip.split.test=[2021]"],
    "listed": ["chip.split.lists=list.csv"],
}


@pytest.mark.parametrize("option", sorted(path.stem for path in Path(__file__).parents[2].glob("conf/chip/split/*.yaml")))
def test_every_shipped_split_divides(option, ingested, tmp_path, monkeypatch):
    import geopandas
    import shapely

    monkeypatch.chdir(tmp_path)
    (field,) = catalogue.read(ingested)
    scenes = [
        replace(
            field,
            id=f"{name}_{place}",
            grid=replace(field.grid, transform=(10.0, 0.0, 500_000.0 + 2000 * place, 0.0, -10.0, 5_000_000.0)),
            time=datetime(2015 + place, 1, 1, tzinfo=UTC),
            properties={"geohydra:split": ("train", "test")[place > 5], "geohydra:sequence": name},
        )
        for place, name in enumerate("aabbccde")
    ]
    left, bottom, right, top = scenes[0].grid.bounds
    drawn = geopandas.GeoDataFrame({"split": ["test"]}, geometry=[shapely.box(left, bottom, right + 9, top)], crs="EPSG:32633")
    drawn.to_file(tmp_path / "areas.geojson")
    (tmp_path / "list.csv").write_text(
        "scene,split\n" + "".join(f"{scene.id},{'test' if scene.id > 'd' else 'train'}\n" for scene in scenes)
    )
    split = build(composed(f"chip/split={option}", "chip.size=32", *NEEDED.get(option, []))["split"], where="chip.split")

    division = split.divide(scenes, chip=Shape(32, 32), content=Everywhere(), seed=0)

    assert set(split.asked) <= {region.split for region in division.regions}
    assert not overlaps(division.regions, scenes)


class Everywhere:
    def weights(self, scene, window):
        return np.array([1.0, 0.5]) * window.shape.size


def composed(*words):
    return compose(list(words)).config["chip"]


def test_an_overlap_that_was_asked_for_is_said_aloud(ingested, tmp_path):
    (field,) = catalogue.read(ingested)
    scenes = [replace(field, id=f"s{year}", time=datetime(year, 1, 1, tzinfo=UTC)) for year in (2019, 2020, 2021)]
    catalogue.write(scenes, ingested)
    split = {"_target_": "geohydra.chips.traits.ByTime", "test": [2021], "val": [2020]}
    at = work(ingested, tmp_path)
    said = []
    at.say = said.append

    with pytest.raises(DataError, match=r"show the same ground: .* say \+\+chip.overlap=warn"):
        chip.run({"task": TASK, "chip": CHIP | {"split": split}, "seed": 0}, at)
    chip.run({"task": TASK, "chip": CHIP | {"split": split, "overlap": "warn"}, "seed": 0}, at)

    assert "WARNING: chips of two splits show the same ground" in said[0]
