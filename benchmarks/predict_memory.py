"""Peak memory of prediction at two sizes of a scene, each in a process of its own.

`python benchmarks/predict_memory.py [--small]`. The network is a single 1 x 1 convolution: what grows here grows with the scene.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.prediction.dense import predict_scene
from geohydra.prediction.settings import Prediction
from geohydra.raster.write import CogWriter
from geohydra.types import Asset, Grid, Image, Scene, Shape
from geohydra.work import Resources, Work

BANDS = ("red", "green", "blue")
CLASSES = ("land", "water")
SLACK_MB = 150


class Tiny:
    """A trained network that costs next to nothing."""

    bands = BANDS
    device = "cpu"

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(2)
        self.details: dict[str, Any] = {}
        self.network = torch.nn.Conv2d(len(BANDS), len(CLASSES), 1).eval()

    def normalise(self, image: Image) -> NDArray[np.float32]:
        """From bytes to about one."""
        pixels = image.pixels.astype(np.float32) / 255
        pixels[:, ~image.valid] = 0
        return pixels

    def infer(self, batch: Any) -> Any:
        """Two classes."""
        import torch

        with torch.inference_mode():
            return self.network(batch)

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for arrays."""
        import torch

        return np.asarray(self.infer(torch.from_numpy(batch)).numpy())


def make_scene(path: Path, size: int) -> Scene:
    """A scene that compresses well, written in strips."""
    grid = Grid("EPSG:32633", (1, 0, 500_000, 0, -1, 5_000_000), Shape(size, size))
    if not path.exists():
        with CogWriter(path, grid=grid, bands=len(BANDS), dtype="uint8", nodata=0) as writer:
            for row in range(0, size, 512):
                rows = np.arange(row, min(row + 512, size))[:, None] // 64
                one = ((rows * 7 + np.arange(size) // 64 * 13) % 251).astype(np.uint8)
                writer.write(row, np.stack([one, one, one]))
    return Scene("scene", grid, (Asset(str(path), BANDS, (1, 2, 3), "uint8", 0.0),))


def run(folder: Path, size: int, overlap: float) -> None:
    """Predict, then print the peak in MB and the seconds."""
    scene = make_scene(folder / f"{size}.tif", size)
    settings = Prediction(window=256, overlap=overlap, probabilities="uint8" if overlap else "none", polygons=False)
    started = time.monotonic()
    work = Work({}, folder / "work", Resources())
    predict_scene(scene, Tiny(), settings, out=folder / "out", work=work, classes=CLASSES, background=CLASSES[0])
    print(highest(), time.monotonic() - started)


def measure(folder: Path, size: int, overlap: float) -> tuple[float, float]:
    """Peak memory in MB, and seconds, of a process that predicts a scene that is there already."""
    own = [sys.executable, __file__, "--folder", str(folder), "--size", str(size)]
    subprocess.run([*own, "--make"], check=True)
    answer = subprocess.run([*own, "--overlap", str(overlap)], check=True, capture_output=True, text=True).stdout
    peak, seconds = answer.split()[-2:]
    return float(peak), float(seconds)


def highest() -> float:
    """Peak memory of this process in MB; what it was started from does not count, as it would in `getrusage`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    """Print a line for each overlap."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="1,000 and 3,000 px instead of 4,000 and 20,000 px")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--make", action="store_true")
    options = parser.parse_args()
    if options.size:
        make_scene(options.folder / f"{options.size}.tif", options.size) if options.make else run(
            options.folder, options.size, options.overlap
        )
        return
    sizes = (1000, 3000) if options.small else (4000, 20_000)
    with tempfile.TemporaryDirectory() as place:
        for overlap in (0.0, 0.25):
            (low, _), (high, seconds) = (measure(Path(place), size, overlap) for size in sizes)
            print(
                f"predict memory, overlap {overlap:.0%}: {high:.0f} MB at {sizes[1]} px ({seconds:.0f} s), {low:.0f} MB at {sizes[0]} px;"
                f" difference {high - low:.0f} MB (target <= {SLACK_MB}){'' if high - low <= SLACK_MB else ' MISSED'}"
            )


if __name__ == "__main__":
    main()
