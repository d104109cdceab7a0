"""One scene through a network that finds objects with their pixels: windows stream by, objects leave as soon as no later window can
change them. Memory is that of some rows of windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geohydra.prediction.instance_outlines import smoothed
from geohydra.prediction.instances import FILE
from geohydra.prediction.objects import Measured
from geohydra.prediction.pasting import outlines, pasted
from geohydra.prediction.uniting_outlines import Piece, Uniting, piece
from geohydra.raster.windows import WindowPlan, stride_of
from geohydra.raster.write import CogWriter
from geohydra.task import Detections
from geohydra.types import PIXEL, Grid, Shape
from geohydra.vector.area import pixel_area
from geohydra.vector.found import FoundWriter, found_files

if TYPE_CHECKING:
    import torch

    from geohydra.prediction.scan import Block
    from geohydra.prediction.settings import Prediction
    from geohydra.task import Trained
    from geohydra.types import Scene
    from geohydra.work import Work

    Finding = Mapping[str, torch.Tensor]

_ROWS = 256


class MaskMap:
    """Takes finished objects, from the top down: `candidates.parquet` has all of them; `objects.parquet` and `instances.tif` those whose
    score reaches the threshold of their class, by the same ids, in the raster the surest above."""

    def __init__(self, files: Files, grid: Grid, cuts: NDArray[np.float64], *, settings: Prediction) -> None:
        self._files, self._grid, self._cuts = files, grid, cuts
        self._settings, self._least = settings, settings.min_area_m2 / pixel_area(grid)
        self._alive: list[tuple[int, Piece]] = []
        self._painted, self._count = 0, 0

    def add(self, found: Sequence[Piece]) -> None:
        """Some more."""
        kept = [one for one in found if one.outline.area >= self._least]
        sure = [one for one in kept if one.score >= self._cuts[one.kind]]
        self._tell(self._files.candidates, kept)
        self._tell(self._files.objects, sure)
        self._alive += list(enumerate(sure, start=self._count + 1))
        self._count += len(sure)

    def paint(self, row: float) -> None:
        """Write the raster up to before a row, above which no further object will come."""
        stop = int(min(row, self._grid.shape.rows))
        while self._painted < stop:
            rows = min(_ROWS, stop - self._painted)
            self._files.raster.write(self._painted, self._burnt(rows)[None])
            self._painted += rows
        self._alive = [(number, one) for number, one in self._alive if one.outline.bounds[3] > self._painted]

    def _tell(self, writer: FoundWriter, found: Sequence[Piece]) -> None:
        if not found:
            return
        shapes = smoothed(np.array([one.outline for one in found]), self._settings, self._grid)
        boxes = shapely.bounds(shapes)[:, [1, 0, 3, 2]]
        scores = np.array([one.score for one in found], np.float32)
        writer.write(Detections(boxes, scores, np.array([one.kind for one in found])), shapes)

    def _burnt(self, rows: int) -> NDArray[np.uint32]:
        from rasterio.features import rasterize

        top = self._painted
        here = [(number, one) for number, one in self._alive if one.outline.bounds[1] < top + rows and one.outline.bounds[3] > top]
        if not here:
            return np.zeros((rows, self._grid.shape.cols), np.uint32)
        here.sort(key=lambda each: (each[1].score, -each[0]))
        shapes = shapely.transform(np.array([one.outline for _, one in here]), lambda points: points - [0, top])
        moved = zip(shapes, (number for number, _ in here), strict=True)
        return np.asarray(rasterize(moved, out_shape=(rows, self._grid.shape.cols), dtype=np.uint32))


@dataclass(frozen=True, slots=True)
class Files:
    """What is written."""

    raster: CogWriter
    objects: FoundWriter
    candidates: FoundWriter


def predict_masks(
    scene: Scene,
    trained: Trained,
    settings: Prediction,
    *,
    out: Path,
    work: Work,
    labels: Sequence[str],
    colors: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Write `instances.tif`, objects, candidates and a picture into the folder `out`, which appears whole or not at all.

    Returns a row of plain values; its file names are relative to `out.parent`.
    """
    from geohydra.prediction.dense import whole_folder
    from geohydra.prediction.objects import least_scores, objects_picture, small_picture
    from geohydra.vector.found import files_of

    cuts = least_scores(labels, trained, settings)
    pixels = Measured()
    with whole_folder(out) as folder, ThreadPoolExecutor(1, thread_name_prefix="quicklook") as pool:
        image = pool.submit(small_picture, scene) if settings.quicklook else None
        counts = _write(scene, trained, settings, folder, work, labels, cuts, pixels)
        pictured = {} if image is None else {"quicklook": "quicklook.png"}
        if image is not None:
            (folder / "quicklook.png").write_bytes(objects_picture(scene, image.result(), folder, labels, colors, counts))
        files = {"instances": FILE, **files_of(folder), "candidates_parquet": "candidates.parquet"} | pictured
    found = {f"objects/{name}": int(count) for name, count in zip(labels, counts, strict=True)}
    told = {f"threshold/{name}": round(float(cut), 4) for name, cut in zip(labels, cuts, strict=True)}
    return {"scene": scene.id} | {key: f"{out.name}/{name}" for key, name in files.items()} | {"pixels": pixels.count} | found | told


def _write(
    scene: Scene,
    trained: Trained,
    settings: Prediction,
    folder: Path,
    work: Work,
    labels: Sequence[str],
    cuts: NDArray[np.float64],
    pixels: Measured,
) -> NDArray[np.int64]:
    """How many objects of each class there are."""
    with ExitStack() as stack:
        objects = stack.enter_context(found_files(folder, grid=scene.grid, classes=labels))
        candidates = stack.enter_context(found_files(folder, grid=scene.grid, classes=labels, name="candidates", geojson=False))
        raster = stack.enter_context(
            CogWriter(folder / FILE, grid=scene.grid, bands=1, dtype="uint32", nodata=0, descriptions=("object",), overviews="nearest")
        )
        writer = MaskMap(Files(raster, objects, candidates), scene.grid, cuts, settings=settings)
        for found, row in _found(scene, trained, settings, work, pixels):
            writer.add(found)
            writer.paint(row)
        return objects.counts


def _found(scene: Scene, trained: Trained, settings: Prediction, work: Work, pixels: Measured) -> Iterator[tuple[list[Piece], float]]:
    """Finished objects, and the row above which no more will come."""
    from geohydra.prediction.answers import answers
    from geohydra.prediction.dense import Tiling, check_scene, import_rasterio

    window = Shape(settings.window, settings.window)
    check_scene(scene, trained, Tiling(PIXEL, window, settings.overlap))
    import_rasterio()
    plan = WindowPlan(scene.grid.shape, window, stride_of(window, settings.overlap))
    uniting = Uniting()
    with closing(answers(scene, trained, plan, settings.batch_size, read=_found_of)) as answered:
        for block, parts in groupby(answered, key=lambda each: each[0].block):
            for part, found in parts:
                windows = zip(part.places, found or [], strict=True)
                uniting.add([one for place, each in windows for one in pieces(each, block, place, plan)])
            pixels.add(block, plan)
            if block.cols[-1] == len(plan.col_starts) - 1:
                following = plan.row_starts[block.row + 1] if block.row + 1 < len(plan.row_starts) else float("inf")
                done = uniting.finished(following)
                yield done, min(following, uniting.top)
                work.progress(block.row + 1, len(plan.row_starts), scene.id)


def _found_of(answer: Any) -> list[Finding]:
    return list(answer.found)


def pieces(found: Finding, block: Block, place: int, plan: WindowPlan) -> Iterator[Piece]:
    """What was found in one window, in pixels of the scene; only what was measured counts."""
    top, left = plan.row_starts[block.row], plan.col_starts[place]
    bottom, right = min(top + plan.size.rows, plan.image.rows), min(left + plan.size.cols, plan.image.cols)
    known = block.valid[:, left - block.left : right - block.left]
    values = {name: found[name].float().cpu().numpy() for name in ("boxes", "scores", "classes", "masks")}
    masks = []
    for box, grid in zip(values["boxes"], values["masks"], strict=True):
        row, col, pixels = pasted(grid, box, bottom - top, right - left)
        pixels &= known[row : row + pixels.shape[0], col : col + pixels.shape[1]]
        masks.append((top + row, left + col, pixels))
    for shape, kind, score in zip(outlines(masks), values["classes"], values["scores"], strict=True):
        if shape is not None:
            frame = (top, left, bottom, right)
            yield piece(shape, int(kind), float(score), window=frame, scene=(plan.image.rows, plan.image.cols))
