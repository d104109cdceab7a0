"""One scene through a detector: window after window, objects united across seams and written as soon as they are settled, in memory set by
some rows of windows and not by the scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.prediction.dense import Tiling, check_scene, import_rasterio, whole_folder
from geohydra.prediction.uniting import Uniter
from geohydra.raster.windows import WindowPlan, stride_of
from geohydra.sheet import sheet
from geohydra.task import Detections
from geohydra.types import PIXEL, Scene, Shape, Window

if TYPE_CHECKING:
    from geohydra.prediction.scan import Block
    from geohydra.prediction.settings import Prediction
    from geohydra.task import Trained
    from geohydra.work import Work

Rgb = NDArray[np.uint8]

_PICTURE = 700
_LIKELY = 0.5
"""The score from which on an object counts, where validation chose none for its class."""


def predict_objects(
    scene: Scene,
    trained: Trained,
    settings: Prediction,
    *,
    out: Path,
    work: Work,
    classes: Sequence[str],
    colors: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the objects of a scene into the folder `out`, which appears whole or not at all: `objects.parquet`, `objects.geojson`, and
    `candidates.parquet`: whatever the detector took into account, for measures that need all scores.

    Returns a row of plain values; its file names are relative to `out.parent`.
    """
    from geohydra.vector.found import files_of, found_files

    cuts = least_scores(classes, trained, settings)
    pixels = Measured()
    with whole_folder(out) as folder, ThreadPoolExecutor(1, thread_name_prefix="quicklook") as pool:
        both = partial(found_files, folder, grid=scene.grid, classes=classes)
        with both() as sure, both(name="candidates", geojson=False) as candidates:
            image = None
            for number, found in enumerate(found_objects(scene, trained, settings, progress=work.progress, pixels=pixels)):
                if settings.quicklook and number == 0:  # by now the network is at work, and need not wait for a picture to be read
                    image = pool.submit(small_picture, scene)
                candidates.write(found)
                sure.write(found.take(found.scores >= cuts[found.classes]))
        pictured = {} if image is None else {"quicklook": "quicklook.png"}
        if image is not None:
            (folder / "quicklook.png").write_bytes(objects_picture(scene, image.result(), folder, classes, colors, sure.counts))
        files = files_of(folder) | {"candidates_parquet": "candidates.parquet"} | pictured
        counts = {f"objects/{name}": int(count) for name, count in zip(classes, sure.counts, strict=True)}
    told = {f"threshold/{name}": round(float(cut), 4) for name, cut in zip(classes, cuts, strict=True)}
    return {"scene": scene.id} | {key: f"{out.name}/{name}" for key, name in files.items()} | {"pixels": pixels.count} | counts | told


def least_scores(classes: Sequence[str], trained: Trained, settings: Prediction) -> NDArray[np.float64]:
    """The score from which on an object of each class is told."""
    if settings.min_score is not None:
        return np.full(len(classes), settings.min_score)
    known = {**(trained.details.get("thresholds") or {}), **settings.thresholds}
    return np.array([float(known.get(name, _LIKELY)) for name in classes])


class Measured:
    """Counts measured pixels of a scene, each once."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, block: Block, plan: WindowPlan) -> None:
        """A block, less what the blocks below and to the right of it show as well."""
        rows, cols = (*plan.row_starts, plan.image.rows), (*plan.col_starts, plan.image.cols)
        own = block.valid[: rows[block.row + 1] - rows[block.row], : cols[block.cols[-1] + 1] - block.left]
        self.count += int(np.count_nonzero(own))


def found_objects(
    scene: Scene,
    trained: Trained,
    settings: Prediction,
    *,
    progress: Callable[[int, int, str], None] | None = None,
    pixels: Measured | None = None,
) -> Iterator[Detections]:
    """Objects of any score in pixels of the scene, from the top, as they are settled; none whose middle was not measured."""
    from geohydra.prediction.answers import answers

    tiling = Tiling(PIXEL, Shape(settings.window, settings.window), settings.overlap)
    check_scene(scene, trained, tiling)
    import_rasterio()
    plan = WindowPlan(scene.grid.shape, tiling.window, stride_of(tiling.window, tiling.overlap))
    uniter = Uniter(plan, same=settings.nms)
    with closing(answers(scene, trained, plan, settings.batch_size, read=detections_of)) as answered:
        for block, parts in groupby(answered, key=lambda each: each[0].block):
            for part, objects in parts:
                for place, found in zip(part.places, objects or [], strict=True):
                    window = Window(plan.row_starts[block.row], plan.col_starts[place], plan.size)
                    uniter.add(_measured(found.moved(window.row, window.col), block, window.row), window)
            if pixels is not None:
                pixels.add(block, plan)
            if block.cols[-1] == len(plan.col_starts) - 1:
                yield uniter.settled(block.row)
                if progress is not None:
                    progress(block.row + 1, len(plan.row_starts), scene.id)
    yield uniter.rest()


def find_all(scene: Scene, trained: Trained, settings: Prediction) -> Detections:
    """All objects of a scene at once, of any score, in its pixels; of a frame only the part that it shows is looked at."""
    from geohydra.raster.frames import shown
    from geohydra.vector.found import joined

    extent = shown(scene)
    if extent is None:
        return joined(list(found_objects(scene, trained, settings)))
    part = replace(scene, grid=scene.grid.at(extent))
    return joined(list(found_objects(part, trained, settings))).moved(extent.row, extent.col)


def detections_of(outputs: Any) -> list[Detections]:
    """What a detector found in each image of a batch (see geohydra.models.detector_network.Answer), in pixels of the image."""
    return [
        Detections(
            found["boxes"].double().cpu().numpy(),
            found["scores"].float().cpu().numpy(),
            found["classes"].long().cpu().numpy(),
            found["corners"].double().cpu().numpy() if "corners" in found else None,
        )
        for found in outputs.found
    ]


def _measured(found: Detections, block: Block, top: int) -> Detections:
    """Those whose middle lies on a measured pixel, or outside of what was read."""
    middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    rows, cols = np.floor(middle - [top, block.left]).astype(np.int64).T
    inside = (rows >= 0) & (cols >= 0) & (rows < block.valid.shape[0]) & (cols < block.valid.shape[1])
    known = np.ones(len(found), bool)
    known[inside] = block.valid[rows[inside], cols[inside]]
    return found.take(known)


def small_picture(scene: Scene) -> Rgb:
    """A scene as people see it, in few pixels; of a small one each pixel is several."""
    from geohydra.raster.series import open_image

    shown = list(pictures.views(scene.bands).values())[-1]
    with open_image(scene, bands=shown) as reader:
        rgb = pictures.stretch(reader.read_overview(_PICTURE), shown)
    zoom = max(1, _PICTURE // max(rgb.shape[:2]))
    return np.asarray(rgb.repeat(zoom, axis=0).repeat(zoom, axis=1))


def objects_picture(
    scene: Scene, rgb: Rgb, folder: Path, classes: Sequence[str], colors: Mapping[str, str] | None, counts: NDArray[np.int64]
) -> bytes:
    """The picture of a scene with its objects over it, a colour a class, and how many there are."""
    from geohydra.vector.found import outlines_over

    shades = pictures.palette(classes, colors)
    over = outlines_over(rgb, folder / "objects.parquet", classes=classes, grid=scene.grid, colors=shades)
    legend = {f"{name} ({count})": shade for name, count, shade in zip(classes, counts.tolist(), shades, strict=True)}
    return sheet([("", over)], title=scene.id, legend=legend)
