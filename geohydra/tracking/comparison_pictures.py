"""Pictures of a sweep: all choices and scores as lines, a panel for each choice, what counts, and the front of several goals."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geohydra.tracking.comparison import MOST_SCORES, Comparison, JobRow, values_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PANELS = 6
_MOST_AXES = 8
_DOTS = 84
"""Dots per inch: MLflow's pages show a picture in a note as large as it is."""


def draw(comparison: Comparison) -> dict[str, bytes]:
    """Pictures as PNG, by name; none where nothing differs or nothing was scored."""
    if not comparison.choices or not comparison.scores or len(comparison.jobs) < 2:
        return {}
    found = {"parallel_coordinates": _png(_parallel(comparison)), "choices": _png(_scatter(comparison))}
    if comparison.importance:
        found["importance"] = _png(_importance(comparison))
    if len(comparison.scores) > 1 and comparison.further and comparison.scores[1] == comparison.further[0]:
        found["front"] = _png(_front(comparison))
    return found


def _importance(comparison: Comparison) -> Figure:
    """A bar for each choice: how much of what differs in the score it accounts for."""
    from matplotlib.figure import Figure

    told = sorted(comparison.importance.items(), key=lambda pair: pair[1])
    figure = Figure(figsize=(7.0, 0.45 * len(told) + 1.5), layout="constrained")
    plot: Axes = figure.subplots()
    bars = plot.barh([name for name, _ in told], [share for _, share in told], color="#3b6ea5", height=0.6)
    plot.bar_label(bars, [f"{share:.0%}" for _, share in told], padding=4)
    plot.set(xlim=(0, 1.12 * max(share for _, share in told)), xlabel=f"share of the variance of {comparison.scores[0]}")
    plot.set_title(f"What counts: fANOVA over {len(comparison.usable)} jobs, a guess that gets better with more", fontsize=10)
    plot.spines[["top", "right"]].set_visible(False)
    return figure


def _front(comparison: Comparison) -> Figure:
    """The first two goals against each other; jobs that none beats in every goal are joined."""
    from matplotlib.figure import Figure

    across, up = comparison.scores[1], comparison.scores[0]
    figure = Figure(figsize=(6.2, 4.6), layout="constrained")
    plot: Axes = figure.subplots()
    front = sorted(comparison.front, key=lambda job: job.metrics[across])
    rest = [job for job in comparison.usable if job not in front and {across, up} <= set(job.metrics)]
    plot.plot([job.metrics[across] for job in rest], [job.metrics[up] for job in rest], "o", color="0.7", label="beaten by another")
    plot.plot([job.metrics[across] for job in front], [job.metrics[up] for job in front], "o-", color="#b5452c", label="the front")
    for job in front:
        plot.annotate(job.name, (job.metrics[across], job.metrics[up]), textcoords="offset points", xytext=(5, 5), fontsize=8)
    better = ["less" if name in comparison.downward else "more" for name in (across, up)]
    plot.set(xlabel=f"{across} ({better[0]} is better)", ylabel=f"{up} ({better[1]} is better)")
    plot.margins(0.12)
    plot.grid(alpha=0.3)
    plot.legend(fontsize=8)
    plot.spines[["top", "right"]].set_visible(False)
    return figure


def _parallel(comparison: Comparison) -> Figure:
    """A line a job through its choices and its scores; the colour is the first score."""
    from matplotlib.figure import Figure

    names = comparison.choices[:_MOST_AXES] + comparison.scores[:MOST_SCORES]
    axes = [_Axis.of(values_of(comparison, name)) for name in names]
    figure = Figure(figsize=(max(6.0, 1.25 * len(names) + 1.0), 4.4), layout="constrained")
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
        axis = _Axis.of(values_of(comparison, key))
        for job, at in zip(comparison.ranked, axis.heights, strict=True):
            panel.plot(at, _known(comparison.score(job, score)), "o", color=shade(job), markersize=7, alpha=0.85)
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
        shown = distinct if len(distinct) <= 6 else [low, *(_decades(low, high) if bend is math.log else []), high]
        ticks = [(height(value), f"{value:.4g}") for value in shown]
        return cls([math.nan if value is None else height(value) for value in values], _apart(ticks))

    @classmethod
    def _words(cls, values: Sequence[Any]) -> _Axis:
        words = sorted({str(value) for value in values if value is not None})
        height = {word: place / (len(words) - 1) if len(words) > 1 else 0.5 for place, word in enumerate(words)}
        return cls([math.nan if value is None else height[str(value)] for value in values], [(at, word) for word, at in height.items()])


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten between two positive numbers."""
    return [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1) if low < 10.0**power < high]


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
    bar = figure.colorbar(ScalarMappable(Normalize(low, high), _colours(comparison)), ax=plot, fraction=0.03, pad=0.02)
    bar.set_label(comparison.scores[0])


def _shade(comparison: Comparison) -> Any:
    """The colour of a job, bright for a good one; grey without a score."""
    from matplotlib import colormaps

    low, high = _span(comparison)
    name = comparison.scores[0]
    colours = colormaps[_colours(comparison)]

    def shade(job: JobRow) -> Any:
        value = comparison.score(job, name)
        return "0.7" if value is None else colours((value - low) / (high - low) if high > low else 0.5)

    return shade


def _colours(comparison: Comparison) -> str:
    return "viridis_r" if comparison.scores[0] in comparison.downward else "viridis"


def _span(comparison: Comparison) -> tuple[float, float]:
    values = [value for job in comparison.jobs if (value := comparison.score(job, comparison.scores[0])) is not None]
    return min(values), max(values)


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _broken(name: str) -> str:
    """A long key on two lines."""
    return name.replace(".", ".\n", 1) if len(name) > 14 else name


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DOTS)
    return stream.getvalue()
