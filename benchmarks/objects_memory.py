"""Peak memory of the prediction of objects at two sizes of a scene, each in a process of its own: of boxes, and of objects with masks.

`python benchmarks/objects_memory.py [--small]`. The detector tells the same objects in every window, at no cost: what grows here grows with
the scene. Target: 150 MB.
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
from predict_memory import BANDS, SLACK_MB, highest, make_scene

from geohydra.prediction.masks import predict_masks
from geohydra.prediction.objects import predict_objects
from geohydra.prediction.settings import Prediction
from geohydra.types import Image
from geohydra.work import Resources, Work

CLASSES = ("building", "vehicle")
WINDOW = 512
EACH = 60
"""Objects that a window shows."""


class Telling:
    """A trained detector that costs next to nothing: discs all over a window, those at its edges cut."""

    bands = BANDS
    device = "cpu"

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(2)
        self.details: dict[str, Any] = {}
        draw = np.random.default_rng(0)
        top = draw.uniform(-10, WINDOW - 10, (EACH, 2))
        boxes = np.concatenate([top, top + draw.uniform(12, 40, (EACH, 2))], axis=1).clip(0, WINDOW)
        row, col = np.mgrid[:28, :28] - 13.5
        self._found = {
            "boxes": torch.from_numpy(boxes),
            "scores": torch.from_numpy(draw.uniform(0.3, 1, EACH).astype(np.float32)),
            "classes": torch.from_numpy(draw.integers(0, len(CLASSES), EACH)),
            "masks": torch.from_numpy(np.tile((row**2 + col**2 < 190).astype(np.float32), (EACH, 1, 1))),
        }

    def normalise(self, image: Image) -> NDArray[np.float32]:
        """From bytes to about one."""
        return image.pixels.astype(np.float32) / 255

    def infer(self, batch: Any) -> Any:
        """The same for each window."""
        from geohydra.models.detector_network import Answer

        return Answer({}, [self._found] * len(batch))

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Nothing is dense here."""
        return batch


def run(folder: Path, size: int, *, masks: bool) -> None:
    """Predict, then print the peak in MB and the seconds."""
    scene = make_scene(folder / f"{size}.tif", size)
    settings, work = Prediction(window=WINDOW, overlap=0.25), Work({}, folder / "work", Resources())
    started = time.monotonic()
    if masks:
        predict_masks(scene, Telling(), settings, out=folder / "out", work=work, labels=CLASSES, colors=None)
    else:
        predict_objects(scene, Telling(), settings, out=folder / "out", work=work, classes=CLASSES)
    print(highest(), time.monotonic() - started)


def measure(folder: Path, size: int, kind: str) -> tuple[float, float]:
    """Peak memory in MB, and seconds, of a process that predicts a scene that is there already."""
    own = [sys.executable, __file__, "--folder", str(folder), "--size", str(size)]
    subprocess.run([*own, "--run", "scene"], check=True)
    answer = subprocess.run([*own, "--run", kind], check=True, capture_output=True, text=True).stdout
    peak, seconds = answer.split()[-2:]
    return float(peak), float(seconds)


def main() -> None:
    """Print a line for boxes and one for masks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="3,000 and 6,000 px instead of 4,000 and 20,000 px")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--run", choices=["scene", "boxes", "masks"])
    options = parser.parse_args()
    if options.run == "scene":
        make_scene(options.folder / f"{options.size}.tif", options.size)
        return
    if options.run:
        run(options.folder, options.size, masks=options.run == "masks")
        return
    sizes = (3000, 6000) if options.small else (4000, 20_000)
    with tempfile.TemporaryDirectory() as place:
        for kind in ("boxes", "masks"):
            (low, _), (high, seconds) = (measure(Path(place), size, kind) for size in sizes)
            print(
                f"memory of {kind}: {high:.0f} MB at {sizes[1]} px ({seconds:.0f} s), {low:.0f} MB at {sizes[0]} px;"
                f" difference {high - low:.0f} MB (target <= {SLACK_MB}){'' if high - low <= SLACK_MB else ' MISSED'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
