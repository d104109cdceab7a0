"""Outputs of steps as later steps find them: two scenes with labels, splits, and a small trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geohydra import catalogue
from geohydra.bundle import Card, write_model
from geohydra.chips.index import Region, write_splits
from geohydra.models.smp import SmpModel
from geohydra.raster.write import write_image
from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape, Window
from geohydra.work import Resources, Work

BANDS = ("red", "green", "blue")
TASK = {"_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation", "classes": ["water"]}
MODEL = {"_target_": "geohydra.models.smp.SmpModel", "architecture": "unet", "encoder": "mobilenet_v2", "depth": 3}


class Outputs:
    """Folders of finished steps, and a place to work in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.task = TASK

    def work(self, name: str, *needs: str) -> Work:
        """What a step is given that needs these."""
        (self.root / f"work-{name}").mkdir(exist_ok=True)
        return Work({need: str(self.root / need) for need in needs}, self.root / f"work-{name}", Resources(device="cpu"))

    def publish(self, name: str, work: Work) -> Path:
        """Make a step's output what later steps find."""
        return work.out.rename(self.root / name)


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    """Outputs of ingest, chip and train."""
    made = Outputs(tmp_path)
    scenes = [_scene(tmp_path / "ingest", name, seed) for seed, name in enumerate(("north", "south"))]
    catalogue.write(scenes, tmp_path / "ingest")
    halves = {"train": Window(0, 0, Shape(40, 60)), "val": Window(40, 0, Shape(20, 60)), "test": Window(60, 0, Shape(20, 60))}
    (tmp_path / "chip").mkdir()
    write_splits(
        tmp_path / "chip/splits.parquet", [Region(s.id, window, split) for s in scenes for split, window in halves.items()], scenes
    )
    network = SmpModel(architecture="unet", encoder="mobilenet_v2", depth=3).build(channels=3, classes=2)
    statistics = {band: {"mean": 127.0, "std": 70.0} for band in BANDS}
    write_model(tmp_path / "train/model", network, Card(TASK, MODEL, BANDS, ("background", "water"), statistics, (32, 32), stride=8))
    return made


def _scene(folder: Path, name: str, seed: int) -> Scene:
    grid = Grid("EPSG:32633", (10, 0, 500_000 + 5000 * seed, 0, -10, 5_000_000), Shape(80, 60))
    draw = np.random.default_rng(seed)
    pixels = draw.integers(1, 255, (3, 80, 60)).astype(np.uint8)
    pixels[:, :4] = 0
    write_image(folder / f"{name}.tif", pixels, grid=grid, nodata=0)
    write_image(folder / f"{name}-labels.tif", (pixels[:1] > 150).astype(np.uint8), grid=grid)
    labels = LabelAsset(str(folder / f"{name}-labels.tif"), "raster", {0: "background", 1: "water"}, ("water",))
    return Scene(name, grid, (Asset(str(folder / f"{name}.tif"), BANDS, (1, 2, 3), "uint8", 0.0),), labels)
