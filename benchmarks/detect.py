"""Prediction of objects against the bare forward of the same detector on decoded tensors.

`python benchmarks/detect.py [--small]`. The detector is folded and in channels-last order on both sides, and on both sides two windows run
side by side, a core each; ours also reads a COG, normalises, unites objects across windows, writes GeoParquet and GeoJSON, and draws a
picture. Targets: 1.15 times the wall time, and memory that does not grow with the scene.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from _measure import measure_in_turn, report
from predict import BANDS, make_scene

from geohydra.bundle import Card, TrainedModel, load_model, write_model
from geohydra.models.detector import Fcos
from geohydra.prediction.objects import predict_objects
from geohydra.prediction.settings import Prediction
from geohydra.raster.windows import WindowPlan, stride_of
from geohydra.types import Scene, Shape
from geohydra.work import Resources, Work

CLASSES = ("building", "vehicle")
WINDOW = 256
BATCH = 4
CORES = 2
SLACK = 1.15


def make_model(folder: Path, encoder: str = "resnet34") -> TrainedModel:
    """A detector of random weights that finds some objects in each window, as a trained one does."""
    torch.manual_seed(0)
    node = {"_target_": "geohydra.models.detector.Fcos", "encoder": encoder, "weights": None}
    network = Fcos(encoder=encoder).build(channels=len(BANDS), classes=len(CLASSES))
    task = {"_target_": "geohydra.tasks.detection.Detection", "classes": list(CLASSES)}
    known = {band: {"mean": 127.0, "std": 60.0} for band in BANDS}
    head = network.get_submodule("head.naming.cls_logits")
    torch.nn.init.constant_(head.get_parameter("bias"), -7.0)
    torch.nn.init.normal_(head.get_parameter("weight"), std=0.05)
    write_model(folder, network, Card(task, node, BANDS, CLASSES, known, (WINDOW, WINDOW), stride=16))
    return load_model(folder, device="cpu", threads=CORES)


def forward(trained: TrainedModel, windows: int) -> Callable[[], None]:
    """So many windows through the detector, the tensors being there."""
    size = BATCH // CORES
    batch = torch.randn(size, len(BANDS), WINDOW, WINDOW).to(memory_format=torch.channels_last)

    def run() -> None:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(trained.infer, (batch[: min(size, windows - start)] for start in range(0, windows, size))))
        torch.set_num_threads(CORES)

    return run


def predict(scene: Scene, trained: TrainedModel, folder: Path, overlap: float) -> Callable[[], None]:
    """The scene as a user would predict it."""
    settings = Prediction(window=WINDOW, overlap=overlap, batch_size=BATCH)
    work = Work({}, folder / "work", Resources())

    def run() -> None:
        predict_objects(scene, trained, settings, out=folder / "out", work=work, classes=CLASSES)

    return run


def main() -> None:
    """Print a line for each size of scene."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="1 million pixels, once")
    parser.add_argument("--encoder", default="resnet34", help="of the detector; the lighter it is, the more the rest weighs")
    options = parser.parse_args()
    sizes, repeats = ((512, 1024), 1) if options.small else ((1024, 2048, 4096), 5)
    torch.set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        trained = make_model(folder / "model", options.encoder)
        for size in sizes:
            scene = make_scene(folder, size)
            plan = WindowPlan(scene.grid.shape, Shape(WINDOW, WINDOW), stride_of(Shape(WINDOW, WINDOW), 0.25))
            limit, ours = measure_in_turn([forward(trained, plan.total), predict(scene, trained, folder, 0.25)], repeats=repeats)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            name = f"detect fcos {options.encoder}, {size} px, {plan.total} windows, {peak:.2f} GB at most so far"
            report(name, ours, limit, SLACK, by="wall")


if __name__ == "__main__":
    main()
