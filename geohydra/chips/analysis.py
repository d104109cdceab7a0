"""One pass over all scenes: what pixels are like, how much was measured, how much ground each class covers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.chips.class_curves import ClassCurves
from geohydra.chips.footprint import pixel_metres
from geohydra.errors import DataError
from geohydra.types import IGNORE, Image, Scene, Shape, Window, tile_windows

if TYPE_CHECKING:
    from geohydra.raster.statistics import Statistics
    from geohydra.report import Report

Progress = Callable[[int, int, str], None]
Found = tuple["Statistics", ClassCurves]

_COLUMNS = 1024
"""Columns read at once, at most: what bounds memory for a very wide scene."""

_PIXELS = 1 << 19
"""Pixels read at once, at most, where blocks are smaller than this."""


class Analysis:
    """How imagery is measured. Statistics are exact for integers of up to 16 bits; see geohydra.raster.statistics.

    `bins` is the number of bars in the report's histogram.
    """

    def __init__(self, *, bins: Annotated[int, Field(ge=2, le=1000)] = 64) -> None:
        self.bins = bins


@dataclass(slots=True)
class Measured:
    """All scenes together, a row of each, and sentences that a reader of the report should know."""

    total: Statistics
    scenes: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    curves: ClassCurves = field(default_factory=lambda: ClassCurves((), ()))

    def as_dict(self) -> dict[str, Any]:
        """The dict of the merged statistics, and the rows of the scenes."""
        return self.total.as_dict() | {"scenes": self.scenes}


def measure_scenes(scenes: Sequence[Scene], classes: Sequence[str], *, threads: int, progress: Progress) -> Measured:
    """Measure every scene and merge what was found. Raises DataError where no scene has a valid pixel."""
    from geohydra.raster.statistics import Statistics

    if not scenes:
        raise DataError("source", "there is no scene to analyze", "check the source")
    bands = scenes[0].bands
    dtype = _dtype(scenes)
    measured = Measured(Statistics(bands, dtype, classes=classes), curves=ClassCurves(bands, classes))
    found = _in_order(scenes, lambda scene: _measured(scene, bands, dtype, classes), threads)
    for place, (scene, (statistics, curves)) in enumerate(zip(scenes, found, strict=True), start=1):
        measured.total.merge(statistics)
        measured.curves.merge(curves)
        measured.scenes.append(_row(scene, statistics))
        if not statistics.valid_pixels:
            measured.notes.append(f"Warning: {scene.id} has no valid pixel.")
        progress(place, len(scenes), f"statistics of {scene.id}")
    if not measured.total.valid_pixels:
        raise DataError(scenes[0].id, f"none of {len(scenes)} scenes has a valid pixel", "check the nodata value of the source")
    return measured


def measure_scene(scene: Scene, bands: Sequence[str], dtype: str, classes: Sequence[str]) -> Statistics:
    """One scene, in strips that follow the blocks of its file; of a series all dates."""
    return _measured(scene, bands, dtype, classes)[0]


def _measured(scene: Scene, bands: Sequence[str], dtype: str, classes: Sequence[str]) -> tuple[Statistics, ClassCurves]:
    from geohydra.ground import open_ground
    from geohydra.raster.series import open_pixels
    from geohydra.raster.statistics import Statistics
    from geohydra.vector.area import pixel_area

    statistics, curves = Statistics(bands, dtype, classes=classes), ClassCurves(bands, classes)
    ground = open_ground(scene)
    ids = {name: place for place, name in enumerate(classes)}
    stretch = pixel_area(scene.grid) / math.prod(pixel_metres(scene.grid))
    with open_pixels(scene, bands=bands) as reader:
        for window in _strips(scene.grid.shape, reader.block, dates=len(scene.times) if scene.series else 1):
            mask = None if ground is None else ground.mask(window, ids=ids, background=IGNORE)
            area = stretch * math.prod(pixel_metres(scene.grid.at(window)))
            image = reader.read(window)
            if isinstance(image, Image):
                statistics.update(image, mask, pixel_area=area)
                continue
            statistics.update_series(image, mask, pixel_area=area)
            if mask is not None:
                curves.add(image, mask)
    return statistics, curves


def report_statistics(measured: Measured, settings: Analysis, report: Report) -> None:
    """Metrics, tables, notes and a histogram."""
    from geohydra import pictures

    total = measured.total
    report.metrics({"data/scenes": len(measured.scenes), "data/pixels": total.pixels, "data/valid_share": total.valid_share})
    report.table("per_band", _columns([{"band": name} | _band_row(band) for name, band in total.bands.items()]))
    report.table("per_class", per_class(total, series=bool(measured.curves)))
    if measured.curves:
        report.table("class_curves", measured.curves.table())
        report.figure("class_curves", measured.curves.picture(title="What classes look like through the year, by band"))
    report.table("per_scene", _columns(measured.scenes))
    for note in measured.notes:
        report.note(note)
    series = {name: band.histogram(settings.bins) for name, band in total.bands.items()}
    known = {name: (edges.tolist(), counts.tolist()) for name, (edges, counts) in series.items()}
    report.figure("histogram", pictures.histogram(known, title="Valid pixels by value"))


def per_class(total: Statistics, *, series: bool = False) -> dict[str, list[Any]]:
    """A row a class: valid pixels, square metres, share of what is valid; last what has no label. Dates of a series count once."""
    counted = sum(pixels for _, pixels, _ in total.class_areas())
    valid = min(total.valid_pixels, counted) if series else total.valid_pixels
    rows = [
        {"class": name or "(no label)", "pixels": pixels, "area_m2": area, "share": pixels / max(valid, 1)}
        for name, pixels, area in total.class_areas()
    ]
    return _columns(rows)


def _strips(shape: Shape, block: Shape, *, dates: int = 1) -> Iterator[Window]:
    """Windows that cover an image without overlap, along its blocks."""
    cols = min(shape.cols, max(block.cols, _COLUMNS // dates // block.cols * block.cols))
    rows = min(shape.rows, block.rows * max(1, _PIXELS // (block.rows * cols * dates)))
    for window in tile_windows(Shape(-(-shape.rows // rows), -(-shape.cols // cols)), Shape(1, 1), Shape(1, 1)):
        part = Window(window.row * rows, window.col * cols, Shape(rows, cols)).clip(shape)
        if part is not None:
            yield part


def _in_order(scenes: Sequence[Scene], measure: Callable[[Scene], Found], threads: int) -> Iterator[Found]:
    """Results in the order of the scenes, at most one more than `threads` at a time in memory."""
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for scene in scenes:
            waiting.append(pool.submit(measure, scene))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _dtype(scenes: Sequence[Scene]) -> str:
    from geohydra.chips.gathering import chip_dtype

    bands = scenes[0].bands
    for scene in scenes:
        if set(scene.bands) != set(bands):
            raise DataError(scene.id, f"has the bands {', '.join(scene.bands)}", f"{scenes[0].id} has {', '.join(bands)}")
    return str(chip_dtype(scenes, bands))


def _row(scene: Scene, statistics: Statistics) -> dict[str, Any]:
    row: dict[str, Any] = {"scene": scene.id, "pixels": statistics.pixels, "valid_share": statistics.valid_share}
    for name, band in statistics.bands.items():
        known = band.count > 0
        row |= {f"{name}_mean": band.mean if known else None, f"{name}_std": band.std if known else None}
    return row | {f"{name or 'unlabelled'}_pixels": pixels for name, pixels, _ in statistics.class_areas()}


def _band_row(band: Any) -> dict[str, float]:
    shown = {f"p{q}": band.percentile(q) for q in (2, 50, 98)}
    return {"count": band.count, "min": band.min, **shown, "max": band.max, "mean": band.mean, "std": band.std}


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {key: [row[key] for row in rows] for key in rows[0]}
