"""Prediction against the bare forward of the same network in its fastest eager form on decoded tensors.

`python benchmarks/predict.py [--small]`. The network is folded and in channels-last order on both sides; ours also reads
a COG, normalises, merges windows, writes a COG with overviews, and draws a picture.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from _measure import measure_in_turn, report

from geohydra.bundle import Card, TrainedModel, load_model, write_model
from geohydra.models.smp import SmpModel
from geohydra.prediction.dense import predict_scene
from geohydra.prediction.settings import Prediction
from geohydra.raster.windows import WindowPlan, stride_of
from geohydra.raster.write import CogWriter
from geohydra.types import Asset, Grid, Scene, Shape
from geohydra.work import Resources, Work

BANDS = ("red", "green", "blue", "nir")
CLASSES = ("land", "water", "road", "building")
WINDOW = 256
BATCH = 4
SLACK = 1.10


def make_scene(folder: Path, size: int) -> Scene:
    """A scene of four bands: smooth as ground is, with a little noise as cameras have."""
    grid = Grid("EPSG:32633", (1, 0, 500_000, 0, -1, 5_000_000), Shape(size, size))
    draw = torch.Generator().manual_seed(0)
    path = folder / "scene.tif"
    with CogWriter(path, grid=grid, bands=4, dtype="uint8") as writer:
        for row in range(0, size, 512):
            rough = 200 * torch.rand(1, 4, 16, -(-size // 32), generator=draw)
            ground = torch.nn.functional.interpolate(rough, size=(512, size), mode="bilinear")[0]
            noise = torch.randint(0, 8, ground.shape, generator=draw)
            writer.write(row, (ground + noise).to(torch.uint8).numpy()[:, : size - row])
    return Scene("scene", grid, (Asset(str(path), BANDS, (1, 2, 3, 4), "uint8"),))


def make_model(folder: Path, encoder: str = "resnet34") -> TrainedModel:
    """A U-Net with random weights, as a train step would leave it."""
    model = {"_target_": "geohydra.models.smp.SmpModel", "architecture": "unet", "encoder": encoder, "weights": None}
    network = SmpModel(architecture="unet", encoder=encoder, weights=None).build(channels=4, classes=len(CLASSES))
    task = {"_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation", "classes": list(CLASSES[1:]), "background": CLASSES[0]}
    known = {band: {"mean": 127.0, "std": 60.0} for band in BANDS}
    write_model(folder, network, Card(task, model, BANDS, CLASSES, known, (WINDOW, WINDOW), stride=32))
    return load_model(folder, device="cpu", threads=torch.get_num_threads())


def forward(trained: TrainedModel, windows: int) -> Callable[[], None]:
    """So many windows through the network, the tensors being there."""
    batch = torch.randn(BATCH, 4, WINDOW, WINDOW).to(memory_format=torch.channels_last)

    def run() -> None:
        for start in range(0, windows, BATCH):
            trained.infer(batch[: min(BATCH, windows - start)])

    return run


def predict(scene: Scene, trained: TrainedModel, folder: Path, overlap: float) -> Callable[[], None]:
    """The scene as a user would predict it, without polygons."""
    settings = Prediction(window=WINDOW, overlap=overlap, batch_size=BATCH, probabilities="none", polygons=False)
    work = Work({}, folder / "work", Resources())

    def run() -> None:
        predict_scene(scene, trained, settings, out=folder / "out", work=work, classes=CLASSES, background=CLASSES[0])

    return run


def main() -> None:
    """Print a line for each overlap."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="1 million pixels, once")
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of the scene")
    parser.add_argument("--encoder", default="resnet34", help="of the U-Net; the lighter it is, the more the rest weighs")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    size, repeats = (1024, 1) if options.small else (options.size, options.repeats)
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        scene, trained = make_scene(folder, size), make_model(folder / "model", options.encoder)
        for overlap in (0.0, 0.25):
            plan = WindowPlan(scene.grid.shape, Shape(WINDOW, WINDOW), stride_of(Shape(WINDOW, WINDOW), overlap))
            calls = [forward(trained, plan.total), predict(scene, trained, folder, overlap)]
            limit, ours = measure_in_turn(calls, repeats=repeats)
            report(f"predict {options.encoder}, {size} px, overlap {overlap:.0%}, {plan.total} windows", ours, limit, SLACK, by="wall")


if __name__ == "__main__":
    main()
