"""A project of one's own: what `init` lays down can be checked and planned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geohydra.cli import main


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as `init` leaves it, with an image and labels put where its README says."""
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 3, "dtype": "uint8"}
    with rasterio.open("data/images/a.tif", "w", crs="EPSG:32632", transform=from_origin(500000, 5900000, 1, 1), **profile) as image:
        image.write(np.full((3, 64, 64), 7, np.uint8))
    square = [[500010.0, 5899950.0], [500030.0, 5899950.0], [500030.0, 5899970.0], [500010.0, 5899970.0], [500010.0, 5899950.0]]
    feature = {"type": "Feature", "properties": {"class": "building"}, "geometry": {"type": "Polygon", "coordinates": [square]}}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    Path("data/labels.geojson").write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    return tmp_path


def test_a_new_project_checks(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["check", "experiment=first"])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    assert "data: good, 1 scene, 2 files" in printed.out


def test_a_new_project_plans(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "experiment=first"]) == 0
    assert "first: 7 steps, 0 stored" in capsys.readouterr().out


def test_a_class_that_no_label_has_is_told(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["check", "experiment=first", "task.classes=[biulding]"])
    assert code != 0
    assert "building" in capsys.readouterr().err


def test_the_options_of_the_project_are_listed_in_help(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "mine" in capsys.readouterr().out


def test_a_second_init_keeps_everything(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    main(["init"])
    assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before
    assert "created" not in capsys.readouterr().out
