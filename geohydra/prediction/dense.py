"""One scene through a trained network that answers for every pixel, or for every cell of several pixels: streamed, in memory set
by the window and not by the scene."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra import pictures
from geohydra.errors import ConfigError, DataError
from geohydra.types import PIXEL, Shape

if TYPE_CHECKING:
    import torch

    from geohydra.prediction.merging import Merger
    from geohydra.prediction.outputs import MapWriter
    from geohydra.prediction.scan import Batch
    from geohydra.prediction.settings import Prediction
    from geohydra.raster.windows import WindowPlan
    from geohydra.task import Trained
    from geohydra.types import Scene
    from geohydra.work import Work

_AHEAD = 2
_BEHIND = 1
_PICTURE = 700


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a network goes over a scene: pixels of a cell that gets one answer, cells of a window, share by which windows overlap."""

    cell: Shape
    window: Shape
    overlap: float


def predict_scene(
    scene: Scene,
    trained: Trained,
    settings: Prediction,
    *,
    out: Path,
    work: Work,
    classes: Sequence[str],
    colors: Mapping[str, str] | None = None,
    background: str | None = None,
    tiling: Tiling | None = None,
    columns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write a class map, and by choice probabilities and polygons, into the folder `out`, which appears whole or not at all.

    `columns` are further ones of the polygons, the same for all. Returns a row of plain values; its file names are relative to
    `out.parent`.
    """
    tiling = tiling or Tiling(PIXEL, Shape(settings.window, settings.window), settings.overlap)
    _check(scene, trained, tiling)
    _import_rasterio()
    shades = pictures.palette(classes, colors, background=background)
    with _whole(out) as folder, ThreadPoolExecutor(1, thread_name_prefix="quicklook") as pool:
        image = pool.submit(_images, scene)
        counts = _write_map(scene, trained, settings, tiling, folder, work, classes, shades)
        files = {"classes": "classes.tif"}
        if settings.probabilities != "none":
            files["probabilities"] = "probabilities.tif"
        if settings.polygons:
            write = partial(_write_polygons, columns=columns) if tiling.cell == PIXEL else _write_squares
            shapes, found = write(settings, folder, classes, background)
            files, counts = files | shapes, counts | found
        panels = [*image.result(), ("prediction", pictures.classes_rgb(read_small(folder / "classes.tif", _PICTURE), shades))]
        picture = pictures.side_by_side([panels], legend=dict(zip(classes, shades, strict=True)))
        (folder / "quicklook.png").write_bytes(picture)
        files["quicklook"] = "quicklook.png"
    return {"scene": scene.id} | {key: f"{out.name}/{name}" for key, name in files.items()} | counts


def _import_rasterio() -> None:
    """Before any thread begins: imported for the first time by two threads at once, rasterio is found half made."""
    import rasterio.vrt
    import rasterio.warp  # noqa: F401


def _check(scene: Scene, trained: Trained, tiling: Tiling) -> None:
    missing = [band for band in trained.bands if band not in scene.bands]
    if missing:
        problem = f"has no band {', '.join(missing)}, which the model needs"
        raise DataError(scene.id, problem, f"its bands are {', '.join(scene.bands)}; the model's are {', '.join(trained.bands)}")
    stride = int(trained.details.get("stride", 1))
    window = tiling.window.rows * tiling.cell.rows
    if window % stride:
        fitting = max(stride, round(window / stride) * stride)
        raise ConfigError("predict.window", f"{window} px is no multiple of {stride}, as this model needs", f"take {fitting}")


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A folder that gets its name once all is in it."""
    scratch = out.with_name(f".{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        shutil.rmtree(out, ignore_errors=True)
        os.rename(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_map(
    scene: Scene,
    trained: Trained,
    settings: Prediction,
    tiling: Tiling,
    folder: Path,
    work: Work,
    classes: Sequence[str],
    shades: Sequence[pictures.Color],
) -> dict[str, Any]:
    """Read ahead, forward, merge, write behind. Returns the share of each class among measured pixels."""
    from geohydra.prediction.outputs import map_writer
    from geohydra.prediction.threads import Behind
    from geohydra.raster.windows import WindowPlan, stride_of

    grid = scene.grid.coarse(tiling.cell)
    plan = WindowPlan(grid.shape, tiling.window, stride_of(tiling.window, tiling.overlap))
    merger = _merger(plan, trained, settings, classes)
    with map_writer(folder, grid=grid, classes=classes, colors=shades, probabilities=settings.probabilities) as writer:
        with Behind(writer.write, depth=_BEHIND) as behind, closing(_answers(scene, trained, plan, settings.batch_size, tiling)) as answers:
            for block, parts in groupby(answers, key=lambda answer: answer[0].block):
                merger.open(block.row, block.cols, block.valid)
                for batch, outputs in parts:
                    if outputs is not None:
                        merger.add(batch.places, outputs)
                merger.close()
                if block.cols[-1] == len(plan.col_starts) - 1:
                    behind.put(merger.finish())
                    work.progress(block.row + 1, len(plan.row_starts), scene.id)
        return _counts(writer, classes, tiling.cell)


def _answers(
    scene: Scene, trained: Trained, plan: WindowPlan, size: int, tiling: Tiling
) -> Generator[tuple[Batch, torch.Tensor | None], None, None]:
    """Every batch of a scene with the network's outputs, `size` windows being in the network at once.

    On a CPU each core takes windows of its own: several threads in one layer would wait for each other whenever another
    thread, which reads or writes, takes a core for a moment.
    """
    import torch

    from geohydra.prediction.scan import scan
    from geohydra.prediction.threads import ahead, side_by_side

    threads = torch.get_num_threads()
    workers = min(threads, size) if trained.device == "cpu" else 1
    torch.set_num_threads(max(1, threads // workers))
    try:
        with closing(ahead(scan(scene, trained, plan, size=-(-size // workers), cell=tiling.cell), depth=_AHEAD)) as batches:
            yield from side_by_side(partial(_answer, trained), batches, workers=workers)
    finally:
        torch.set_num_threads(threads)


def _answer(trained: Trained, batch: Batch) -> torch.Tensor | None:
    import torch

    if batch.pixels is None:
        return None
    outputs = trained.infer(torch.from_numpy(batch.pixels))
    return outputs if outputs.ndim == 4 else outputs[:, :, None, None]


def _merger(plan: WindowPlan, trained: Trained, settings: Prediction, classes: Sequence[str]) -> Merger:
    from geohydra.prediction.decision import Decision
    from geohydra.prediction.merging import Central, Merger, Smooth

    kind = Smooth if settings.blend == "smooth" and plan.stride != plan.size else Central
    decision = Decision(classes, trained.details.get("thresholds") or {})
    blending = kind(plan, decision, dtype=settings.probabilities)
    return Merger(plan, blending, classes=len(classes), dtype=settings.probabilities)


def _counts(writer: MapWriter, classes: Sequence[str], cell: Shape) -> dict[str, Any]:
    known = sum(writer.pixels)
    shares = {f"share/{name}": count / known if known else 0.0 for name, count in zip(classes, writer.pixels, strict=True)}
    return {"pixels": known * cell.size, "unknown_pixels": writer.unknown * cell.size} | shares


def _write_polygons(
    settings: Prediction, folder: Path, classes: Sequence[str], background: str | None, *, columns: Mapping[str, str] | None
) -> tuple[dict[str, str], dict[str, Any]]:
    """Files, and how many polygons of each class there are; GeoJSON only where the place on the ground is known."""
    from geohydra.vector.polygonize import polygonize

    levels = folder / "probabilities.tif"
    traced = polygonize(
        folder / "classes.tif",
        folder / "polygons.parquet",
        folder / "polygons.geojson",
        names=dict(enumerate(classes)),
        skip=() if background is None else (background,),
        min_area_m2=settings.min_area_m2,
        simplify_m=settings.simplify_m,
        probabilities=levels if levels.exists() else None,
        columns=columns,
    )
    files = {f"polygons_{kind}": f"polygons.{kind}" for kind in ("parquet", "geojson") if (folder / f"polygons.{kind}").exists()}
    counts = {f"polygons/{one.name}": one.polygons for one in traced} | {f"area_m2/{one.name}": one.area_m2 for one in traced}
    return files, counts


def _write_squares(
    _settings: Prediction, folder: Path, classes: Sequence[str], background: str | None
) -> tuple[dict[str, str], dict[str, Any]]:
    """Files with a square for each cell that is not background, and how many there are of each class."""
    from geohydra.vector.cells import write_cells

    levels = folder / "probabilities.tif"
    paths, counts = write_cells(
        folder / "classes.tif",
        levels if levels.exists() else None,
        folder / "cells.parquet",
        folder / "cells.geojson",
        names=classes,
        skip=() if background is None else (background,),
    )
    return {f"cells_{path.suffix[1:]}": path.name for path in paths}, {f"cells/{name}": count for name, count in counts.items()}


def _images(scene: Scene) -> list[pictures.Panel]:
    """The scene as people see it; before and after, where it shows two times."""
    from geohydra.raster.series import open_image

    panels = []
    for title, shown in pictures.views(scene.bands).items():
        with open_image(scene, bands=shown) as reader:
            panels.append((f"{scene.id} {title}".rstrip(), pictures.stretch(reader.read_overview(_PICTURE), shown)))
    return panels


def read_small(file: Path, longest: int) -> Any:
    """A class map from its overviews, uint8 `(row, col)`, no side longer than this."""
    from geohydra.raster.files import open_raster

    with open_raster(str(file)) as dataset:
        step = max(1.0, max(dataset.shape) / longest)
        shape = (max(1, round(dataset.height / step)), max(1, round(dataset.width / step)))
        return dataset.read(1, out_shape=shape)
