"""The analyze step: one streaming pass over all scenes; statistics of pixels and classes."""

from __future__ import annotations

import json

from geohydra.build import build
from geohydra.task import parted, viewed
from geohydra.work import Config, Work

VERSION = 1


def run(config: Config, work: Work) -> None:
    """Needs ingest; writes `statistics.json`."""
    from geohydra import catalogue
    from geohydra.chips.analysis import measure_scenes, report_statistics

    task = build(config["task"], where="task")
    settings = build(config["analyze"], where="analyze")
    scenes = parted(task, viewed(task, catalogue.read(work.input("ingest"))))
    measured = measure_scenes(scenes, task.labels, threads=work.resources.cpu, progress=work.progress)
    (work.out / "statistics.json").write_text(json.dumps(measured.as_dict()))
    report_statistics(measured, settings, work.report)
    work.say(f"{len(scenes)} scenes, {measured.total.valid_share:.1%} of the pixels valid")
