"""Cutting chips in shards: each plans the ground of all scenes and cuts its own, and their chips are put together in the order of one.

What must be judged over all chips (quotas, splits that stay empty, ground that two splits share) is left to the joining: a shard
keeps every chip that may stay.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from geohydra.chips.candidates import Candidate
from geohydra.chips.cutting import Cutter, Cutting, Progress, cut, divide, find_candidates, finish, open_store
from geohydra.chips.index import Chip
from geohydra.chips.sampling import Sampling
from geohydra.chips.selection import select
from geohydra.chips.store import ChipStore
from geohydra.errors import StepError
from geohydra.task import Task
from geohydra.types import Scene, Shape, Window

Share = Callable[[Sequence[Scene]], Sequence[Scene]]
_TABLE, _SCENES = "cut.npz", "scenes.json"


def cut_share(
    scenes: Sequence[Scene], task: Task, sampling: Sampling, out: Path, *, seed: int, share: Share, progress: Progress
) -> tuple[int, int]:
    """Cut the chips of some of the scenes; returns how many of each there are."""
    labelled, cutting = divide(scenes, task, sampling, seed)
    mine = share(labelled)
    rows: list[tuple[Candidate, Chip]] = []
    told: dict[str, Any] = {}
    with ExitStack() as stack:
        store = open_store(stack, labelled, sampling, out)
        for place, scene in enumerate(mine):
            progress(place, len(mine), f"chips of {scene.id}")
            small, dropped = Cutting(regions=cutting.regions), Counter[str]()
            found = find_candidates([scene], task, sampling, small, seed)
            cutter = Cutter(task, sampling, labelled[0].bands, None if store is None else store.add, dropped)
            rows += list(cut(found, cutter, _unheard))
            told[scene.id] = {"small": small.dropped, "dropped": dropped}
    out.mkdir(parents=True, exist_ok=True)
    (out / _SCENES).write_text(json.dumps(told))
    _write(out / _TABLE, rows, task.labels)
    return len(rows), len(mine)


def join_shares(scenes: Sequence[Scene], task: Task, sampling: Sampling, out: Path, *, seed: int, made: Sequence[Path]) -> Cutting:
    """What `cut_chips` makes, from the chips of all shards."""
    labelled, cutting = divide(scenes, task, sampling, seed)
    told = _told(labelled, made)
    for key in ("small", "dropped"):
        for scene in labelled:
            cutting.dropped += Counter(told[scene.id][key])
    known = list(_in_order(labelled, [_Cut.read(folder, task.labels, sampling.size) for folder in made]))
    if sampling.keep.compares:
        selection = select([one.chip for one in known], [one.luck for one in known], sampling.keep)
        cutting.dropped += selection.dropped
        cutting.notes += selection.notes
        known = [known[place] for place in selection.places]
    cutting.chips = [one.chip for one in known]
    finish(cutting, labelled, task, sampling, out)
    with ExitStack() as stack:
        store = open_store(stack, labelled, sampling, out)
        stores = [ChipStore(folder / "chips") for folder in made] if store is not None else []
        for shard, start, stop in _runs(known):
            if store is not None:
                store.copy(stores[shard], start, stop)
    return cutting


@dataclass(frozen=True, slots=True)
class _Known:
    """A chip, its luck, and where it stands: in which shard, at which place."""

    chip: Chip
    luck: float
    shard: int
    place: int


@dataclass(frozen=True, slots=True)
class _Cut:
    """The table of chips that a shard has cut, in the order of its store."""

    chips: list[Chip]
    luck: list[float]
    starts: Mapping[str, int]

    @classmethod
    def read(cls, folder: Path, labels: Sequence[str], size: int) -> _Cut:
        with np.load(folder / _TABLE, allow_pickle=False) as arrays:
            columns = [arrays[name].tolist() for name in ("scene", "row", "col", "split", "valid", "shares")]
            luck = arrays["luck"].tolist()
        chips = [
            Chip(scene, Window(row, col, Shape(size, size)), split, valid, dict(zip(labels, shares, strict=True)))
            for scene, row, col, split, valid, shares in zip(*columns, strict=True)
        ]
        starts: dict[str, int] = {}
        for place, chip in enumerate(chips):
            starts.setdefault(chip.scene, place)
        return cls(chips, luck, starts)

    def of(self, scene: str, shard: int) -> Iterator[_Known]:
        """The chips of one scene."""
        place = self.starts.get(scene, len(self.chips))
        while place < len(self.chips) and self.chips[place].scene == scene:
            yield _Known(self.chips[place], self.luck[place], shard, place)
            place += 1


def _in_order(scenes: Sequence[Scene], shards: Sequence[_Cut]) -> Iterator[_Known]:
    """The chips of all scenes: the n-th scene was the turn of shard n."""
    for place, scene in enumerate(scenes):
        shard = place % len(shards)
        yield from shards[shard].of(scene.id, shard)


def _told(scenes: Sequence[Scene], made: Sequence[Path]) -> dict[str, Any]:
    """What each scene's shard tells of it. Raises StepError where shards are of other scenes."""
    parts = [json.loads((folder / _SCENES).read_text()) for folder in made]
    ids = [scene.id for scene in scenes]
    if any(list(part) != ids[place :: len(made)] for place, part in enumerate(parts)):
        raise StepError("chip", "the shards do not make a whole", "they are of different runs: run the chip step again")
    return {scene: told for part in parts for scene, told in part.items()}


def _runs(known: Sequence[_Known]) -> Iterator[tuple[int, int, int]]:
    """Shard, first place and end of chips that stand one behind the other."""
    numbered = enumerate(known)
    for (shard, _), group in groupby(numbered, key=lambda pair: (pair[1].shard, pair[1].place - pair[0])):
        members = [one for _, one in group]
        yield shard, members[0].place, members[-1].place + 1


def _write(path: Path, rows: Sequence[tuple[Candidate, Chip]], labels: Sequence[str]) -> None:
    chips = [chip for _, chip in rows]
    np.savez(
        path,
        scene=np.array([chip.scene for chip in chips], dtype=str),
        row=np.array([chip.window.row for chip in chips], np.int64),
        col=np.array([chip.window.col for chip in chips], np.int64),
        split=np.array([chip.split for chip in chips], dtype=str),
        valid=np.array([chip.valid for chip in chips], np.float64),
        luck=np.array([candidate.luck for candidate, _ in rows], np.float64),
        shares=np.array([[chip.shares[name] for name in labels] for chip in chips], np.float64).reshape(len(chips), len(labels)),
    )


def _unheard(done: int, total: int, text: str) -> None:
    """Progress that nobody watches: a shard tells its own."""
