"""The ingest step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest

from geohydra import catalogue
from geohydra.errors import DataError, Problems
from geohydra.raster.write import write_image
from geohydra.sources.files import Files
from geohydra.steps import ingest
from geohydra.types import Grid, Shape
from geohydra.work import Request, Resources, Work, perform, read_manifest

DEMO = {"_target_": "geohydra.sources.demo.Demo", "scenes": 2, "size": 128, "seed": 3}


def work(folder: Path) -> Work:
    folder.mkdir(exist_ok=True)
    return Work({}, folder, Resources())


def image(path: Path, *, row: int = 0, value: int = 5) -> Path:
    grid = Grid("EPSG:32632", (1.0, 0.0, 500_000.0, 0.0, -1.0, 5_500_000.0 - 40 * row), Shape(32, 32))
    write_image(path, np.full((1, 32, 32), value, np.uint8), grid=grid, nodata=0)
    return path


def files(folder: Path) -> dict[str, Any]:
    """A config of ingest on the images of a folder."""
    node = {"_target_": "geohydra.sources.files.Files", "images": f"{folder}/*.tif"}
    return {"source": node, "lock": [entry.as_dict() for entry in Files(images=f"{folder}/*.tif").lock()], "seed": 0}


def test_scenes_are_written_as_items_with_images_and_labels(tmp_path: Path) -> None:
    made = work(tmp_path / "w")

    ingest.run({"source": DEMO, "lock": [], "seed": 0}, made)

    scenes = catalogue.read(made.out)
    assert [scene.id for scene in scenes] == ["place-01", "place-02"]
    assert all(Path(scene.assets[0].uri).is_file() for scene in scenes)
    assert all(scene.labels and Path(scene.labels.uri).is_file() for scene in scenes)
    assert len(pyogrio.read_dataframe(made.out / "items.json")) == 2


def test_an_output_can_be_read_where_it_was_published(tmp_path: Path) -> None:
    uri = perform(Request("ingest", {"source": DEMO, "lock": [], "seed": 0}, {}, str(tmp_path / "store")))

    manifest = read_manifest(uri)
    assert manifest is not None
    assert {file["path"] for file in manifest["files"]} >= {"items.json", "images/place-01.tif", "labels/place-01.parquet"}
    assert all(Path(scene.assets[0].uri).is_relative_to(uri) for scene in catalogue.read(Path(uri)))


def test_the_report_tells_of_every_scene(tmp_path: Path) -> None:
    made = work(tmp_path / "w")

    ingest.run({"source": DEMO, "lock": [], "seed": 0}, made)

    table = pq.read_table(made.report.folder / "tables" / "scenes.parquet").to_pydict()
    assert table["scene"] == ["place-01", "place-02"]
    assert table["crs"] == ["EPSG:32632"] * 2
    assert sum(table["building"]) > 0
    assert (made.report.folder / "figures" / "footprints.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_left_out_stands_in_the_report(tmp_path: Path) -> None:
    image(tmp_path / "in" / "a.tif")
    image(tmp_path / "in" / "b.tif", row=1, value=0)
    made = work(tmp_path / "w")

    ingest.run(files(tmp_path / "in"), made)
    made.report.close("ingest")

    assert "b: excluded, it holds nothing but nodata" in (made.report.folder / "report.html").read_text()


def test_images_without_labels_and_without_a_crs_have_no_map_but_a_row(tmp_path: Path) -> None:
    grid = Grid("", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), Shape(8, 8))
    write_image(tmp_path / "in" / "a.tif", np.ones((1, 8, 8), np.uint8), grid=grid)
    config = files(tmp_path / "in")
    made = work(tmp_path / "w")

    ingest.run({**config, "source": {**config["source"], "allow_no_crs": True}}, made)

    assert [scene.grid.crs for scene in catalogue.read(made.out)] == [""]
    assert not (made.report.folder / "figures").exists()


def test_scenes_of_each_crs_have_a_map(tmp_path: Path) -> None:
    image(tmp_path / "in" / "a.tif")
    odd = Grid("+proj=laea +lat_0=52 +lon_0=10 +ellps=GRS80 +units=m +type=crs", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), Shape(8, 8))
    write_image(tmp_path / "in" / "b.tif", np.ones((1, 8, 8), np.uint8), grid=odd)
    made = work(tmp_path / "w")

    ingest.run(files(tmp_path / "in"), made)

    assert sorted(path.name for path in (made.report.folder / "figures").iterdir()) == ["footprints_1.png", "footprints_2.png"]


def test_a_file_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    path = image(tmp_path / "in" / "a.tif")
    config = files(tmp_path / "in")
    os.utime(path, (1, 1))

    with pytest.raises(DataError, match=r"a\.tif: has changed since it was listed"):
        ingest.run(config, work(tmp_path / "w"))


def test_bad_files_are_told_before_anything_is_published(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.tif", "b.tif"):
        (tmp_path / "in" / name).write_bytes(b"II*\0 broken")
    config = files(tmp_path / "in")

    with pytest.raises(Problems) as caught:
        perform(Request("ingest", config, {}, str(tmp_path / "store")))

    assert len(caught.value.errors) == 2
    assert not list((tmp_path / "store" / "ingest").glob("*")) if (tmp_path / "store" / "ingest").exists() else True
