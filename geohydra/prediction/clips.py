"""One sequence through a network that answers once for a clip: a table of clips, read and answered one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.types import Scene, Shape, tile_windows

if TYPE_CHECKING:
    from geohydra.prediction.settings import Prediction
    from geohydra.task import Trained
    from geohydra.work import Work

_SHOWN = 6
_PICTURE = 500


def predict_clips(
    scene: Scene, clips: Sequence[Scene], trained: Trained, settings: Prediction, *, out: Path, work: Work, classes: Sequence[str]
) -> dict[str, Any]:
    """Write `clips.csv` (a row a clip: its frames, when, the class, and the probability of each class) and `quicklook.png` into the folder
    `out`, which appears whole or not at all.

    Returns a row of plain values; the class of the whole sequence is that of the mean of its clips.
    """
    from geohydra.prediction.dense import whole_folder

    found = []
    for place, clip in enumerate(clips):
        work.progress(place, len(clips), f"{scene.id}: clip {place + 1}")
        found.append(answer(clip, trained, batch=settings.batch_size))
    with whole_folder(out) as folder:
        _write(folder / "clips.csv", clips, found, classes)
        (folder / "quicklook.png").write_bytes(_picture(scene, clips, found, classes))
    mean = np.mean(found, axis=0)
    told = {"class": classes[int(mean.argmax())], "score": round(float(mean.max()), 4), "clips": len(clips)}
    return {"scene": scene.id, "clips_csv": f"{out.name}/clips.csv", "quicklook": f"{out.name}/quicklook.png"} | told


def answer(clip: Scene, trained: Trained, *, batch: int) -> NDArray[np.float64]:
    """The probability of each class: the mean over windows as large as the chips that the network has learnt from."""
    logits = np.concatenate(list(_outputs(clip, trained, batch)) or [np.zeros((1, len(trained.details["classes"])), np.float32)])
    odds = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    shares: NDArray[np.float64] = (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def _outputs(clip: Scene, trained: Trained, batch: int) -> Iterator[NDArray[np.float32]]:
    """Of all windows in which anything was measured, some at a time."""
    from geohydra.raster.series import SeriesReader

    side = Shape(*trained.details["chip"])
    waiting: list[NDArray[np.float32]] = []
    with SeriesReader(clip, bands=trained.bands) as reader:
        for window in tile_windows(clip.grid.shape, side, side):
            series: Any = reader.read(window)
            if series.valid.any():
                waiting.append(trained.normalise(series))
            if len(waiting) == batch:
                yield trained.forward(np.stack(waiting))
                waiting = []
    if waiting:
        yield trained.forward(np.stack(waiting))


def _write(path: Path, clips: Sequence[Scene], found: Sequence[NDArray[np.float64]], classes: Sequence[str]) -> None:
    import csv

    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["clip", "first_frame", "last_frame", "start", "end", "class", "score", *(f"p_{name}" for name in classes)])
        for clip, shares in zip(clips, found, strict=True):
            numbers, times = clip.properties["geohydra:frames"], clip.times
            ends = [time.isoformat() if clip.properties.get("geohydra:dated", True) else "" for time in (times[0], times[-1])]
            best = int(shares.argmax())
            rounded = [round(float(share), 6) for share in shares]
            table.writerow([clip.id, numbers[0], numbers[-1], *ends, classes[best], rounded[best], *rounded])


def _picture(scene: Scene, clips: Sequence[Scene], found: Sequence[NDArray[np.float64]], classes: Sequence[str]) -> bytes:
    """The first frame of some clips, with what they were taken for."""
    from geohydra import pictures
    from geohydra.raster.read import SceneReader

    every = -(-len(clips) // _SHOWN)
    bands, panels = pictures.visible(scene.bands), []
    for clip, shares in list(zip(clips, found, strict=True))[::every]:
        with SceneReader(replace_series(clip).at(clip.times[0]), bands=bands) as reader:
            rgb = pictures.stretch(reader.read_overview(_PICTURE), bands)
        best = int(shares.argmax())
        panels.append((f"{clip.id}: {classes[best]} {shares[best]:.2f}", rgb))
    return pictures.side_by_side([panels[start : start + 3] for start in range(0, len(panels), 3)])


def replace_series(clip: Scene) -> Scene:
    """The same frames, to be read one by one."""
    from dataclasses import replace

    return replace(clip, series=False)
