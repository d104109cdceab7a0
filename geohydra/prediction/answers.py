"""What a network answers to the windows of a scene, in order: read ahead, and on a CPU several windows at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

import torch

from geohydra.prediction.scan import Batch, Part, Watch, scan
from geohydra.prediction.threads import ahead, side_by_side
from geohydra.raster.windows import WindowPlan
from geohydra.task import Trained
from geohydra.types import PIXEL, Scene, Shape

Found = TypeVar("Found", list[Any], torch.Tensor)

_AHEAD = 2


def answers(
    scene: Scene,
    trained: Trained,
    plan: WindowPlan,
    size: int,
    *,
    read: Callable[[Any], Found],
    cell: Shape = PIXEL,
    watch: Watch | None = None,
) -> Generator[tuple[Part, Found | None], None, None]:
    """Some windows of a block, with what `read` makes of the network's outputs for them: an item for each; None for a block in which
    nothing was measured. `size` windows are in the network at once.

    On a CPU each core takes windows of its own: several threads in one layer would wait for each other whenever another
    thread, which reads or writes, takes a core for a moment.
    """
    threads = torch.get_num_threads()
    workers = min(threads, size) if trained.device == "cpu" else 1
    torch.set_num_threads(max(1, threads // workers))
    try:
        with (
            closing(ahead(scan(scene, trained, plan, size=-(-size // workers), cell=cell, watch=watch), depth=_AHEAD)) as batches,
            closing(side_by_side(partial(_answer, trained, read), batches, workers=workers)) as answered,
        ):
            for batch, found in answered:
                first = 0
                for part in batch.parts:
                    last = first + len(part.places)
                    yield part, None if found is None else found[first:last]
                    first = last
    finally:
        torch.set_num_threads(threads)


def _answer(trained: Trained, read: Callable[[Any], Found], batch: Batch) -> Found | None:
    return None if batch.pixels is None else read(trained.infer(torch.from_numpy(batch.pixels)))
