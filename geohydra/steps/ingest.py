"""The ingest step: find the scenes of a source, lay labels beside them, write them down as STAC items."""

from __future__ import annotations

from geohydra import storage
from geohydra.build import build
from geohydra.types import LockEntry
from geohydra.work import Config, Work

VERSION = 2


def run(config: Config, work: Work) -> None:
    """Writes `items.json`, `labels/` and, where the source makes imagery, `images/`."""
    from geohydra import catalogue
    from geohydra.sources.summary import summarise

    source = build(config["source"], where="source")
    lock = [LockEntry(**entry) for entry in config["lock"]]
    storage.refuse_changed(lock)
    scenes = list(source.scenes(lock, work.out, work.progress))
    catalogue.write(scenes, work.out)
    summarise(scenes, work.out, work.report)
    work.say(f"{len(scenes)} scenes, {sum(scene.labels is not None for scene in scenes)} of them with labels")
