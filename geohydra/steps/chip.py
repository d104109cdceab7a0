"""The chip step: divide the ground into splits, cut chips with their targets, write index, splits and store."""

from __future__ import annotations

from geohydra.build import build
from geohydra.task import parted, viewed
from geohydra.work import Config, Work

VERSION = 2


def run(config: Config, work: Work) -> None:
    """Needs ingest; writes `index.parquet`, `splits.parquet` and, where chips are stored, `chips/`."""
    from geohydra import catalogue
    from geohydra.chips.balance import report_chips
    from geohydra.chips.cutting import cut_chips

    task = build(config["task"], where="task")
    sampling = build(config["chip"], where="chip")
    scenes = parted(task, viewed(task, catalogue.read(work.input("ingest"))))
    cutting = cut_chips(scenes, task, sampling, work.out, seed=config["seed"], progress=work.progress)
    for note in cutting.notes:
        if note.startswith("WARNING"):
            work.say(note)
    report_chips(cutting, scenes, task.labels, work.report)
    work.say(f"{len(cutting.chips)} chips of {len({chip.scene for chip in cutting.chips})} scenes")
