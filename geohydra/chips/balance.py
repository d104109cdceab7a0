"""What was cut, to be looked at: how classes are shared out, where splits lie, what chips look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.chips.cutting import Cutting
from geohydra.chips.footprint import footprints
from geohydra.chips.index import SPLITS, Chip
from geohydra.chips.splits import least_distance
from geohydra.ground import open_ground
from geohydra.raster.read import SceneReader, gdal_env
from geohydra.report import Report
from geohydra.types import IGNORE, Grid, Scene

_COLORS = {"train": (96, 140, 180), "val": (230, 180, 60), "test": (190, 80, 60)}
_CANVAS = 900
_SHOWN = 12


def report_chips(cutting: Cutting, scenes: Sequence[Scene], classes: Sequence[str], report: Report) -> None:
    """Metrics, tables, notes and pictures of a cutting."""
    report.table("balance", balance(cutting, classes))
    if cutting.dropped:
        report.table("dropped", {"reason": list(cutting.dropped), "count": list(cutting.dropped.values())})
    for note in cutting.notes:
        report.note(note)
    report.metrics({f"chips/{split}": sum(chip.split == split for chip in cutting.chips) for split in _splits(cutting)})
    distance = least_distance(cutting.regions, scenes)
    if distance is not None:
        report.metrics({"chips/train_test_distance_m": distance})
    report.figure("split_map", split_map(cutting, scenes))
    report.figure("chips", chips_picture(cutting.chips, scenes, classes))


def balance(cutting: Cutting, classes: Sequence[str]) -> dict[str, list[Any]]:
    """A row a split: regions, chips, valid pixels, and the share of each class among them."""
    table: dict[str, list[Any]] = {"split": _splits(cutting), "regions": [], "chips": [], "pixels": []}
    table |= {name: [] for name in classes}
    for split in table["split"]:
        chips = [chip for chip in cutting.chips if chip.split == split]
        pixels = [chip.valid * chip.window.shape.size for chip in chips]
        table["regions"].append(sum(region.split == split for region in cutting.regions))
        table["chips"].append(len(chips))
        table["pixels"].append(round(sum(pixels)))
        for name in classes:
            covered = sum(chip.shares[name] * count for chip, count in zip(chips, pixels, strict=True))
            table[name].append(covered / max(sum(pixels), 1))
    return table


def split_map(cutting: Cutting, scenes: Sequence[Scene]) -> bytes:
    """Regions on the ground in the colour of their split, pale where no chip was cut; north is up where there is one."""
    grids = {scene.id: scene.grid for scene in scenes}
    regions, _ = footprints([grids[region.scene].at(region.window) for region in cutting.regions])
    chips, _ = footprints([grids[chip.scene].at(chip.window) for chip in cutting.chips])
    shapes = [(shape, _shade(region.split, pale=True)) for shape, region in zip(regions, cutting.regions, strict=True)]
    shapes += [(shape, _shade(chip.split, pale=False)) for shape, chip in zip(chips, cutting.chips, strict=True)]
    canvas = _canvas([shape.bounds for shape, _ in shapes])
    panel = ("", _painted(canvas, shapes))
    return pictures.side_by_side([[panel]], title="Splits", legend={split: _COLORS[split] for split in _splits(cutting)})


def chips_picture(chips: Sequence[Chip], scenes: Sequence[Scene], classes: Sequence[str]) -> bytes:
    """A few chips of every split with their labels laid over."""
    colors = pictures.palette(classes)
    known = {scene.id: scene for scene in scenes}
    panels = [(f"{chip.split}: {chip.scene}", _chip_rgb(chip, known[chip.scene], classes, colors)) for chip in _chosen(chips)]
    return pictures.chips_grid(panels, title="Chips", legend=dict(zip(classes, colors, strict=True)))


def _splits(cutting: Cutting) -> list[str]:
    return [split for split in SPLITS if any(region.split == split for region in cutting.regions)]


def _chosen(chips: Sequence[Chip]) -> list[Chip]:
    """Chips with most labels, at equal distances through the index, some of every split."""
    chosen: list[Chip] = []
    for split in SPLITS:
        members = [chip for chip in chips if chip.split == split]
        members = [chip for chip in members if any(chip.shares.values())] or members
        count = min(len(members), _SHOWN // len(SPLITS))
        chosen += [members[place * len(members) // count] for place in range(count)]
    return chosen


def _chip_rgb(chip: Chip, scene: Scene, classes: Sequence[str], colors: Sequence[pictures.Color]) -> pictures.Rgb:
    with gdal_env(), SceneReader(scene) as reader:
        image = reader.read(chip.window)
    ground = open_ground(scene)
    rgb = pictures.stretch(image, scene.bands)
    if ground is None:
        return rgb
    mask = ground.mask(chip.window, ids={name: place for place, name in enumerate(classes)}, background=IGNORE)
    return pictures.overlay(rgb, mask, colors, hide=None)


def _shade(split: str, *, pale: bool) -> int:
    return 1 + 2 * SPLITS.index(split) + int(pale)


def _canvas(bounds: Sequence[tuple[float, float, float, float]]) -> Grid:
    from geohydra.types import Shape

    sides = np.array(bounds)
    (left, bottom), (right, top) = sides[:, :2].min(axis=0), sides[:, 2:].max(axis=0)
    pixel = max(right - left, top - bottom) / _CANVAS
    shape = Shape(max(1, round((top - bottom) / pixel)), max(1, round((right - left) / pixel)))
    return Grid("", (pixel, 0.0, float(left), 0.0, -pixel, float(top)), shape)


def _painted(canvas: Grid, shapes: Sequence[tuple[Any, int]]) -> pictures.Rgb:
    from affine import Affine
    from rasterio.features import rasterize

    marks: NDArray[np.uint8] = rasterize(shapes, (canvas.shape.rows, canvas.shape.cols), transform=Affine(*canvas.transform), dtype="uint8")
    table = np.full((1 + 2 * len(SPLITS), 3), 250, np.uint8)
    for split, color in _COLORS.items():
        table[_shade(split, pale=False)] = color
        table[_shade(split, pale=True)] = [(channel + 2 * 250) // 3 for channel in color]
    return table[marks]
