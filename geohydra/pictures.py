"""Pictures as PNG bytes: imagery beside labels, matrices, curves. No window, no global state.

Colours are `(red, green, blue)`, 0 to 255; pictures of pixels are uint8 `(row, col, 3)`.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.types import IGNORE, Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Color = tuple[int, int, int]
Rgb = NDArray[np.uint8]
Panel = tuple[str, Rgb]
"""A title and the picture below it."""

UNKNOWN: Color = (236, 236, 236)
"""What is neither measured nor labelled."""

_PALETTE = (
    *("#d9d4c7", "#c8553d", "#2f6690", "#f2c14e", "#588157", "#8a5a83"),
    *("#3aafa9", "#e07a5f", "#6d6875", "#81b29a", "#b56576", "#457b9d"),
)
_CUSTOMARY = {
    "background": "#ece8dd",
    "other": "#ece8dd",
    "water": "#3f7cac",
    "road": "#5b5f66",
    "building": "#c8553d",
    "built": "#c8553d",
    "developed": "#c8553d",
    "field": "#e3c567",
    "agriculture": "#e3c567",
    "cropland": "#e3c567",
    "forest": "#3f704d",
    "grassland": "#a3c585",
    "herbaceous": "#a3c585",
    "shrubland": "#b08968",
    "land": "#c9b48c",
    "bare": "#c9b48c",
    "soil": "#c9b48c",
    "sediment": "#d8c7a0",
    "cloud": "#ffffff",
    "shadow": "#39424e",
    "snow": "#a9d6e5",
}
"""The colours that maps give to some things."""
_INK = "#22262b"
_LINES = ("#2f6690", "#c8553d", "#588157", "#b8860b", "#8a5a83", "#3aafa9", "#6d6875", "#b56576")
_BANDS = {"red": "#c8553d", "green": "#588157", "blue": "#2f6690", "nir": "#8a5a83"}
"""Lines of bands in the colours that they are called by."""


def palette(names: Sequence[str], colors: Mapping[str, str] | None = None, *, background: str | None = None) -> tuple[Color, ...]:
    """A colour for every class, in their order: the given ones (`#rrggbb` or a name), else what maps are used to, else
    ones that can be told apart.

    The first colour of the palette is a quiet one, kept for the background.
    """
    wanted = {name: _color(text) for name, text in (colors or {}).items() if name in names}
    if background is not None and background.lower() not in _CUSTOMARY:
        wanted.setdefault(background, _spread(0))
    for name in names:
        customary = _CUSTOMARY.get(name.lower())
        if customary and _color(customary) not in wanted.values():
            wanted.setdefault(name, _color(customary))
    free = (color for color in map(_spread, count(1)) if color not in wanted.values())
    return tuple(wanted[name] if name in wanted else next(free) for name in names)


def visible(bands: Sequence[str]) -> tuple[str, ...]:
    """The bands to look at: red, green and blue by name, else the first three, else the first.

    Of bands at two times (`before_red`, `after_red`) those after.
    """
    later = [name for name in bands if name.startswith("after_")]
    bands = later or bands
    known = {name.lower().removeprefix("after_"): name for name in bands}
    if {"red", "green", "blue"} <= known.keys():
        return known["red"], known["green"], known["blue"]
    return tuple(bands[:3]) if len(bands) >= 3 else tuple(bands[:1])


def views(bands: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The bands of each picture that shows an image, by a title: one picture, or one before and one after."""
    earlier = [name for name in bands if name.startswith("before_")]
    if not earlier:
        return {"": visible(bands)}
    after = visible(bands)
    return {"before": tuple(name.replace("after_", "before_", 1) for name in after), "after": after}


def stretch(image: Image, bands: Sequence[str], *, low: float = 2.0, high: float = 98.0) -> Rgb:
    """The image as the eye would like it: red, green and blue by name, else the first three bands; one band is grey.

    Each band is stretched between two percentiles of its valid pixels; what is not valid is light grey.
    """
    shown = visible(bands)
    rgb = np.empty((*image.valid.shape, 3), np.uint8)
    for place in range(3):
        band = list(bands).index(shown[min(place, len(shown) - 1)])
        rgb[..., place] = _stretched(image.pixels[band], image.valid, low, high)
    rgb[~image.valid] = UNKNOWN
    return rgb


def classes_rgb(mask: NDArray[np.integer[Any]], colors: Sequence[Color]) -> Rgb:
    """Class ids `(row, col)` in their colours; IGNORE and ids without a colour are light grey."""
    table = np.full((256, 3), UNKNOWN, np.uint8)
    table[: len(colors)] = np.asarray(colors, np.uint8).reshape(-1, 3)[:256]
    table[IGNORE] = UNKNOWN
    return np.asarray(table[mask], np.uint8)


def labels_rgb(labels: NDArray[np.integer[Any]], colors: Sequence[Color]) -> Rgb:
    """Labels `(class, row, col)` of 0, 1 and IGNORE: the mean colour of the classes of a pixel; white is none, light grey unknown."""
    there = (labels == 1).astype(np.float32)
    mixed = np.tensordot(there, np.asarray(colors, np.float32), axes=(0, 0)) / np.maximum(there.sum(0), 1)[..., None]
    mixed[there.sum(0) == 0] = 255
    mixed[(labels == IGNORE).all(0)] = UNKNOWN
    return np.asarray(mixed, np.uint8)


def overlay(rgb: Rgb, mask: NDArray[np.integer[Any]], colors: Sequence[Color], *, hide: int | None = 0, strength: float = 0.45) -> Rgb:
    """Classes laid over a picture half transparent; the class `hide` and IGNORE are left clear."""
    shown = (mask != IGNORE) & (mask < len(colors))
    if hide is not None:
        shown &= mask != hide
    mixed = rgb * (1 - strength) + classes_rgb(mask, colors) * strength
    return np.where(shown[..., None], mixed, rgb).astype(np.uint8)


def fit(rgb: Rgb, longest: int) -> Rgb:
    """Every n-th pixel, so that no side is longer than this."""
    step = max(1, math.ceil(max(rgb.shape[:2]) / longest))
    return rgb[::step, ::step]


def side_by_side(rows: Sequence[Sequence[Panel]], *, title: str = "", legend: Mapping[str, Color] | None = None) -> bytes:
    """Rows of pictures with a title above each, and what the colours mean below."""
    wide = max(len(row) for row in rows)
    cell = min(6.0, 15.0 / wide) if len(rows) == 1 else min(4.2, 15.0 / wide)
    heights = [max(_aspect(panel) for panel in row) * cell + 0.2 + 0.15 * max(_line_count(name) for name, _ in row) for row in rows]
    extra = 0.55 * bool(title) + 0.55 * bool(legend)
    figure = _figure(wide * cell + 0.2, sum(heights) + extra)
    axes = figure.subplots(len(rows), wide, squeeze=False, gridspec_kw={"height_ratios": heights})
    for line, row in zip(axes, rows, strict=True):
        for place, axis in enumerate(line):
            axis.set_axis_off()
            if place < len(row):
                _show(axis, row[place])
    _headings(figure, title, legend)
    return _png(figure)


def _line_count(text: str) -> int:
    return 1 + text.count("\n")


def ground_map(rgb: Rgb, *, title: str, legend: Mapping[str, Color], pixel: float | None) -> bytes:
    """A map with a bar that tells its scale, where a pixel is so many metres, and what the colours mean below."""
    figure = _figure(8.2, 0.4 + 1.1 + 8.0 * min(1.5, max(0.3, rgb.shape[0] / rgb.shape[1])))
    axis = figure.subplots()
    axis.set_axis_off()
    axis.imshow(rgb, interpolation="nearest")
    if pixel:
        _scale_bar(axis, rgb.shape[0], rgb.shape[1], pixel)
    _headings(figure, title, legend)
    return _png(figure)


def _scale_bar(axis: Axes, rows: int, cols: int, pixel: float) -> None:
    """Below the map on its left, a round length of about a fifth of its width."""
    most = cols * pixel / 4
    step = 10 ** math.floor(math.log10(most))
    length = max(factor * step for factor in (1, 2, 5) if factor * step <= most)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    base = rows * 1.02 + 4
    axis.plot([0, length / pixel], [base, base], color=_INK, linewidth=3, solid_capstyle="butt", clip_on=False)
    axis.text(length / pixel + 0.01 * cols, base, text, va="center", fontsize=9, color=_INK)
    axis.set_ylim(base + 0.03 * rows, -0.5)


def chips_grid(chips: Sequence[Panel], *, title: str = "", legend: Mapping[str, Color] | None = None, columns: int = 6) -> bytes:
    """Many small pictures in rows."""
    rows = [chips[start : start + columns] for start in range(0, len(chips), columns)]
    return side_by_side(rows, title=title, legend=legend)


def confusion(matrix: NDArray[Any], names: Sequence[str], *, title: str = "Confusion matrix") -> bytes:
    """Counts `(truth, prediction)`: coloured and labelled by the share of each true class."""
    total = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, total, out=np.zeros(matrix.shape, float), where=total > 0)
    side = 2.2 + 0.75 * len(names)
    figure = _figure(side + 1.0, side)
    axis = figure.subplots()
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="predicted", ylabel="true")
    axis.set_title(title, loc="left")
    for row, col in np.ndindex(*share.shape):
        text = f"{share[row, col]:.1%}\n{_short(float(matrix[row, col]))}"
        axis.text(col, row, text, ha="center", va="center", fontsize=8, color="white" if share[row, col] > 0.55 else _INK)
    return _png(figure)


def curves(
    lines: Sequence[Mapping[str, Any]], *, title: str = "Training", xlabel: str = "epoch", colors: Mapping[str, Color] | None = None
) -> bytes:
    """Metrics by epoch or another step, a panel each: `train/x` and `val/x` share one, and all `val/x/CLASS` do.

    Lines are `{"step": 3, "metrics": {name: value}}`. `colors` are those of some labels, such as classes on maps.
    """
    known = {name: _unit(color) for name, color in (colors or {}).items()}
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in lines:
        for name, value in line["metrics"].items():
            panel, label = _panel(str(name))
            panels.setdefault(panel, {}).setdefault(label, []).append((line["step"], value))
    figure, axes = _panels(max(1, len(panels)))
    for axis, (what, series) in zip(axes, panels.items(), strict=False):
        for place, (split, points) in enumerate(sorted(series.items())):
            color = known.get(split, _LINES[place % len(_LINES)])
            axis.plot(*zip(*points, strict=True), label=split, color=color, marker="." if len(points) < 60 else "")
        axis.set_title(what, loc="left")
        axis.set_xlabel(xlabel)
        axis.grid(alpha=0.25)
        axis.legend(frameon=False)
    _headings(figure, title, None)
    return _png(figure)


def _panel(name: str) -> tuple[str, str]:
    """Where a metric is drawn, and what its line is called."""
    parts = name.split("/", 2)
    if len(parts) == 3:
        return f"{parts[0]} {parts[1]} by class", parts[2]
    return (parts[1], parts[0]) if len(parts) == 2 else (name, name)


Curve = tuple[Sequence[float] | NDArray[np.float64], Sequence[float] | NDArray[np.float64]]


def pr_roc(precision: Mapping[str, Curve], roc: Mapping[str, Curve], *, title: str = "Curves by class") -> bytes:
    """Precision over recall, and true over false positive rate: a line `(x, y)` for each name."""
    figure, (left, right) = _panels(2)
    _lines(left, precision, xlabel="recall", ylabel="precision")
    _lines(right, roc, xlabel="false positive rate", ylabel="true positive rate")
    left.set_title("Precision and recall", loc="left")
    right.set_title("ROC", loc="left")
    right.plot((0, 1), (0, 1), color="#999999", linewidth=0.8, linestyle=":")
    _headings(figure, title, None)
    return _png(figure)


def precision_recall(precision: Mapping[str, Curve], averages: Mapping[str, Curve], *, title: str) -> bytes:
    """Precision over recall, and average precision over the least overlap of a hit: a line `(x, y)` for each name."""
    figure, (left, right) = _panels(2)
    _lines(left, precision, xlabel="recall", ylabel="precision")
    _lines(right, averages, xlabel="IoU from which an object is found", ylabel="average precision")
    left.set_title("Precision and recall", loc="left")
    right.set_title("Average precision", loc="left")
    right.set_xlim(0.5, 0.95)
    _headings(figure, title, None)
    return _png(figure)


def by_overlap(scores: Mapping[str, Curve], *, title: str) -> bytes:
    """Scores over the least overlap of a hit: a line `(x, y)` for each name."""
    figure, (axis, *_) = _panels(1)
    _lines(axis, scores, xlabel="IoU from which an object is found", ylabel="score")
    _headings(figure, title, None)
    return _png(figure)


def histogram(series: Mapping[str, Curve], *, title: str, xlabel: str = "value") -> bytes:
    """Counts over values for each name: `(edges, counts)`, one more edge than counts."""
    figure, (axis, *_) = _panels(1)
    others = itertools.cycle(color for color in _LINES if color not in {_BANDS.get(name.lower()) for name in series})
    for name, (edges, counts) in series.items():
        color = _BANDS.get(name.lower()) or next(others)
        axis.stairs(np.asarray(counts, float), np.asarray(edges, float), label=name, color=color, linewidth=1.4)
    axis.set(xlabel=xlabel, ylabel="pixels")
    axis.set_title(title, loc="left")
    axis.grid(alpha=0.25)
    if series:
        axis.legend(frameon=False)
    return _png(figure)


def bars(values: Mapping[str, float], *, title: str, xlabel: str = "", colors: Mapping[str, Color] | None = None) -> bytes:
    """A bar for each name, the value written at its end."""
    figure = _figure(8.5, 1.2 + 0.4 * max(1, len(values)))
    axis = figure.subplots()
    shades = [_unit((colors or {}).get(name, _color(_LINES[0]))) for name in values]
    drawn = axis.barh(list(values), list(values.values()), color=shades)
    axis.bar_label(drawn, fmt="%.3g", padding=4)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel(xlabel)
    axis.set_title(title, loc="left")
    return _png(figure)


def _stretched(band: NDArray[Any], valid: NDArray[np.bool_], low: float, high: float) -> NDArray[np.uint8]:
    step = max(1, int(math.sqrt(valid.size / 100_000)))
    sample = band[::step, ::step][valid[::step, ::step]]
    if sample.size == 0:
        sample = band[valid]
    if sample.size == 0:
        return np.zeros(band.shape, np.uint8)
    bottom, top = (float(value) for value in np.percentile(sample.astype(np.float64), (low, high)))
    if top <= bottom:
        return np.full(band.shape, 128, np.uint8)
    scaled = (np.where(valid, band, bottom).astype(np.float32) - bottom) * (255.0 / (top - bottom))
    return np.asarray(np.clip(scaled, 0, 255), np.uint8)


def _spread(place: int) -> Color:
    """The n-th colour: the palette first, then around the colour wheel by the golden angle."""
    if place < len(_PALETTE):
        return _color(_PALETTE[place])
    from matplotlib.colors import hsv_to_rgb

    red, green, blue = hsv_to_rgb(((place * 0.618034) % 1.0, 0.55, 0.8))
    return round(255 * red), round(255 * green), round(255 * blue)


def _color(text: str) -> Color:
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(text)
    return round(255 * red), round(255 * green), round(255 * blue)


def _unit(color: Color) -> tuple[float, float, float]:
    return color[0] / 255, color[1] / 255, color[2] / 255


def _short(count: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"


def _aspect(panel: Panel) -> float:
    rows, cols = panel[1].shape[:2]
    return float(min(2.0, max(0.3, rows / max(1, cols))))


def _show(axis: Axes, panel: Panel) -> None:
    title, rgb = panel
    axis.imshow(fit(rgb, 700), interpolation="nearest" if max(rgb.shape[:2]) < 128 else "antialiased")
    axis.set_title(title, fontsize=10, loc="left")


def _lines(axis: Axes, series: Mapping[str, Curve], *, xlabel: str, ylabel: str) -> None:
    for place, (name, (x, y)) in enumerate(series.items()):
        axis.plot(x, y, label=name, color=_LINES[place % len(_LINES)], linewidth=1.6)
    axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1.02))
    axis.grid(alpha=0.25)
    if series:
        axis.legend(frameon=False, fontsize=8, loc="best")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, at most three beside each other."""
    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure = _figure(1.0 + 4.3 * columns if columns > 1 else 8.0, 0.6 + 3.4 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def _headings(figure: Figure, title: str, legend: Mapping[str, Color] | None) -> None:
    from matplotlib.patches import Patch

    if title:
        figure.suptitle(title, fontsize=13, fontweight="bold", color=_INK)
    if legend:
        marks = [Patch(facecolor=_unit(color), edgecolor="#888888", label=name) for name, color in legend.items()]
        figure.legend(handles=marks, loc="outside lower center", ncols=min(6, len(marks)), frameon=False)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, pil_kwargs={"compress_level": 4})
    return stream.getvalue()
