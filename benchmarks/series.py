"""A scene of many dates: how often its blocks are read, and what cutting and predicting cost beside bare reading and a bare forward.

    python benchmarks/series.py [--small]

Bytes are those that the system gave (`/proc/self/io`, Linux): headers and indexes are read for each opened file, so a ratio slightly
above 1 is every block once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from _measure import measure_once, report, small

from geohydra.bundle import Card, TrainedModel, load_model, write_model
from geohydra.chips.cutting import cut_chips
from geohydra.chips.sampling import Sliding
from geohydra.chips.splits import ByScene
from geohydra.models.series import Ltae
from geohydra.prediction.settings import Prediction
from geohydra.raster.planes import planes
from geohydra.raster.series import SeriesReader
from geohydra.raster.write import CogWriter
from geohydra.tasks.time_series import TimeSeries
from geohydra.types import Asset, Grid, LabelAsset, Scene, Series, Shape, Window
from geohydra.work import Resources, Work

BANDS = ("red", "green", "blue", "nir")
CLASSES = ("wheat", "maize", "rape")
DATES = 60


def made(folder: Path, size: int) -> Scene:
    """60 irregular dates, a file each, a third of the pixels cloudy."""
    grid = Grid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), Shape(size, size))
    draw = np.random.default_rng(0)
    assets = []
    for place, day in enumerate(np.sort(draw.choice(360, DATES, replace=False)).tolist()):
        pixels = draw.integers(1, 4000, (len(BANDS), size, size)).astype(np.uint16)
        pixels[:, draw.random((size, size)) < 0.3] = 0
        path = folder / f"{place:02d}.tif"
        with CogWriter(path, grid=grid, bands=len(BANDS), dtype="uint16", nodata=0, block=256) as writer:
            writer.write(0, pixels)
        time = datetime(2024, 1, 1, 10, tzinfo=UTC) + timedelta(days=day)
        assets.append(Asset(str(path), BANDS, (1, 2, 3, 4), "uint16", 0.0, time))
    with CogWriter(folder / "labels.tif", grid=grid, bands=1, dtype="uint8", block=256) as writer:
        writer.write(0, draw.integers(1, 4, (1, size, size)).astype(np.uint8))
    labels = LabelAsset(str(folder / "labels.tif"), "raster", dict(enumerate(CLASSES, start=1)), CLASSES)
    return Scene("place", grid, tuple(assets), labels)


def model(folder: Path) -> TrainedModel:
    """Chance weights: cost does not depend on them."""
    torch.manual_seed(0)
    task = TimeSeries(classes=list(CLASSES))
    node = {"_target_": "geohydra.models.series.Ltae"}
    statistics = {band: {"mean": 2000.0, "std": 1000.0} for band in BANDS}
    told = {"_target_": "geohydra.tasks.time_series.TimeSeries", "classes": list(CLASSES)}
    write_model(folder, task.network(Ltae(), channels=len(BANDS)), Card(told, node, BANDS, task.classes, statistics, (64, 64)))
    return load_model(folder)


def bare_read(scene: Scene) -> list[Series]:
    """Every block of every date, block by block."""
    shape, block = scene.grid.shape, 256
    with SeriesReader(scene) as reader:
        corners = [(row, col) for row in range(0, shape.rows, block) for col in range(0, shape.cols, block)]
        return [reader.read(Window(row, col, Shape(min(block, shape.rows - row), min(block, shape.cols - col)))) for row, col in corners]


def bare_forward(trained: TrainedModel, scene: Scene) -> None:
    """The same blocks through the network, and nothing else."""
    for series in bare_read(scene):
        pixels = (series.pixels.astype(np.float32) - 2000) / 1000 * series.valid[:, None]
        trained.infer(torch.from_numpy(planes(pixels, series.valid, series.days))[None])


def read_bytes(call: Callable[[], object]) -> int:
    """What the system gave to this process meanwhile."""
    before = _given()
    call()
    return _given() - before


def _given() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def main() -> None:
    size = 256 if small(__doc__ or "") else 1024
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = made(folder, size)
        trained = model(folder / "model")
        task = TimeSeries(classes=list(CLASSES))
        seen = task.view(scene)
        work = Work({}, folder, Resources(cpu=1))
        kept = sum(Path(asset.uri).stat().st_size for asset in scene.assets)
        sampling = Sliding(size=64, split=ByScene(val=0.0, test=0.0))
        settings = Prediction(window=256, polygons=False)

        def cut() -> None:
            cut_chips([seen], task, sampling, folder / "chips", seed=0, progress=lambda *_: None)

        def predict() -> None:
            task.predict(seen, trained, settings, folder / "state" / "map", work)

        found: dict[str, int] = {}
        for title, call in (("cut", cut), ("predict", predict)):
            call()
            found[title] = read_bytes(call)
        print(f"{DATES} dates of {size} x {size} px, {len(BANDS)} bands: {kept / 1e6:.1f} MB in files")
        for title, count in found.items():
            print(f"{title}: {count / 1e6:.1f} MB read, {count / kept:.2f} of the files{'' if count <= 1.25 * kept else ' MISSED'}")
        read = measure_once(lambda: bare_read(scene))
        report("cut chips of 64 px, stored", measure_once(cut), read, 2.0)
        report("predict, with curves", measure_once(predict), measure_once(lambda: bare_forward(trained, scene)), 1.25)


if __name__ == "__main__":
    main()
