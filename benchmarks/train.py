"""Training: CPU seconds an image of our loop over stored chips, against a bare loop over tensors in memory.

Both: the same network, batch, threads, optimizer and gradient clipping, channels last. Ours also reads chips from disk, normalises and
mirrors them, keeps its state after each epoch and tells its scores.
The medians are of whole epochs.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from geohydra.chips.augment import Augment
from geohydra.chips.dataset import Chips, loader
from geohydra.chips.gathering import StoredChips
from geohydra.chips.index import Chip
from geohydra.chips.normalise import Normalise
from geohydra.chips.store import ChipWriter
from geohydra.models.smp import SmpModel
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.training.loop import Recipe, fit
from geohydra.training.losses import CrossEntropy
from geohydra.training.optimizers import AdamW
from geohydra.training.settings import Training
from geohydra.types import Image, Shape, Window
from geohydra.work import Resources, Work

TARGET = 1.05
BATCH, BANDS, CLIP, RATE, EPOCHS = 8, 4, 1.0, 1e-3, 4
CLASSES = ["field", "water", "road", "building"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="fewer and smaller chips")
    parser.add_argument("--encoder", default="mobilenet_v2")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    side, count, repeats = (128, 64, 2) if options.small else (256, 48, 3)
    torch.set_num_threads(options.threads)
    ours, bare = Clock(), Clock()
    with tempfile.TemporaryDirectory() as folder:
        write_chips(Path(folder) / "chips", side, count)
        for _ in range(repeats):
            bare_loop(options.encoder, Path(folder), bare)
            our_loop(options.encoder, Path(folder), ours, threads=options.threads)
    for kind in ("cpu", "wall"):
        mine, limit = (statistics.median(getattr(clock, kind)) / count for clock in (ours, bare))
        target = f" (target <= {TARGET})" if kind == "cpu" else ""
        print(f"train {side} px, {kind} an image: ours {1e3 * mine:.1f} ms; limit {1e3 * limit:.1f} ms; ratio {mine / limit:.3f}{target}")


class Clock:
    """CPU and wall seconds of epochs; the first of a training is not counted."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []
        self._last: tuple[float, float] | None = None

    def start(self) -> None:
        self._last = None

    def tick(self, _text: str = "") -> None:
        """An epoch is over."""
        now = (time.process_time(), time.perf_counter())
        if self._last is not None:
            self.cpu.append(now[0] - self._last[0])
            self.wall.append(now[1] - self._last[1])
        self._last = now


def our_loop(encoder: str, folder: Path, clock: Clock, *, threads: int) -> None:
    clock.start()
    shutil.rmtree(folder / "work", ignore_errors=True)
    (folder / "work").mkdir()
    task = SemanticSegmentation(classes=CLASSES)
    loss = CrossEntropy().build(dict.fromkeys(task.classes, 0.2))
    recipe = Recipe(task, loss, AdamW(lr=RATE), Training(epochs=EPOCHS, batch_size=BATCH, lr=RATE, gradient_clip=CLIP))
    chips = stored_chips(folder)
    train = loader(chips, batch_size=BATCH, shuffle=True, drop_last=True)
    val = loader(stored_chips(folder, limit=1), batch_size=1, shuffle=False)
    work = Work({}, folder / "work", Resources(cpu=threads, device="cpu"))
    work.say = clock.tick  # type: ignore[method-assign]
    fit(make_network(encoder), recipe, train, val, work=work)


def bare_loop(encoder: str, folder: Path, clock: Clock) -> None:
    clock.start()
    chips = stored_chips(folder)
    network = make_network(encoder).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, fused=True)
    parts = [chips.__getitems__(list(range(start, start + BATCH))) for start in range(0, len(chips), BATCH)]
    batches = [(part["image"].contiguous(memory_format=torch.channels_last), part["mask"].long()) for part in parts]
    for _ in range(EPOCHS):
        for image, mask in batches:
            optimizer.zero_grad()
            functional.cross_entropy(network(image), mask, ignore_index=255).backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
        clock.tick()


def make_network(encoder: str) -> nn.Module:
    torch.manual_seed(0)
    return SmpModel(encoder=encoder).build(channels=BANDS, classes=len(CLASSES) + 1)


def stored_chips(folder: Path, limit: int | None = None) -> Chips:
    gather = StoredChips(folder / "chips", None)
    count = len(gather._store) if limit is None else limit
    side = gather._store.shape.rows
    chips = [Chip("scene", Window(0, place * side, Shape(side, side)), "train") for place in range(count)]
    mirror = Augment(transforms=[{"HorizontalFlip": {}}, {"VerticalFlip": {}}])
    return Chips(gather, range(count), chips, normalise=Normalise([1000.0] * BANDS, [300.0] * BANDS), augment=mirror, seed=0)


def write_chips(folder: Path, side: int, count: int) -> None:
    rng = np.random.default_rng(0)
    with ChipWriter(folder, bands=[f"b{place}" for place in range(BANDS)], shape=Shape(side, side), dtype="uint16") as writer:
        for _ in range(count):
            pixels = rng.normal(1000, 300, (BANDS, side, side)).clip(0, 4000).astype(np.uint16)
            mask = rng.integers(0, len(CLASSES) + 1, (side, side), dtype=np.uint8)
            writer.add(Image(pixels, np.ones((side, side), bool)), {"mask": mask})


if __name__ == "__main__":
    main()
