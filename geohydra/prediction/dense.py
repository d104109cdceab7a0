"""One scene through a trained network that answers for every pixel: streamed, in memory set by the window and not by the scene."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra import pictures
from geohydra.errors import ConfigError, DataError

if TYPE_CHECKING:
    from geohydra.prediction.merging import Merger
    from geohydra.prediction.outputs import MapWriter
    from geohydra.prediction.scan import Block
    from geohydra.prediction.settings import Prediction
    from geohydra.raster.windows import WindowPlan
    from geohydra.task import Trained
    from geohydra.types import Scene
    from geohydra.work import Work

_AHEAD = 2
_BEHIND = 1
_PICTURE = 1000


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
    shades = pictures.palette(classes, colors, background=background)
    with _whole(out) as folder:
        counts = _write_map(scene, trained, settings, folder, work, classes, shades)
        files = {"classes": "classes.tif"}
        if settings.probabilities != "none":
            files["probabilities"] = "probabilities.tif"
        if settings.polygons:
            shapes, found = _write_polygons(settings, folder, classes, background)
            files, counts = files | shapes, counts | found
        (folder / "quicklook.png").write_bytes(_quicklook(scene, folder / "classes.tif", classes, shades))
        files["quicklook"] = "quicklook.png"
    return {"scene": scene.id} | {key: f"{out.name}/{name}" for key, name in files.items()} | counts


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
    from geohydra.prediction.scan import blocks
    from geohydra.prediction.threads import Behind, ahead

    plan = _plan(scene, settings)
    merger = _merger(plan, trained, settings, classes)
    with map_writer(folder, grid=scene.grid, classes=classes, colors=shades, probabilities=settings.probabilities) as writer:
        with Behind(writer.write, depth=_BEHIND) as behind, closing(ahead(blocks(scene, trained, plan), depth=_AHEAD)) as incoming:
            for block in incoming:
                _answer(block, trained, merger, settings.batch_size, plan)
                if block.cols[-1] == len(plan.col_starts) - 1:
                    behind.put(merger.finish())
                    work.progress(block.row + 1, len(plan.row_starts), scene.id)
        return _counts(writer, classes)


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


def _answer(block: Block, trained: Trained, merger: Merger, size: int, plan: WindowPlan) -> None:
    """The network's answers for all windows of a block."""
    import torch

    from geohydra.prediction.scan import batches, windows

    merger.open(block.row, block.cols, block.valid)
    for places, batch in batches(windows(block, plan), size):
        merger.add(places, trained.infer(torch.from_numpy(batch)))
    merger.close()


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


def _quicklook(scene: Scene, file: Path, classes: Sequence[str], shades: Sequence[pictures.Color]) -> bytes:
    """The scene beside its map."""
    from geohydra.raster.read import SceneReader

    shown = pictures.visible(scene.bands)
    with SceneReader(scene, bands=shown) as reader:
        image = pictures.stretch(reader.read_overview(_PICTURE), shown)
    labels = read_small(file, _PICTURE)
    panels = [(scene.id, image), ("prediction", pictures.classes_rgb(labels, shades))]
    return pictures.side_by_side([panels], legend=dict(zip(classes, shades, strict=True)))


def read_small(file: Path, longest: int) -> Any:
    """A class map from its overviews, uint8 `(row, col)`, no side longer than this."""
    from geohydra.raster.files import open_raster

    with open_raster(str(file)) as dataset:
        step = max(1.0, max(dataset.shape) / longest)
        shape = (max(1, round(dataset.height / step)), max(1, round(dataset.width / step)))
        return dataset.read(1, out_shape=shape)
