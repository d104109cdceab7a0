"""The jobs of a sweep side by side: a table, a picture of all choices and scores, a picture for each choice."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra.tracking.protocols import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_SCORES = 4
_MOST_PANELS = 6


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as it ended: what was overridden, its headline metrics."""

    name: str
    status: str
    overrides: Sequence[str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """What differs between jobs, and what came of it. `objective` is the metric that jobs are compared by."""

    jobs: Sequence[JobRow]
    objective: str | None = None
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
        """Headline metrics: the objective first, then the same on other splits; those of single classes never."""
        known = {name for job in self.jobs for name in job.metrics if name.count("/") <= 1 and not name.startswith("hp/")}
        kind = (self.objective or "").rpartition("/")[2]

        def rank(name: str) -> tuple[bool, bool, bool, bool, str]:
            return name != self.objective, name.rpartition("/")[2] != kind, not name.startswith("val/"), not name.startswith("test/"), name

        return sorted(known, key=rank)

    @cached_property
    def ranked(self) -> list[JobRow]:
        """The best job first; jobs without a score last."""
        first = self.scores[0] if self.scores else ""
        return sorted(self.jobs, key=lambda job: (first not in job.metrics, -job.metrics.get(first, 0.0)))

    def columns(self) -> dict[str, list[Any]]:
        """The table: numbers as numbers, what a job does not have as None."""
        table: dict[str, list[Any]] = {"job": [job.name for job in self.ranked], "status": [job.status for job in self.ranked]}
        table |= {key: _numbers([self.chosen[job.name].get(key) for job in self.ranked]) for key in self.choices}
        return table | {name: [job.metrics.get(name) for job in self.ranked] for name in self.scores}


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write `comparison.csv`, `.parquet` and `.html`, and the pictures as PNG; return what was written."""
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

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
    for path in write(comparison, folder):
        record.artifact(path, "comparison")
    record.tags({"geohydra.jobs": str(len(comparison.jobs)), "geohydra.jobs_failed": str(_failed(comparison))})
    if comparison.scores and comparison.scores[0] in comparison.ranked[0].metrics:
        name = comparison.scores[0]
        record.metrics({f"best/{name}": comparison.ranked[0].metrics[name]})
        record.tags({"geohydra.best": comparison.ranked[0].name})
        record.view(sort=name, columns=[*comparison.scores[:_MOST_SCORES], *(_sortable(comparison, key) for key in comparison.choices)])


def _failed(comparison: Comparison) -> int:
    return sum(job.status == "failed" for job in comparison.jobs)


def _sortable(comparison: Comparison, key: str) -> str:
    """Numbers are also told as metrics, which MLflow sorts by size."""
    return f"hp/{key}" if all(isinstance(value, int | float) for value in _values(comparison, key)) else key


def draw(comparison: Comparison) -> dict[str, bytes]:
    """Pictures as PNG, by name; none where nothing differs or nothing was scored."""
    if not comparison.choices or not comparison.scores or len(comparison.jobs) < 2:
        return {}
    return {"parallel_coordinates": _png(_parallel(comparison)), "choices": _png(_scatter(comparison))}


def _parallel(comparison: Comparison) -> Figure:
    """A line a job through its choices and its scores; the colour is the first score."""
    from matplotlib.figure import Figure

    names = comparison.choices + comparison.scores[:_MOST_SCORES]
    axes = [_Axis.of(_values(comparison, name)) for name in names]
    figure = Figure(figsize=(max(6.0, 1.9 * len(names) + 1.2), 4.8), layout="constrained")
    plot: Axes = figure.subplots()
    shade = _shade(comparison)
    for place, job in reversed(list(enumerate(comparison.ranked))):
        heights = [axis.heights[place] for axis in axes]
        plot.plot(range(len(names)), heights, color=shade(job), alpha=0.85, linewidth=2.4 if place == 0 else 1.5, marker="o", markersize=4)
    for place, axis in enumerate(axes):
        _ruler(plot, place, axis)
    plot.set_xticks(range(len(names)), [_broken(name) for name in names])
    plot.tick_params(axis="x", length=0, pad=8)
    plot.set_yticks([])
    plot.set(xlim=(-0.25, len(names) - 0.45), ylim=(-0.05, 1.05))
    plot.spines[:].set_visible(False)
    _legend(figure, plot, comparison)
    return figure


def _scatter(comparison: Comparison) -> Figure:
    """A panel for each choice: its values against the first score."""
    from matplotlib.figure import Figure

    keys, score = comparison.choices[:_MOST_PANELS], comparison.scores[0]
    figure = Figure(figsize=(3.4 * len(keys) + 0.8, 3.4), layout="constrained")
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    shade = _shade(comparison)
    for key, panel in zip(keys, panels, strict=True):
        axis = _Axis.of(_values(comparison, key))
        for job, at in zip(comparison.ranked, axis.heights, strict=True):
            panel.plot(at, job.metrics.get(score, math.nan), "o", color=shade(job), markersize=7, alpha=0.85)
        panel.set_xticks([at for at, _ in axis.ticks], [text for _, text in axis.ticks])
        panel.set(xlabel=key, xlim=(-0.12, 1.12))
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(score)
    return figure


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values put between 0 and 1, and where to write which of them."""

    heights: list[float]
    ticks: list[tuple[float, str]]

    @classmethod
    def of(cls, values: Sequence[Any]) -> _Axis:
        """Numbers by size, on a logarithmic scale where they span a factor of thirty; words evenly."""
        numbers = [value for value in values if isinstance(value, int | float)]
        known = [value for value in values if value is not None]
        return cls._numeric(values, numbers) if numbers and len(numbers) == len(known) else cls._words(values)

    @classmethod
    def _numeric(cls, values: Sequence[Any], numbers: Sequence[float]) -> _Axis:
        low, high = min(numbers), max(numbers)
        bend = math.log if low > 0 and high / low >= 30 else float
        span = bend(high) - bend(low)

        def height(value: float) -> float:
            return (bend(value) - bend(low)) / span if span else 0.5

        distinct = sorted(set(numbers))
        shown = distinct if len(distinct) <= 6 else [low, high]
        ticks = [(height(value), f"{value:.4g}") for value in shown]
        return cls([math.nan if value is None else height(value) for value in values], _apart(ticks))

    @classmethod
    def _words(cls, values: Sequence[Any]) -> _Axis:
        words = sorted({str(value) for value in values if value is not None})
        height = {word: place / (len(words) - 1) if len(words) > 1 else 0.5 for place, word in enumerate(words)}
        return cls([math.nan if value is None else height[str(value)] for value in values], [(at, word) for word, at in height.items()])


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Ticks that do not stand on each other: the ends, and what lies well between them."""
    kept = ticks[:1]
    for tick in ticks[1:-1]:
        if tick[0] - kept[-1][0] >= 0.09 and ticks[-1][0] - tick[0] >= 0.09:
            kept.append(tick)
    return kept + ticks[1:][-1:]


def _ruler(plot: Axes, place: int, axis: _Axis) -> None:
    plot.axvline(place, color="0.6", linewidth=1, zorder=0)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    for at, text in axis.ticks:
        plot.text(place + 0.04, at, text, va="center", ha="left", fontsize=8.5, color="0.15", bbox=box, zorder=3)


def _legend(figure: Figure, plot: Axes, comparison: Comparison) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high = _span(comparison)
    bar = figure.colorbar(ScalarMappable(Normalize(low, high), "viridis"), ax=plot, fraction=0.03, pad=0.02)
    bar.set_label(comparison.scores[0])


def _shade(comparison: Comparison) -> Any:
    """The colour of a job; grey without a score."""
    from matplotlib import colormaps

    low, high = _span(comparison)
    name = comparison.scores[0]

    def shade(job: JobRow) -> Any:
        value = job.metrics.get(name)
        return "0.7" if value is None else colormaps["viridis"]((value - low) / (high - low) if high > low else 0.5)

    return shade


def _span(comparison: Comparison) -> tuple[float, float]:
    values = [job.metrics[comparison.scores[0]] for job in comparison.jobs if comparison.scores[0] in job.metrics]
    return min(values), max(values)


def _values(comparison: Comparison, name: str) -> list[Any]:
    return comparison.columns()[name]


def _broken(name: str) -> str:
    """A long key on two lines."""
    return name.replace(".", ".\n", 1) if len(name) > 14 else name


def _pairs(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (override.lstrip("+").partition("=") for override in overrides)
    return {key: value for key, sign, value in pairs if sign}


def _numbers(texts: Sequence[str | None]) -> list[Any]:
    """Numbers where all of them are; else the words."""
    try:
        return [None if text is None else float(text) for text in texts]
    except ValueError:
        return list(texts)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    return stream.getvalue()


_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}table{border-collapse:collapse}
td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:right}th{background:#f3f3f3;position:sticky;top:0}
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
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    head = f"<meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body><h1>{title}</h1>{table}{shown}</body></html>"


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
