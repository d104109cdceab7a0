"""The jobs of a sweep side by side: a table, a page, and what the sweep's record is told of its best job."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from geohydra.tracking.protocols import Record

MOST_SCORES = 4
_MOST_ROWS = 10
_USABLE = ("done", "stored")


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as it ended: what was overridden, its headline metrics, the seconds of its steps, those included that it shares."""

    name: str
    status: str
    overrides: Sequence[str]
    metrics: Mapping[str, float]
    seconds: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What differs between jobs, and what came of it. Jobs that failed or were given up are shown, without scores.

    `objective` is the metric that jobs are compared by, `further` are other goals, `downward` the metrics of which less is better.
    `importance`: how much of what differs in the objective each choice accounts for, where that was computed.
    """

    jobs: Sequence[JobRow]
    objective: str | None = None
    further: Sequence[str] = ()
    downward: Collection[str] = ()
    importance: Mapping[str, float] = field(default_factory=dict)
    chosen: Mapping[str, Mapping[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "chosen", {job.name: _pairs(job.overrides) for job in self.jobs})

    @cached_property
    def choices(self) -> list[str]:
        """Overridden keys that do not have the same value everywhere, as they were written."""
        keys = dict.fromkeys(key for pairs in self.chosen.values() for key in pairs)
        return [key for key in keys if len({pairs.get(key) for pairs in self.chosen.values()}) > 1]

    @cached_property
    def scores(self) -> list[str]:
        """Headline metrics: the goals first, then the same on other splits; never those of single classes, nor what is the same for all."""
        known = {name for job in self.usable for name in job.metrics if name.count("/") <= 1 and not name.startswith("hp/")}
        goals = [*([self.objective] if self.objective else []), *self.further]
        kind = (self.objective or "").rpartition("/")[2]

        def rank(name: str) -> tuple[int, bool, bool, bool, str]:
            place = goals.index(name) if name in goals else len(goals)
            return place, name.rpartition("/")[2] != kind, not name.startswith("val/"), not name.startswith("test/"), name

        telling = {name for name in known if name in goals or len({self.score(job, name) for job in self.usable}) > 1}
        return sorted(telling or known, key=rank)

    @cached_property
    def usable(self) -> list[JobRow]:
        """The jobs that ended well."""
        return [job for job in self.jobs if job.status in _USABLE]

    @cached_property
    def ranked(self) -> list[JobRow]:
        """The best job first, of equal ones the earlier; jobs without a score last."""
        first = self.scores[0] if self.scores else ""
        sign = 1.0 if first in self.downward else -1.0

        def rank(job: JobRow) -> tuple[int, float]:
            value = self.score(job, first)
            return (2 if job.status not in _USABLE else int(value is None)), sign * (value or 0.0)

        return sorted(self.jobs, key=rank)

    @property
    def best(self) -> JobRow | None:
        """The first of the ranked, where it has a score."""
        return next((job for job in self.ranked[:1] if self.scores and self.score(job, self.scores[0]) is not None), None)

    @cached_property
    def front(self) -> list[JobRow]:
        """With several goals: the jobs that no other one beats in every goal."""
        goals = [name for name in (self.objective, *self.further) if name]
        told = [(job, self._worth(job, goals)) for job in self.usable if all(self.score(job, name) is not None for name in goals)]
        beaten = [any(_beats(other, worth) for _, other in told) for _, worth in told]
        return [job for (job, _), lost in zip(told, beaten, strict=True) if not lost]

    def score(self, job: JobRow, name: str) -> float | None:
        """A metric of a job that ended well."""
        value = job.metrics.get(name) if job.status in _USABLE else None
        return None if value is None or math.isnan(value) else value

    def columns(self) -> dict[str, list[Any]]:
        """The table: numbers as numbers, what a job does not have as None."""
        table: dict[str, list[Any]] = {"job": [job.name for job in self.ranked], "status": [job.status for job in self.ranked]}
        if self.further:
            front = {job.name for job in self.front}
            table["front"] = ["yes" if job.name in front else "" for job in self.ranked]
        table |= {key: _numbers([self.chosen[job.name].get(key) for job in self.ranked]) for key in self.choices}
        if any(job.seconds is not None for job in self.jobs):
            table["seconds"] = [job.seconds for job in self.ranked]
        return table | {name: [self.score(job, name) for job in self.ranked] for name in self.scores}

    def _worth(self, job: JobRow, goals: Sequence[str]) -> list[float]:
        """Its scores, signed so that more is better."""
        return [(-1.0 if name in self.downward else 1.0) * job.metrics[name] for name in goals]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(mine >= theirs for mine, theirs in zip(one, other, strict=True)) and list(one) != list(other)


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write `comparison.csv`, `.parquet` and `.html`, and the pictures as PNG; return what was written."""
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    from geohydra.tracking.comparison_pictures import draw

    folder.mkdir(parents=True, exist_ok=True)
    columns = comparison.columns()
    table = pa.table(columns)
    pq.write_table(table, folder / "comparison.parquet")
    csv.write_csv(table, folder / "comparison.csv")
    pictures = draw(comparison)
    for name, png in pictures.items():
        (folder / f"{name}.png").write_bytes(png)
    (folder / "comparison.html").write_text(_page(comparison, columns, pictures))
    return [folder / f"comparison.{ending}" for ending in ("csv", "parquet", "html")] + [folder / f"{name}.png" for name in pictures]


def tell(record: Record, comparison: Comparison, folder: Path) -> None:
    """Write the comparison into a folder, and tell the sweep's record of it, with the best score as a metric."""
    written = write(comparison, folder)
    for path in written:
        record.artifact(path, "comparison")
    record.tags({"geohydra.jobs": str(len(comparison.jobs)), "geohydra.jobs_failed": str(_failed(comparison))})
    name, best = comparison.scores[0] if comparison.scores else "", comparison.best
    if best is not None:
        record.metrics({f"best/{name}": best.metrics[name]})
        record.tags({"geohydra.best": best.name})
        columns = [*comparison.scores[:MOST_SCORES], *(_sortable(comparison, key) for key in comparison.choices)]
        picture = next((f"comparison/{path.name}" for path in written if path.suffix == ".png"), "")
        shown = {"table": _markdown(comparison), "page": "comparison/comparison.html", "picture": picture}
        record.view(sort=name, columns=columns, ascending=name in comparison.downward, **shown)


def _markdown(comparison: Comparison) -> str:
    """The best jobs as a table, with what differs between them."""
    names = ["job", *comparison.choices, *comparison.scores[:MOST_SCORES]]
    columns = comparison.columns()
    rows = [[_cell(columns[name][place]).replace("|", "/") for name in names] for place in range(min(len(comparison.jobs), _MOST_ROWS))]
    head, *body = [f"| {'&ensp; | '.join(line)} |" for line in (names, *rows)]  # MLflow's pages leave no room between columns
    rest = len(comparison.jobs) - len(rows)
    return "\n".join([head, f"|{' --- |' * len(names)}", *body]) + (f"\n\nand {rest} more" if rest else "")


def _failed(comparison: Comparison) -> int:
    return sum(job.status == "failed" for job in comparison.jobs)


def _sortable(comparison: Comparison, key: str) -> str:
    """Numbers are also told as metrics, which MLflow sorts by size."""
    return f"hp/{key}" if all(isinstance(value, int | float) for value in values_of(comparison, key)) else key


def values_of(comparison: Comparison, name: str) -> list[Any]:
    """A column of the table."""
    return comparison.columns()[name]


def _pairs(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (override.lstrip("+").partition("=") for override in overrides)
    return {key: value for key, sign, value in pairs if sign}


def _numbers(texts: Sequence[str | None]) -> list[Any]:
    """Numbers where all of them are; else the words."""
    try:
        return [None if text is None else float(text) for text in texts]
    except ValueError:
        return list(texts)


_STYLE = """body{font:14px/1.5 system-ui,sans-serif;margin:1rem;color:#222}table{border-collapse:collapse}h1{font-size:1.4rem}
.table{overflow-x:auto}td,th{border:1px solid #ccc;padding:.15rem .5rem;text-align:right}th{background:#f3f3f3;position:sticky;top:0}
td{white-space:nowrap}
td:first-child,th:first-child{text-align:left}tbody tr:first-child{background:#eef7ee}
img{max-width:100%;margin:1rem 0}"""


def _page(comparison: Comparison, columns: Mapping[str, Sequence[Any]], pictures: Mapping[str, bytes]) -> str:
    """Self-contained."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    rows = ("".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) for row in zip(*columns.values(), strict=True))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    shown = "".join(f"<img alt='{name}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>" for name, png in pictures.items())
    title = f"{len(comparison.jobs)} jobs" + (f", the best by {comparison.scores[0]} first" if comparison.scores else "")
    table = f"<div class='table'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    head = f"<meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body><h1>{title}</h1>{table}{shown}</body></html>"


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
