"""One sequence through a network that answers once for a clip: a table of clips, read and answered one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.pictures import palette
from geohydra.types import Scene, Shape, tile_windows

if TYPE_CHECKING:
    from geohydra.pictures import Color
    from geohydra.prediction.settings import Prediction
    from geohydra.task import Trained
    from geohydra.work import Work

_SHOWN = 6
_PICTURE = 500


def predict_clips(
    scene: Scene,
    clips: Sequence[Scene],
    trained: Trained,
    settings: Prediction,
    *,
    out: Path,
    work: Work,
    classes: Sequence[str],
    colors: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write into the folder `out`, which appears whole or not at all: `clips.parquet` and `clips.csv` (a row a clip: its frames, when, the
    class, and the probability of each class), `preview.gif`, `preview.mp4` and `quicklook.png`.

    Returns a row of plain values; the class of the whole sequence is that of the mean of its clips.
    """
    from geohydra.prediction.dense import whole_folder

    found = []
    for place, clip in enumerate(clips):
        work.progress(place, len(clips), f"{scene.id}: clip {place + 1}")
        found.append(answer(clip, trained, batch=settings.batch_size))
    with whole_folder(out) as folder:
        table = clip_table(scene, clips, found, classes)
        _write(folder, table, scene)
        previews = _preview(folder, scene, clips, found, palette(classes, colors or {}), classes)
        (folder / "quicklook.png").write_bytes(_picture(scene, clips, found, classes))
    mean = np.mean(found, axis=0)
    told = {"class": classes[int(mean.argmax())], "score": round(float(mean.max()), 4), "clips": len(clips)}
    names = {"clips_csv": "clips.csv", "clips_parquet": "clips.parquet", "quicklook": "quicklook.png"} | previews
    return {"scene": scene.id} | {key: f"{out.name}/{name}" for key, name in names.items()} | told


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


def clip_table(scene: Scene, clips: Sequence[Scene], found: Sequence[NDArray[np.float64]], classes: Sequence[str]) -> dict[str, Any]:
    """A row a clip by columns: `clip`, `sequence`, `first_frame`, `last_frame`, `start` and `end` where times are real, `class`, `score`,
    and `p_NAME` for each class."""
    frames = [clip.properties["geohydra:frames"] for clip in clips]
    dated = [bool(clip.properties.get("geohydra:dated", True)) for clip in clips]
    best = [int(shares.argmax()) for shares in found]
    told: dict[str, Any] = {
        "clip": [clip.id for clip in clips],
        "sequence": [clip.properties.get("geohydra:sequence", scene.id) for clip in clips],
        "first_frame": [numbers[0] for numbers in frames],
        "last_frame": [numbers[-1] for numbers in frames],
        "start": [clip.times[0] if real else None for clip, real in zip(clips, dated, strict=True)],
        "end": [clip.times[-1] if real else None for clip, real in zip(clips, dated, strict=True)],
        "class": [classes[place] for place in best],
        "score": [round(float(shares[place]), 6) for shares, place in zip(found, best, strict=True)],
    }
    return told | {f"p_{name}": [round(float(shares[place]), 6) for shares in found] for place, name in enumerate(classes)}


def _write(folder: Path, table: Mapping[str, Any], scene: Scene) -> None:
    """As CSV, and as Parquet: where the sequence lies on the ground as GeoParquet, with what the camera saw."""
    import csv

    import pyarrow as pa
    import pyarrow.parquet as pq
    from shapely import Polygon

    from geohydra.vector.write import with_polygons

    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(table)
        rows.writerows([_cell(value) for value in row] for row in zip(*table.values(), strict=True))
    times = {name: pa.array(table[name], pa.timestamp("ms", tz="UTC")) for name in ("start", "end")}
    whole = pa.table({**table, **times})
    if scene.grid.crs:
        whole = with_polygons(whole, [Polygon(scene.grid.corners)] * len(whole), crs=scene.grid.crs)
    pq.write_table(whole, folder / "clips.parquet", compression="zstd")


def _cell(value: Any) -> Any:
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else value


def _preview(
    folder: Path,
    scene: Scene,
    clips: Sequence[Scene],
    found: Sequence[NDArray[np.float64]],
    colors: Sequence[Color],
    classes: Sequence[str],
) -> dict[str, str]:
    """All frames, with what the clips that show them were taken for; returns the files by their keys."""
    from geohydra.prediction.previews import Previews
    from geohydra.prediction.sequences import Clip
    from geohydra.raster.frames import frames_of

    whole = Clip(scene, frames_of(replace(scene, labels=None)))
    rate = 1 / whole.step if whole.dated and whole.step > 0 else None
    with Previews(folder, scene, frames=len(whole.frames), rate=rate) as previews:
        for frame in whole.frames:
            shares = [share for clip, share in zip(clips, found, strict=True) if frame.time in clip.times]
            mean = np.mean(shares, axis=0) if shares else None
            best = 0 if mean is None else int(mean.argmax())
            previews.caption(previews.small(frame), "" if mean is None else f"{classes[best]} {mean[best]:.2f}", colors[best])
    return previews.files


def _picture(scene: Scene, clips: Sequence[Scene], found: Sequence[NDArray[np.float64]], classes: Sequence[str]) -> bytes:
    """The first frame of some clips, with what they were taken for."""
    from geohydra import pictures
    from geohydra.raster.read import SceneReader

    every = -(-len(clips) // _SHOWN)
    bands, panels = pictures.visible(scene.bands), []
    for clip, shares in list(zip(clips, found, strict=True))[::every]:
        with SceneReader(clip.at(clip.times[0]), bands=bands) as reader:
            rgb = pictures.stretch(reader.read_overview(_PICTURE), bands)
        best = int(shares.argmax())
        panels.append((f"{clip.id}: {classes[best]} {shares[best]:.2f}", rgb))
    return pictures.side_by_side([panels[start : start + 3] for start in range(0, len(panels), 3)])
