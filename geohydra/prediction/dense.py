"""One scene through a trained network that answers for every pixel: streamed, in memory set by the window and not by the scene."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra import pictures
from geohydra.errors import ConfigError, DataError

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
) -> dict[str, Any]:
    """Write a class map, and by choice probabilities and polygons, into the folder `out`, which appears whole or not at all.

    Returns a row of plain values; its file names are relative to `out.parent`.
    """
    _check(scene, trained, settings)
    _import_rasterio()
    shades = pictures.palette(classes, colors, background=background)
    with _whole(out) as folder, ThreadPoolExecutor(1, thread_name_prefix="quicklook") as pool:
        image = pool.submit(_image, scene)
        counts = _write_map(scene, trained, settings, folder, work, classes, shades)
        files = {"classes": "classes.tif"}
        if settings.probabilities != "none":
            files["probabilities"] = "probabilities.tif"
        if settings.polygons:
            shapes, found = _write_polygons(settings, folder, classes, background)
            files, counts = files | shapes, counts | found
        panels = [(scene.id, image.result()), ("prediction", pictures.classes_rgb(read_small(folder / "classes.tif", _PICTURE), shades))]
        picture = pictures.side_by_side([panels], legend=dict(zip(classes, shades, strict=True)))
        (folder / "quicklook.png").write_bytes(picture)
        files["quicklook"] = "quicklook.png"
    return {"scene": scene.id} | {key: f"{out.name}/{name}" for key, name in files.items()} | counts


def _import_rasterio() -> None:
    """Before any thread begins: imported for the first time by two threads at once, rasterio is found half made."""
    import rasterio.vrt
    import rasterio.warp  # noqa: F401


def _check(scene: Scene, trained: Trained, settings: Prediction) -> None:
    missing = [band for band in trained.bands if band not in scene.bands]
    if missing:
        problem = f"has no band {', '.join(missing)}, which the model needs"
        raise DataError(scene.id, problem, f"its bands are {', '.join(scene.bands)}; the model's are {', '.join(trained.bands)}")
    stride = int(trained.details.get("stride", 1))
    if settings.window % stride:
        fitting = max(stride, round(settings.window / stride) * stride)
        raise ConfigError("predict.window", f"{settings.window} px is no multiple of {stride}, as this model needs", f"take {fitting}")


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
    scene: Scene, trained: Trained, settings: Prediction, folder: Path, work: Work, classes: Sequence[str], shades: Sequence[pictures.Color]
) -> dict[str, Any]:
    """Read ahead, forward, merge, write behind. Returns the share of each class among measured pixels."""
    from geohydra.prediction.outputs import map_writer
    from geohydra.prediction.threads import Behind

    plan = _plan(scene, settings)
    merger = _merger(plan, trained, settings, classes)
    with map_writer(folder, grid=scene.grid, classes=classes, colors=shades, probabilities=settings.probabilities) as writer:
        with Behind(writer.write, depth=_BEHIND) as behind, closing(_answers(scene, trained, plan, settings.batch_size)) as answers:
            for block, parts in groupby(answers, key=lambda answer: answer[0].block):
                merger.open(block.row, block.cols, block.valid)
                for batch, outputs in parts:
                    if outputs is not None:
                        merger.add(batch.places, outputs)
                merger.close()
                if block.cols[-1] == len(plan.col_starts) - 1:
                    behind.put(merger.finish())
                    work.progress(block.row + 1, len(plan.row_starts), scene.id)
        return _counts(writer, classes)


def _answers(scene: Scene, trained: Trained, plan: WindowPlan, size: int) -> Generator[tuple[Batch, torch.Tensor | None], None, None]:
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
        with closing(ahead(scan(scene, trained, plan, size=-(-size // workers)), depth=_AHEAD)) as batches:
            yield from side_by_side(partial(_answer, trained), batches, workers=workers)
    finally:
        torch.set_num_threads(threads)


def _answer(trained: Trained, batch: Batch) -> torch.Tensor | None:
    import torch

    return None if batch.pixels is None else trained.infer(torch.from_numpy(batch.pixels))


def _plan(scene: Scene, settings: Prediction) -> WindowPlan:
    from geohydra.raster.windows import WindowPlan, stride_of
    from geohydra.types import Shape

    size = Shape(settings.window, settings.window)
    return WindowPlan(scene.grid.shape, size, stride_of(size, settings.overlap))


def _merger(plan: WindowPlan, trained: Trained, settings: Prediction, classes: Sequence[str]) -> Merger:
    from geohydra.prediction.decision import Decision
    from geohydra.prediction.merging import Central, Merger, Smooth

    kind = Smooth if settings.blend == "smooth" and settings.overlap > 0 else Central
    decision = Decision(classes, trained.details.get("thresholds") or {})
    blending = kind(plan, decision, dtype=settings.probabilities)
    return Merger(plan, blending, classes=len(classes), dtype=settings.probabilities)


def _counts(writer: MapWriter, classes: Sequence[str]) -> dict[str, Any]:
    known = sum(writer.pixels)
    shares = {f"share/{name}": count / known if known else 0.0 for name, count in zip(classes, writer.pixels, strict=True)}
    return {"pixels": known, "unknown_pixels": writer.unknown} | shares


def _write_polygons(
    settings: Prediction, folder: Path, classes: Sequence[str], background: str | None
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
    )
    files = {f"polygons_{kind}": f"polygons.{kind}" for kind in ("parquet", "geojson") if (folder / f"polygons.{kind}").exists()}
    counts = {f"polygons/{one.name}": one.polygons for one in traced} | {f"area_m2/{one.name}": one.area_m2 for one in traced}
    return files, counts


def _image(scene: Scene) -> pictures.Rgb:
    """The scene as people see it."""
    from geohydra.raster.read import SceneReader

    shown = pictures.visible(scene.bands)
    with SceneReader(scene, bands=shown) as reader:
        return pictures.stretch(reader.read_overview(_PICTURE), shown)


def read_small(file: Path, longest: int) -> Any:
    """A class map from its overviews, uint8 `(row, col)`, no side longer than this."""
    from geohydra.raster.files import open_raster

    with open_raster(str(file)) as dataset:
        step = max(1.0, max(dataset.shape) / longest)
        shape = (max(1, round(dataset.height / step)), max(1, round(dataset.width / step)))
        return dataset.read(1, out_shape=shape)
