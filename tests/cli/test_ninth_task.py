"""A task that geohydra has never heard of: added from outside, by new files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rasterio

from geohydra.cli import main

CODE = '''
"""Where one parcel of land ends and the next begins."""

from typing import Annotated

import numpy as np
from pydantic import Field

from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.types import IGNORE


class ParcelLines(SemanticSegmentation):
    """Pixels within `width` of where the class of the ground changes."""

    def __init__(self, *, of: list[str], width: Annotated[int, Field(ge=1)] = 2) -> None:
        super().__init__(classes=["line"], background="inside")
        self.of, self.width = list(of), width
        self.labels = tuple(of)

    def target(self, ground, window):
        return {"mask": self._lines(ground, window)}

    def truth(self, ground, window):
        return self._lines(ground, window)

    def _lines(self, ground, window):
        wide = type(window)(window.row - self.width, window.col - self.width, type(window.shape)(
            window.shape.rows + 2 * self.width, window.shape.cols + 2 * self.width))
        ids = {name: place + 1 for place, name in enumerate(self.of)}
        mask = ground.mask(wide, ids=ids, background=0)
        middle = mask[self.width:-self.width, self.width:-self.width]
        found = np.zeros(middle.shape, bool)
        for rows in range(2 * self.width + 1):
            for cols in range(2 * self.width + 1):
                other = mask[rows:rows + middle.shape[0], cols:cols + middle.shape[1]]
                found |= (other != middle) & (other != IGNORE)
        return np.where(middle == IGNORE, np.uint8(IGNORE), found.astype(np.uint8))
'''
CONF = {
    "task/parcel_lines.yaml": "_target_: outside.parcel_lines.ParcelLines\nof: [field, water, road, building]\nwidth: 2\n",
    "model/for/parcel_lines.yaml": "defaults: [/model/unet@_here_]\n",
    "loss/for/parcel_lines.yaml": "defaults: [/loss/cross_entropy_dice@_here_]\n",
    "chip/for/parcel_lines.yaml": "defaults: [/chip/sliding@_here_]\n",
    "source/for/parcel_lines.yaml": "defaults: [/source/demo@_here_]\n",
    "train/for/parcel_lines.yaml": "defaults: [/train/default@_here_]\n",
}


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a package and configs of their own."""
    package = tmp_path / "outside"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parcel_lines.py").write_text(CODE)
    for name, text in CONF.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOHYDRA_PLUGINS", "outside")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_config_names_a_task_of_ones_own_only_where_its_package_is_trusted(
    outside: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "task=parcel_lines"]) == 0
    assert "train" in capsys.readouterr().out

    monkeypatch.setenv("GEOHYDRA_PLUGINS", "")
    assert main(["plan", "task=parcel_lines"]) != 0
    assert "set GEOHYDRA_PLUGINS=outside" in capsys.readouterr().err


@pytest.mark.slow
def test_a_task_from_outside_goes_through_all_verbs_and_edits_no_file(outside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["source.scenes=3", "source.size=256", "chip.size=64", "train.epochs=4", "tracking=none", "name=lines", "predict.window=128"]

    assert main(["task=parcel_lines", *small]) == 0

    [run] = (outside / "outputs/runs").glob("*-lines")
    metrics = json.loads((run / "results/evaluate/metrics.json").read_text())["metrics"]
    assert metrics["test/iou/line"] > 0.1
    image = sorted((outside / "outputs/store/ingest").glob("*/images/place-01*.tif"))[0]
    assert main(["predict", str(run), str(image), "predict.window=128", "-o", "maps"]) == 0
    [row] = json.loads(Path("maps/index.json").read_text())
    with rasterio.open(Path("maps") / row["classes"]) as dataset:
        assert dataset.crs.to_epsg() == 32632
    capsys.readouterr()
    assert main(["check", "task=parcel_lines", *small]) == 0
