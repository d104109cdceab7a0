"""Cutting chips: scenes are divided, sampled, read strip by strip, and what is worth keeping is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.candidates import Candidate, Candidates
from geohydra.chips.content import Content
from geohydra.chips.extent import within_extent
from geohydra.chips.gathering import chip_dtype
from geohydra.chips.index import Chip, Region, write_index, write_splits
from geohydra.chips.sampling import Sampling
from geohydra.chips.selection import select
from geohydra.chips.shared_ground import shared_ground
from geohydra.chips.store import ChipWriter
from geohydra.chips.strips import RollingGround, panel_of, panels, rolling_image, widest
from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.raster.read import gdal_env
from geohydra.raster.series import Series, like, open_pixels
from geohydra.task import Target, Task
from geohydra.types import Image, Scene, Shape

Progress = Callable[[int, int, str], None]
Keeper = Callable[[Image | Series, Target], object]
"""Takes the pixels and the target of a chip that stays."""

Found = tuple[Scene, Candidates]


@dataclass(slots=True)
class Cutting:
    """What came of it: chips in the order of the store, regions, what lies where, how many candidates were dropped and why, notes."""

    chips: list[Chip] = field(default_factory=list)
    regions: tuple[Region, ...] = ()
    content: Content | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def cut_chips(scenes: Sequence[Scene], task: Task, sampling: Sampling, out: Path, *, seed: int, progress: Progress) -> Cutting:
    """Divide, sample, cut and write: `index.parquet`, `splits.parquet` and, where chips are stored, `chips/`.

    What comes of it does not depend on the order of the scenes. Raises DataError where there are no labels, where a split that
    is asked for stays empty, and where two splits show the same ground.
    """
    labelled, cutting = divide(scenes, task, sampling, seed)
    candidates = find_candidates(labelled, task, sampling, cutting, seed)
    if sampling.keep.compares:
        candidates = _selected(candidates, task, sampling, cutting, progress)
    with ExitStack() as stack:
        keep = None if (store := open_store(stack, labelled, sampling, out)) is None else store.add
        cutting.chips = [chip for _, chip in cut(candidates, Cutter(task, sampling, labelled[0].bands, keep, cutting.dropped), progress)]
    finish(cutting, labelled, task, sampling, out)
    return cutting


def divide(scenes: Sequence[Scene], task: Task, sampling: Sampling, seed: int) -> tuple[list[Scene], Cutting]:
    """The scenes that have labels, by their ids, and their ground shared out among the splits."""
    labelled = _labelled(scenes)
    content = Content(labelled, task.labels)
    division = sampling.split.divide(labelled, chip=Shape(sampling.size, sampling.size), content=content, seed=seed)
    return labelled, Cutting(regions=division.regions, content=content, notes=[*_unlabelled(scenes, labelled), *division.notes])


def finish(cutting: Cutting, labelled: Sequence[Scene], task: Task, sampling: Sampling, out: Path) -> None:
    """Refuse what all chips together must not be, and write the index and the splits."""
    _refuse_empty(cutting, sampling)
    _refuse_shared(cutting, sampling, labelled)
    cutting.notes += _missing_classes(cutting, task)
    out.mkdir(parents=True, exist_ok=True)
    write_index(out / "index.parquet", cutting.chips, labelled, task.labels)
    write_splits(out / "splits.parquet", cutting.regions, labelled)


def cut(candidates: Sequence[Found], cutter: Cutter, progress: Progress) -> Iterator[tuple[Candidate, Chip]]:
    with gdal_env():
        for place, (scene, found) in enumerate(candidates):
            progress(place, len(candidates), f"chips of {scene.id}")
            yield from cutter.cut_scene(scene, found)


def _selected(candidates: Sequence[Found], task: Task, sampling: Sampling, cutting: Cutting, progress: Progress) -> list[Found]:
    """Those that stay once all are known: they are looked at here, and cut later."""
    cutter = Cutter(task, sampling, candidates[0][0].bands if candidates else (), None, cutting.dropped)
    known = list(cut(candidates, cutter, progress))
    selection = select([chip for _, chip in known], [candidate.luck for candidate, _ in known], sampling.keep)
    cutting.dropped += selection.dropped
    cutting.notes += selection.notes
    kept: dict[str, list[Candidate]] = {}
    for place in selection.places:
        kept.setdefault(known[place][0].scene, []).append(known[place][0])
    return [(scene, Candidates.of(kept[scene.id])) for scene, _ in candidates if scene.id in kept]


def _labelled(scenes: Sequence[Scene]) -> list[Scene]:
    found = sorted((scene for scene in scenes if scene.labels is not None), key=lambda scene: scene.id)
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


def find_candidates(scenes: Sequence[Scene], task: Task, sampling: Sampling, cutting: Cutting, seed: int) -> list[Found]:
    """Windows of these scenes that may become chips."""
    regions: dict[str, list[Region]] = {}
    for region in cutting.regions:
        regions.setdefault(region.scene, []).append(region)
    found = []
    for scene in scenes:
        here = within_extent(scene, regions.get(scene.id, []), size=sampling.size)
        candidates = sampling.windows(scene, here, seed=seed, classes=task.labels) if here else []
        if len(candidates):
            found.append((scene, Candidates.of(candidates)))
        cutting.dropped["region smaller than a chip"] += sum(_too_small(region, scene, sampling.size) for region in here)
    cutting.dropped = +cutting.dropped
    return found


def _too_small(region: Region, scene: Scene, size: int) -> bool:
    rows, cols = region.window.shape.rows, region.window.shape.cols
    return (rows < min(size, scene.grid.shape.rows)) or (cols < min(size, scene.grid.shape.cols))


def open_store(stack: ExitStack, scenes: Sequence[Scene], sampling: Sampling, out: Path) -> ChipWriter | None:
    """Where chips of these scenes are kept, if they are."""
    if not sampling.stored:
        return None
    bands = scenes[0].bands
    shape = Shape(sampling.size, sampling.size)
    return stack.enter_context(ChipWriter(out / "chips", bands=bands, shape=shape, dtype=str(chip_dtype(scenes, bands))))


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts the chips of a scene, gives those that stay to `keep`, and counts the others in `dropped`."""

    task: Task
    sampling: Sampling
    bands: tuple[str, ...]
    keep: Keeper | None
    dropped: Counter[str]

    def cut_scene(self, scene: Scene, found: Candidates) -> Iterator[tuple[Candidate, Chip]]:
        """The chips that stay, in the order in which they are kept."""
        ground = open_ground(scene)
        if ground is None:
            return
        dates = len(scene.times) if scene.series else 1
        with open_pixels(scene, bands=self.bands) as reader, ThreadPoolExecutor(1) as pool:
            for members in panels(found, wide=widest(dates, reader.block.cols)):
                panel = panel_of(members, block=reader.block.rows)
                read = rolling_image(reader.read, panel, pool=pool if len(members) > 1 else None, make=like(reader))
                rolling = RollingGround(ground, panel)
                for candidate in members:
                    chip = self._cut(candidate, read(candidate.window), rolling)
                    if chip is not None:
                        yield candidate, chip

    def _cut(self, candidate: Candidate, image: Image | Series, ground: RollingGround) -> Chip | None:
        """A chip, kept; None where it is dropped."""
        measured = image.measured
        valid, share = _valid(measured, candidate, ground.grid.shape)
        reason = "no valid pixel" if valid == 0 else self.sampling.keep.too_empty(share)
        if reason is None:
            target = self.task.target(ground, candidate.window)
            counts = ground.counts(candidate.window, measured, self.task.labels)
            reason = self.sampling.keep.too_bare(candidate, labelled=sum(counts.values()) / valid)
        if reason is not None:
            self.dropped[reason] += 1
            return None
        if self.keep is not None:
            self.keep(image.seen() if isinstance(image, Series) else image, target)
        shares = {name: count / valid for name, count in counts.items()}
        return Chip(candidate.scene, candidate.window, candidate.split, valid / measured.size, shares)


def _valid(measured: NDArray[np.bool_], candidate: Candidate, scene: Shape) -> tuple[int, float]:
    """Valid pixels, and their share of the part that lies inside the scene."""
    inside = candidate.window.clip(scene)
    if inside is None:
        return 0, 0.0
    count = measured.size if measured.all() else int(measured.sum())
    return count, count / inside.shape.size


def _refuse_empty(cutting: Cutting, sampling: Sampling) -> None:
    reasons = ", ".join(f"{count} for {reason}" for reason, count in cutting.dropped.most_common()) or "none"
    if not cutting.chips:
        raise DataError("chip", f"no chip is left; dropped were {reasons}", "choose smaller chips, or keep more of them")
    for split in sampling.split.asked:
        if not any(chip.split == split for chip in cutting.chips):
            hint = "choose smaller chips, larger blocks, a smaller buffer, another seed, or other fractions"
            raise DataError("chip.split", f"no chip is left for {split}; dropped were {reasons}", hint)


def _refuse_shared(cutting: Cutting, sampling: Sampling, scenes: Sequence[Scene]) -> None:
    """Raise where chips of two splits overlap, or say so loudly where this was asked for."""
    pair = shared_ground(cutting.chips, cutting.regions, scenes)
    if pair is None:
        return
    shown = " and ".join(f"{chip.scene} ({chip.split}, row {chip.window.row}, column {chip.window.col})" for chip in pair)
    if sampling.overlap == "refuse":
        hint = "split by location (chip/split=blocks); if you mean it, as for other years at the same place, say ++chip.overlap=warn"
        raise DataError("chip.split", f"chips of two splits show the same ground: {shown}", hint)
    cutting.notes.append(
        f"WARNING: chips of two splits show the same ground, as chip.overlap=warn allows: {shown}. Scores may be too good."
    )


def _missing_classes(cutting: Cutting, task: Task) -> list[str]:
    splits = sorted({chip.split for chip in cutting.chips}, reverse=True)
    return [
        f"Warning: no chip for {split} has a pixel of {name!r}."
        for split in splits
        for name in task.labels
        if not any(chip.split == split and chip.shares[name] > 0 for chip in cutting.chips)
    ]
