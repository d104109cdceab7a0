"""Check config and data before anything costs: a verdict a line, and what would be right."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from geohydra.command.arguments import add_composing, asked, parse, parser
from geohydra.command.console import counted, error_lines, table

if TYPE_CHECKING:
    from geohydra.config.compose import Composed
    from geohydra.errors import GeohydraError

_GOOD_SHOWN = 20
_EXAMPLES = """  geohydra check source=files source.images='images/*.tif' source.labels=roads.geojson 'task.classes=[road]'
  geohydra check experiment=first --no-data      the config alone
  geohydra check -m model=unet,fpn               every job of a sweep"""


def main(words: Sequence[str]) -> int:
    """The exit code is 0 when everything can run."""
    flags = parser("check", "Check the config, and then the data that it names, without running anything.", examples=_EXAMPLES)
    flags.add_argument("--no-data", action="store_true", help="only the config: no file is opened")
    add_composing(flags)
    given = parse(flags, words)
    wanted = asked(given)
    if wanted is None:
        return 0
    jobs = wanted.compose()
    code = _config(jobs)
    return code if code or given.no_data else _data(jobs)


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


def _data(jobs: Sequence[Composed]) -> int:
    """Every source once; the tasks of all jobs that use it are held against what its labels hold."""
    from geohydra.identity import digest

    by_source: dict[str, list[Composed]] = {}
    for job in jobs:
        if "source" in job.config:
            by_source.setdefault(digest(job.config["source"]), []).append(job)
    return max((_source(same) for same in by_source.values()), default=0)


def _source(jobs: Sequence[Composed]) -> int:
    from geohydra.build import build
    from geohydra.sources.inspection import inspect

    source = build(jobs[0].config["source"], where="source")
    lock = source.lock()
    found = inspect(source, lock)
    if found.rows:
        print(_scenes(found.rows))
    errors = [*found.errors, *_unknown_classes(jobs, found.classes)]
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
    headers = list(rows[0])
    text = table(headers, [[row.get(header, "") for header in headers] for row in shown])
    return f"{text}\n... and {len(rows) - len(shown)} more good scenes" if len(shown) < len(rows) else text


def _print_errors(errors: Sequence[GeohydraError]) -> None:
    for line in error_lines(errors):
        print(line, file=sys.stderr)


def _unknown_classes(jobs: Sequence[Composed], seen: frozenset[str]) -> list[GeohydraError]:
    """Classes that a task asks for and no label has; nothing where no labels were seen."""
    from geohydra.build import build, near
    from geohydra.errors import ConfigError

    asked = {name for job in jobs if "task" in job.config for name in getattr(build(job.config["task"], where="task"), "labels", ())}
    missing = sorted(asked - seen) if seen else []
    return [ConfigError("task.classes", f"no label is a {name!r}", near(name, seen)) for name in missing]
