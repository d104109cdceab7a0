"""What was cut, to be looked at: how classes are shared out, where splits lie, what chips look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.chips.apart import least_distance
from geohydra.chips.cutting import Cutting
from geohydra.chips.footprint import pixel_metres
from geohydra.chips.index import SPLITS, Chip
from geohydra.chips.split_map import split_map
from geohydra.ground import open_ground
from geohydra.raster.read import gdal_env
from geohydra.raster.series import open_image
from geohydra.report import Report
from geohydra.types import IGNORE, Scene

_SHOWN = 12


def report_chips(cutting: Cutting, scenes: Sequence[Scene], classes: Sequence[str], report: Report) -> None:
    """Metrics, tables, notes and pictures of a cutting."""
    report.table("balance", balance(cutting, scenes, classes))
    if cutting.dropped:
        report.table("dropped", {"reason": list(cutting.dropped), "count": list(cutting.dropped.values())})
    for note in cutting.notes:
        report.note(note)
    report.metrics({f"chips/{split}": sum(chip.split == split for chip in cutting.chips) for split in _splits(cutting)})
    report.metrics({f"chips/{name}_distance_m": metres for name, metres in distances(cutting, scenes).items()})
    report.figure("split_map", split_map(cutting, scenes, classes))
    report.figure("chips", chips_picture(cutting.chips, scenes, classes))


def balance(cutting: Cutting, scenes: Sequence[Scene], classes: Sequence[str]) -> dict[str, list[Any]]:
    """A row a split: regions, chips, valid pixels, and of each class its share among them and its square metres."""
    table: dict[str, list[Any]] = {"split": _splits(cutting), "regions": [], "chips": [], "pixels": [], "area_m2": []}
    table |= {name: [] for name in classes} | {f"{name}_m2": [] for name in classes}
    pixel_areas = _pixel_areas(cutting.chips, scenes)
    for split in table["split"]:
        chips = [place for place, chip in enumerate(cutting.chips) if chip.split == split]
        pixels = np.array([cutting.chips[place].valid * cutting.chips[place].window.shape.size for place in chips])
        areas = pixels * pixel_areas[chips]
        table["regions"].append(sum(region.split == split for region in cutting.regions))
        table["chips"].append(len(chips))
        table["pixels"].append(round(pixels.sum()))
        table["area_m2"].append(float(areas.sum()))
        for name in classes:
            shares = np.array([cutting.chips[place].shares[name] for place in chips])
            table[name].append(float((shares * pixels).sum() / max(pixels.sum(), 1)))
            table[f"{name}_m2"].append(float((shares * areas).sum()))
    return table


def distances(cutting: Cutting, scenes: Sequence[Scene]) -> dict[str, float]:
    """Metres between the nearest ground of two splits, by their names."""
    pairs = (("train", "test"), ("train", "val"), ("val", "test"))
    found = {f"{one}_{other}": least_distance(cutting.regions, scenes, one=one, other=other) for one, other in pairs}
    return {name: distance for name, distance in found.items() if distance is not None}


def _pixel_areas(chips: Sequence[Chip], scenes: Sequence[Scene]) -> NDArray[np.float64]:
    """Square metres of a pixel of each chip."""
    grids = {scene.id: scene.grid for scene in scenes}
    known: dict[tuple[str, int], float] = {}
    for chip in chips:
        key = (chip.scene, chip.window.row)
        if key not in known:
            high, wide = pixel_metres(grids[chip.scene].at(chip.window))
            known[key] = high * wide
    return np.array([known[chip.scene, chip.window.row] for chip in chips])


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
    with gdal_env(), open_image(scene) as reader:
        image = reader.read(chip.window)
    ground = open_ground(scene)
    rgb = pictures.stretch(image, scene.bands)
    if ground is None:
        return rgb
    mask = ground.mask(chip.window, ids={name: place for place, name in enumerate(classes)}, background=IGNORE)
    return pictures.overlay(rgb, mask, colors, hide=None)
