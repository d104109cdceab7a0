"""One scene through a trained network that answers for every pixel, or for every cell of several pixels: streamed, in memory set
by the window and not by the scene."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra import pictures
from geohydra.errors import ConfigError, DataError
from geohydra.types import PIXEL, Shape

if TYPE_CHECKING:
    import torch

    from geohydra.prediction.decision import Deciding
    from geohydra.prediction.merging import Form, Merger
    from geohydra.prediction.outputs import Answers
    from geohydra.prediction.scan import Watch
    from geohydra.prediction.settings import Prediction
    from geohydra.raster.windows import WindowPlan
    from geohydra.task import Trained
    from geohydra.types import Scene
    from geohydra.work import Work

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
    answers: Answers | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Write a class map, and by choice probabilities, uncertainty and polygons, into the folder `out`, which appears whole or not
    at all; or another kind of map, where `answers` says so.

    `columns` are further ones of the polygons, the same for all; `watch` is shown all pixels as they are read. Returns a row of plain
    values; its file names are relative to `out.parent`.
    """
    from geohydra.prediction.outputs import ClassMap, files_of
    from geohydra.prediction.views import asked

    tiling = tiling or Tiling(PIXEL, Shape(settings.window, settings.window), settings.overlap)
    check_scene(scene, trained, tiling)
    import_rasterio()
    kind = answers or ClassMap(classes, colors, background)
    decision = kind.decision({**(trained.details.get("thresholds") or {}), **settings.thresholds})
    form = _form(settings, decision, named=bool(kind.names))
    pass_over = _Pass(scene, asked(trained, settings, decision.activation), settings, tiling, watch)
    with whole_folder(out) as folder, ThreadPoolExecutor(1, thread_name_prefix="quicklook") as pool:
        image = pool.submit(scene_pictures, scene) if settings.quicklook else None
        counts = _write_map(pass_over, kind, decision, form, folder, work)
        files = files_of(kind, form)
        picture = None if image is None else pool.submit(kind.picture, folder, image.result())
        if settings.polygons:
            shapes, found = kind.shapes(settings, folder, tiling.cell, columns)
            files, counts = files | shapes, counts | found
        if picture is not None:
            (folder / "quicklook.png").write_bytes(picture.result())
            files["quicklook"] = "quicklook.png"
    return {"scene": scene.id} | {key: f"{out.name}/{name}" for key, name in files.items()} | counts


@dataclass(frozen=True, slots=True)
class _Pass:
    """What goes over what, and how."""

    scene: Scene
    trained: Trained
    settings: Prediction
    tiling: Tiling
    watch: Watch | None = None


def _form(settings: Prediction, decision: Deciding, *, named: bool) -> Form:
    """What is written beside the answers; raises ConfigError for an uncertainty that these answers do not have."""
    from geohydra.prediction.merging import Form

    if settings.uncertainty != "none" and settings.uncertainty not in decision.measures:
        hint = f"there is {', '.join(decision.measures)}"
        raise ConfigError("predict.uncertainty", f"these answers have no {settings.uncertainty}", hint)
    small = named and settings.probabilities != "float32"
    return Form(settings.probabilities if named else "none", settings.uncertainty, "uint8" if small else "float32")


def import_rasterio() -> None:
    """Before any thread begins: imported for the first time by two threads at once, rasterio is found half made."""
    import rasterio.vrt
    import rasterio.warp  # noqa: F401


def check_scene(scene: Scene, trained: Trained, tiling: Tiling) -> None:
    """Raise where the model cannot read a scene, or not in such windows."""
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
def whole_folder(out: Path) -> Iterator[Path]:
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


def _write_map(pass_over: _Pass, kind: Answers, decision: Deciding, form: Form, folder: Path, work: Work) -> dict[str, Any]:
    """Read ahead, forward, merge, write behind. Returns numbers of the scene, such as the share of each class."""
    from geohydra.prediction.answers import answers
    from geohydra.prediction.outputs import map_writer
    from geohydra.prediction.threads import Behind
    from geohydra.raster.windows import WindowPlan, stride_of

    scene, tiling = pass_over.scene, pass_over.tiling
    grid = scene.grid.coarse(tiling.cell)
    plan = WindowPlan(grid.shape, tiling.window, stride_of(tiling.window, tiling.overlap))
    merger = _merger(plan, pass_over.settings, decision, form)
    with map_writer(folder, kind, grid=grid, form=form) as writer:
        found = answers(
            scene, pass_over.trained, plan, pass_over.settings.batch_size, read=_per_pixel, cell=tiling.cell, watch=pass_over.watch
        )
        with Behind(writer.write, depth=_BEHIND) as behind, closing(found):
            for block, parts in groupby(found, key=lambda each: each[0].block):
                merger.open(block.row, block.cols, block.valid)
                for part, outputs in parts:
                    if outputs is not None:
                        merger.add(part.places, outputs)
                merger.close()
                if block.cols[-1] == len(plan.col_starts) - 1:
                    behind.put(merger.finish())
                    work.progress(block.row + 1, len(plan.row_starts), scene.id)
        return writer.tally.row(tiling.cell)


def _per_pixel(outputs: torch.Tensor) -> torch.Tensor:
    """`(n, class, row, col)`, also of a network that answers once for a window."""
    return outputs if outputs.ndim == 4 else outputs[:, :, None, None]


def _merger(plan: WindowPlan, settings: Prediction, decision: Deciding, form: Form) -> Merger:
    from geohydra.prediction.merging import Central, Merger, Smooth

    kind = Smooth if settings.blend == "smooth" and plan.stride != plan.size else Central
    return Merger(plan, kind(plan, decision, form), decision, form)


def scene_pictures(scene: Scene) -> list[pictures.Panel]:
    """The scene as people see it; before and after, where it shows two times."""
    from geohydra.raster.series import clearest_time, open_image

    panels = []
    for title, shown in pictures.views(scene.bands).items():
        title = f"{clearest_time(scene, shown):%Y-%m-%d}" if scene.series else title
        with open_image(scene, bands=shown) as reader:
            panels.append((f"{scene.id} {title}".rstrip(), pictures.stretch(reader.read_overview(_PICTURE), shown)))
    return panels
