"""Cutting chips: scenes are divided, sampled, read strip by strip, and what is worth keeping is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from geohydra.chips.content import Content
from geohydra.chips.gathering import chip_dtype
from geohydra.chips.index import Chip, Region, write_index, write_splits
from geohydra.chips.sampling import Candidate, Sampling
from geohydra.chips.store import ChipWriter
from geohydra.chips.strips import RollingGround, panel_of, panels, rolling_image
from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.raster.read import SceneReader, gdal_env
from geohydra.task import Target, Task
from geohydra.types import Image, Scene, Shape

Progress = Callable[[int, int, str], None]
Keeper = Callable[[Image, Target], object]
"""Takes the pixels and the target of a chip that stays."""


@dataclass(slots=True)
class Cutting:
    """What came of it: chips in the order of the store, regions, how many candidates were dropped and why, notes."""

    chips: list[Chip] = field(default_factory=list)
    regions: tuple[Region, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def cut_chips(scenes: Sequence[Scene], task: Task, sampling: Sampling, out: Path, *, seed: int, progress: Progress) -> Cutting:
    """Divide, sample, cut and write: `index.parquet`, `splits.parquet` and, where chips are stored, `chips/`.

    Raises DataError where there are no labels, or a split that is asked for stays empty.
    """
    labelled = _labelled(scenes)
    out.mkdir(parents=True, exist_ok=True)
    shape = Shape(sampling.size, sampling.size)
    division = sampling.split.divide(labelled, chip=shape, content=Content(labelled, task.labels), seed=seed)
    cutting = Cutting(regions=division.regions, notes=[*_unlabelled(scenes, labelled), *division.notes])
    candidates = _candidates(labelled, sampling, cutting, seed)
    with ExitStack() as stack:
        cutter = _Cutter(task, sampling, labelled[0].bands, _keeper(stack, labelled, sampling, out / "chips"), cutting.dropped)
        stack.enter_context(gdal_env())
        for place, (scene, found) in enumerate(candidates):
            progress(place, len(candidates), f"chips of {scene.id}")
            cutting.chips += cutter.cut_scene(scene, found)
    _refuse_empty(cutting, sampling)
    cutting.notes += _missing_classes(cutting, task)
    write_index(out / "index.parquet", cutting.chips, labelled, task.labels)
    write_splits(out / "splits.parquet", cutting.regions, labelled)
    return cutting


def _labelled(scenes: Sequence[Scene]) -> list[Scene]:
    found = [scene for scene in scenes if scene.labels is not None]
    if not found:
        raise DataError("source", f"none of {len(scenes)} scenes has labels", "give labels, or predict with a trained bundle")
    bands = found[0].bands
    for scene in found:
        if set(scene.bands) != set(bands):
            raise DataError(scene.id, f"has the bands {', '.join(scene.bands)}", f"{found[0].id} has {', '.join(bands)}")
    return found


def _unlabelled(scenes: Sequence[Scene], labelled: Sequence[Scene]) -> list[str]:
    count = len(scenes) - len(labelled)
    return [f"{count} of {len(scenes)} scenes have no labels: no chips are cut from them."] if count else []


def _candidates(scenes: Sequence[Scene], sampling: Sampling, cutting: Cutting, seed: int) -> list[tuple[Scene, list[Candidate]]]:
    found = []
    for scene in scenes:
        regions = [region for region in cutting.regions if region.scene == scene.id]
        candidates = sampling.windows(scene, regions, seed=seed)
        if candidates:
            found.append((scene, candidates))
        cutting.dropped["region smaller than a chip"] += sum(_too_small(region, scene, sampling.size) for region in regions)
    cutting.dropped = +cutting.dropped
    return found


def _too_small(region: Region, scene: Scene, size: int) -> bool:
    rows, cols = region.window.shape.rows, region.window.shape.cols
    return (rows < min(size, scene.grid.shape.rows)) or (cols < min(size, scene.grid.shape.cols))


def _keeper(stack: ExitStack, scenes: Sequence[Scene], sampling: Sampling, folder: Path) -> Keeper | None:
    if not sampling.stored:
        return None
    bands = scenes[0].bands
    shape = Shape(sampling.size, sampling.size)
    return stack.enter_context(ChipWriter(folder, bands=bands, shape=shape, dtype=str(chip_dtype(scenes, bands)))).add


@dataclass(frozen=True, slots=True)
class _Cutter:
    task: Task
    sampling: Sampling
    bands: tuple[str, ...]
    keep: Keeper | None
    dropped: Counter[str]

    def cut_scene(self, scene: Scene, found: Sequence[Candidate]) -> Iterator[Chip]:
        ground = open_ground(scene)
        if ground is None:
            return
        with SceneReader(scene, bands=self.bands) as reader, ThreadPoolExecutor(1) as pool:
            for members in panels(found):
                panel = panel_of(members, block=reader.block.rows)
                read = rolling_image(reader.read, panel, pool=pool if len(members) > 1 else None)
                rolling = RollingGround(ground, panel)
                for candidate in members:
                    yield from self._cut(candidate, read(candidate.window), rolling)

    def _cut(self, candidate: Candidate, image: Image, ground: RollingGround) -> Iterator[Chip]:
        """One chip, or none."""
        valid, share = _valid(image, candidate, ground.grid.shape)
        reason = "no valid pixel" if valid == 0 else self.sampling.keep.too_empty(share)
        if reason is None:
            target = self.task.target(ground, candidate.window)
            counts = ground.counts(candidate.window, image.valid, self.task.labels)
            reason = self.sampling.keep.too_bare(candidate, labelled=sum(counts.values()) / valid)
        if reason is not None:
            self.dropped[reason] += 1
            return
        if self.keep is not None:
            self.keep(image, target)
        shares = {name: count / valid for name, count in counts.items()}
        yield Chip(candidate.scene, candidate.window, candidate.split, valid / image.valid.size, shares)


def _valid(image: Image, candidate: Candidate, scene: Shape) -> tuple[int, float]:
    """Valid pixels, and their share of the part that lies inside the scene."""
    inside = candidate.window.clip(scene)
    if inside is None:
        return 0, 0.0
    count = image.valid.size if image.valid.all() else int(image.valid.sum())
    return count, count / inside.shape.size


def _refuse_empty(cutting: Cutting, sampling: Sampling) -> None:
    reasons = ", ".join(f"{count} for {reason}" for reason, count in cutting.dropped.most_common()) or "none"
    if not cutting.chips:
        raise DataError("chip", f"no chip is left; dropped were {reasons}", "choose smaller chips, or keep more of them")
    for split in sampling.split.asked:
        if not any(chip.split == split for chip in cutting.chips):
            hint = "choose smaller chips or blocks, another seed, or other fractions"
            raise DataError(f"chip.split.{split}", f"no chip is left for {split}; dropped were {reasons}", hint)


def _missing_classes(cutting: Cutting, task: Task) -> list[str]:
    splits = sorted({chip.split for chip in cutting.chips}, reverse=True)
    return [
        f"Warning: no chip for {split} has a pixel of {name!r}."
        for split in splits
        for name in task.labels
        if not any(chip.split == split and chip.shares[name] > 0 for chip in cutting.chips)
    ]
