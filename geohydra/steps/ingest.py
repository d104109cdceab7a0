"""The ingest step: find the scenes of a source, lay labels beside them, write them down as STAC items."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from geohydra import storage
from geohydra.build import build
from geohydra.errors import StepError
from geohydra.source import everything, is_sharing, scenes_of
from geohydra.types import LockEntry, Scene
from geohydra.work import Config, Work

VERSION = 2

Item = TypeVar("Item")

_ORDER, _NOTES = "order.json", "notes.txt"
_OWN = ("items.json", "manifest.json", _ORDER, _NOTES, "report")
"""What each shard leaves in its own way; all else are files of scenes."""


def undivided(config: Config) -> str | None:
    """Why these scenes cannot be made in shards, if they cannot."""
    source = build(config["source"], where="source")
    if is_sharing(source):
        return None
    return f"the source {type(source).__name__} makes all scenes at once: its `scenes` takes no `share`"


def run(config: Config, work: Work) -> None:
    """Writes `items.json`, `labels/` and, where the source makes imagery, `images/`. A shard makes some of the scenes."""
    from geohydra import catalogue

    source = build(config["source"], where="source")
    lock = [LockEntry(**entry) for entry in config["lock"]]
    storage.refuse_changed(lock)
    if work.is_whole:
        scenes = list(scenes_of(source, lock, work.out, work.progress, everything))
        catalogue.write(scenes, work.out)
        return _tell(scenes, work)
    turn = _Turn(work)
    made = [(scene, turn.place) for scene in scenes_of(source, lock, work.out, work.progress, turn)]
    catalogue.write([scene for scene, _ in made], work.out)
    (work.out / _ORDER).write_text(json.dumps({"items": turn.count, "places": [place for _, place in made]}))
    work.report.metrics({"ingest/scenes": len(made)})
    return None


def merge(config: Config, work: Work) -> None:  # noqa: ARG001 (every step is given its config)
    """Put together what shards made, in the order of the scenes: the same files as if one step had made all."""
    from geohydra import catalogue

    made = work.made()
    told = [json.loads((folder / _ORDER).read_text()) for folder in made]
    if any(one["items"] != told[0]["items"] for one in told):
        raise StepError("ingest", "the shards do not make a whole", "they are of different runs: run the ingest step again")
    order = sorted((place, shard, at) for shard, one in enumerate(told) for at, place in enumerate(one["places"]))
    for folder in made:
        _link(folder, work.out)
    scenes = catalogue.join(made, [(shard, at) for _, shard, at in order], work.out)
    _join_notes(made, [scene.id for scene in scenes], work.out)
    _tell(scenes, work)


class _Turn:
    """The share of a shard: it remembers of which of all items, from 0, the scene is that is being made."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.place = self.count = 0

    def __call__(self, items: Sequence[Item]) -> Iterator[Item]:
        self.count = len(items)
        for place in self._work.share(range(len(items))):
            self.place = place
            yield items[place]


def _tell(scenes: Sequence[Scene], work: Work) -> None:
    from geohydra.sources.summary import summarise

    summarise(scenes, work.out, work.report)
    work.say(f"{len(scenes)} scenes, {sum(scene.labels is not None for scene in scenes)} of them with labels")


def _link(folder: Path, out: Path) -> None:
    """The files of scenes; what several shards have written is the same."""
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and place.parts[0] not in _OWN and not (out / place).exists():
            (out / place).parent.mkdir(parents=True, exist_ok=True)
            storage.link(path, out / place)


def _join_notes(made: Sequence[Path], scenes: Sequence[str], out: Path) -> None:
    """Notes of single scenes, which one shard tells, in the order of the scenes; then those that all tell."""
    parts = [(folder / _NOTES).read_text(encoding="utf-8").splitlines() for folder in made if (folder / _NOTES).exists()]
    if not parts:
        return
    places: dict[str, Any] = {scene: place for place, scene in enumerate(scenes)}
    own = [line for part in parts for line in part if not all(line in other for other in parts)]
    own.sort(key=lambda line: places.get(line.partition(": ")[0], len(places)))
    common = [line for line in parts[0] if all(line in other for other in parts)]
    (out / _NOTES).write_text("".join(f"{line}\n" for line in [*own, *common]), encoding="utf-8")
