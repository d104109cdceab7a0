"""The chip step: divide the ground into splits, cut chips with their targets, write index, splits and store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geohydra.build import build
from geohydra.task import parted, viewed
from geohydra.work import Config, Work

if TYPE_CHECKING:
    from geohydra.chips.cutting import Cutting
    from geohydra.types import Scene

VERSION = 2


def run(config: Config, work: Work) -> None:
    """Needs ingest; writes `index.parquet`, `splits.parquet` and, where chips are stored, `chips/`. A shard cuts some of the scenes."""
    from geohydra.chips.cutting import cut_chips
    from geohydra.chips.shares import cut_share

    task, sampling, scenes = _parts(config, work)
    seed, progress = config["seed"], work.progress
    if work.is_whole:
        return _tell(cut_chips(scenes, task, sampling, work.out, seed=seed, progress=progress), scenes, task, work)
    chips, mine = cut_share(scenes, task, sampling, work.out, seed=seed, share=work.share, progress=progress)
    work.report.metrics({"chip/scenes": mine, "chip/cut": chips})
    return None


def merge(config: Config, work: Work) -> None:
    """Put together what shards cut: the same files as if one step had cut all. Here it is judged which chips stay."""
    from geohydra.chips.shares import join_shares

    task, sampling, scenes = _parts(config, work)
    _tell(join_shares(scenes, task, sampling, work.out, seed=config["seed"], made=work.made()), scenes, task, work)


def _parts(config: Config, work: Work) -> tuple[Any, Any, list[Scene]]:
    """The task, the sampling, and what chips are cut from."""
    from geohydra import catalogue

    task, sampling = build(config["task"], where="task"), build(config["chip"], where="chip")
    return task, sampling, parted(task, viewed(task, catalogue.read(work.input("ingest"))))


def _tell(cutting: Cutting, scenes: list[Scene], task: Any, work: Work) -> None:
    from geohydra.chips.balance import report_chips

    for note in cutting.notes:
        if note.startswith("WARNING"):
            work.say(note)
    report_chips(cutting, scenes, task.labels, work.report)
    work.say(f"{len(cutting.chips)} chips of {len({chip.scene for chip in cutting.chips})} scenes")
