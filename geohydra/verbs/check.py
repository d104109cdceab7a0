"""Check config and data before anything costs: a verdict a line, and what would be right."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from geohydra.command.arguments import add_composing, asked, parse, parser
from geohydra.command.console import counted, error_lines, near_path, table
from geohydra.command.waiting import waiting

if TYPE_CHECKING:
    from geohydra.config.compose import Composed
    from geohydra.errors import GeohydraError
    from geohydra.source import Source
    from geohydra.sources.inspection import Inspection
    from geohydra.types import Grid, LockEntry

_GOOD_SHOWN = 20
_DIVIDED = 200
"""Scenes whose splits are worked out for a picture, at most: their labels are written for it as ingest would."""
_EXAMPLES = """  geohydra check source=files source.images='images/*.tif' source.labels=roads.geojson 'task.classes=[road]'
  geohydra check source=stac source.catalog=catalog.json --picture map.png
  geohydra check experiment=first --no-data      the config alone
  geohydra check -m model=unet,fpn               every job of a sweep"""


def main(words: Sequence[str]) -> int:
    """The exit code is 0 when everything can run."""
    flags = parser("check", "Check the config, and then the data that it names, without running anything.", examples=_EXAMPLES)
    flags.add_argument("--no-data", action="store_true", help="only the config: no file is opened")
    flags.add_argument("--picture", metavar="FILE.png", help="draw footprints, labels and splits on a map")
    add_composing(flags)
    given = parse(flags, words)
    wanted = asked(given)
    if wanted is None:
        return 0
    jobs = wanted.compose()
    code = _config(jobs)
    return code if code or given.no_data else _data(jobs, given.picture)


def _config(jobs: Sequence[Composed]) -> int:
    from geohydra.config.checking import check, of_job

    errors: list[GeohydraError] = []
    for job in jobs:
        found = check(job.config)
        errors += found if job.number is None else [of_job(error, job.number) for error in found]
    _print_errors(errors)
    of_jobs = f" of {len(jobs)} jobs" if len(jobs) > 1 else ""
    print(f"config{of_jobs}: {counted(len(errors), 'mistake') if errors else 'good'}")
    return max((error.exit_code for error in errors), default=0)


def _data(jobs: Sequence[Composed], picture: str | None) -> int:
    """Every source once; the tasks of all jobs that use it are held against what its labels hold."""
    from geohydra.identity import digest

    by_source: dict[str, list[Composed]] = {}
    for job in jobs:
        if "source" in job.config:
            by_source.setdefault(digest([job.config["source"], job.config.get("lock")]), []).append(job)
    several = len(by_source) > 1
    pictures = [_numbered(picture, number if several else None) for number in range(1, len(by_source) + 1)]
    return max((_source(same, file) for same, file in zip(by_source.values(), pictures, strict=True)), default=0)


def _numbered(picture: str | None, number: int | None) -> str | None:
    """Each source of a sweep gets a picture of its own."""
    stem, dot, ending = (picture or "").rpartition(".")
    return picture if picture is None or number is None else f"{stem or ending}-{number}{dot}{ending if stem else ''}"


def _source(jobs: Sequence[Composed], picture: str | None) -> int:
    from geohydra.build import build
    from geohydra.config.locking import entries_of
    from geohydra.sources.inspection import inspect

    source = build(jobs[0].config["source"], where="source")
    with waiting("listing") as progress:
        lock = entries_of(jobs[0].config, progress)
    with waiting("opening headers") as progress:
        found = inspect(source, lock, progress)
    if found.rows:
        print(_scenes(found.rows))
    if picture is not None:
        _draw(found, picture, _splits(jobs[0], source, lock, found))
    errors = [*found.errors, *_unknown_classes(jobs, found.classes), *_moved(jobs[0], lock, found)]
    verdict = counted(len(errors), "mistake") if errors else "good"
    print(f"data: {verdict}, {counted(len(found.rows), 'scene')}, {counted(len(lock), 'file')}")
    for warning in found.warnings:
        print(f"warning: {warning}")
    _print_errors(errors)
    return max((error.exit_code for error in errors), default=0)


def _scenes(rows: Sequence[Mapping[str, str]]) -> str:
    """A row a scene, good ones before others; of many good ones only the first."""
    good = [row for row in rows if row.get("verdict") == "good"]
    shown = [*good[:_GOOD_SHOWN], *(row for row in rows if row.get("verdict") != "good")]
    headers = [header for header in rows[0] if any(row.get(header) for row in rows)]
    text = table(headers, [[_cell(header, row.get(header, "")) for header in headers] for row in shown])
    return f"{text}\n... and {len(rows) - len(shown)} more good scenes" if len(shown) < len(rows) else text


def _splits(job: Composed, source: Source, lock: Sequence[LockEntry], found: Inspection) -> list[tuple[str, Grid]]:
    """The ground of each split, where the config divides any, nothing is wrong, and there are not too many scenes for a look."""
    from geohydra.build import build
    from geohydra.chips.content import Content
    from geohydra.errors import DataError
    from geohydra.types import Shape

    if found.errors or not {"task", "chip"} <= job.config.keys() or not 0 < len(found.scenes) <= _DIVIDED:
        return []
    task, sampling = (build(job.config[key], where=key) for key in ("task", "chip"))
    with TemporaryDirectory() as folder, waiting("dividing") as progress:
        try:
            scenes = [scene for scene in source.scenes(lock, Path(folder), progress) if scene.labels is not None]
            shape = Shape(sampling.size, sampling.size)
            content = Content(scenes, task.labels)
            regions = sampling.split.divide(scenes, chip=shape, content=content, seed=job.config["seed"]).regions if scenes else ()
        except DataError as error:
            print(f"no splits on the picture: {error}")
            return []
        grids = {scene.id: scene.grid for scene in scenes}
        return [(region.split, grids[region.scene].at(region.window)) for region in regions]


def _cell(header: str, text: str) -> str:
    """Of very many bands only some, or a row would go round the screen several times."""
    from geohydra.sources.bands import told_bands

    return told_bands(text.split(", "), noun="") if header == "bands" else text


def _draw(found: Inspection, file: str, splits: Sequence[tuple[str, Grid]]) -> None:
    """Save the map; a source that cannot tell where its scenes lie has none."""
    from geohydra.sources.footprints import draw
    from geohydra.storage import write_bytes

    if not any(scene.grid.crs for scene in found.scenes):
        print(f"no picture: {'the scenes have no place on the ground' if found.rows and not found.errors else 'no scene could be placed'}")
        return
    marked = {row["scene"]: row["verdict"] for row in found.rows if row.get("verdict") != "good"}
    write_bytes(file, draw(found.scenes, found.features, marked, splits))
    print(f"picture: {near_path(file)}")


def _print_errors(errors: Sequence[GeohydraError]) -> None:
    for line in error_lines(errors):
        print(line, file=sys.stderr)


def _moved(job: Composed, lock: Sequence[LockEntry], found: Inspection) -> list[GeohydraError]:
    """A file that is another one than when it was pinned: a run would refuse it. What was listed just now is not asked for again."""
    from geohydra.errors import DataError
    from geohydra.storage import refuse_changed

    if not isinstance(job.config.get("lock"), str) or any(error.exit_code == DataError.exit_code for error in found.errors):
        return []
    try:
        refuse_changed(lock)
    except DataError as error:
        return [error]
    return []


def _unknown_classes(jobs: Sequence[Composed], seen: frozenset[str]) -> list[GeohydraError]:
    """Classes that a task asks for and no label has; nothing where no labels were seen."""
    from geohydra.build import build, near
    from geohydra.errors import ConfigError

    asked = {name for job in jobs if "task" in job.config for name in getattr(build(job.config["task"], where="task"), "labels", ())}
    missing = sorted(asked - seen) if seen else []
    return [ConfigError("task.classes", f"no label is a {name!r}", near(name, seen)) for name in missing]
