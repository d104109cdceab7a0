"""A map of what a source found, before anything is written: footprints, labels, and which scenes something is wrong with."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from geohydra.sources.summary import crs_name
from geohydra.types import Grid, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DRAWN = 20_000
"""Polygons on the map at most: more are no longer told apart."""

_OUTLINED = 5_000
_NAMED = 40
_STEPS = 8
_SPLITS = MappingProxyType({"train": (0.27, 0.47, 0.69), "val": (0.92, 0.65, 0.12), "test": (0.75, 0.22, 0.18)})
_LINE = "#22262b"
_WRONG = "#d01c1f"


def draw(scenes: Sequence[Scene], features: Mapping[str, Any], marked: Mapping[str, str], splits: Sequence[tuple[str, Grid]] = ()) -> bytes:
    """The map as PNG: in the CRS of all scenes if it is one, else in longitude and latitude. `marked` tells what is wrong by id,
    `splits` what ground is for learning, choosing and testing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    placed = [scene for scene in scenes if scene.grid.crs]
    codes = {scene.grid.crs for scene in placed}
    crs = codes.pop() if len(codes) == 1 else "EPSG:4326"
    names = _labels(axes, placed, features, crs)
    used = _splits(axes, splits, crs)
    outlines = {scene.id: _ring(scene.grid, crs) for scene in placed[:_OUTLINED]}
    _outlines(axes, outlines, marked)
    _annotate(axes, outlines)
    drawn = f", {_count(sum(map(len, features.values())), 'label')}" if features else ""
    _finish(axes, crs, _count(len(scenes), "scene") + drawn)
    _legend(figure, names | used, wrong=not marked.keys().isdisjoint(outlines))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def _labels(axes: Axes, scenes: Sequence[Scene], features: Mapping[str, Any], crs: str) -> dict[str, Any]:
    """Draw the polygons; the colour of each class."""
    from geohydra.pictures import palette

    names = sorted({str(name) for frame in features.values() for name in frame["class"].unique()})
    colors = {name: tuple(part / 255 for part in color) for name, color in zip(names, palette(names), strict=True)}
    room = _DRAWN
    for scene in scenes:
        frame = features.get(scene.id)
        if frame is None or not len(frame) or room <= 0:
            continue
        part = frame[:room].to_crs(crs)
        room -= len(part)
        for name, same in part.groupby("class"):
            same.plot(ax=axes, color=[colors[str(name)]] * len(same), linewidth=0.3, markersize=4, aspect=None)
    return colors


def _splits(axes: Axes, splits: Sequence[tuple[str, Grid]], crs: str) -> dict[str, Any]:
    """A veil of one colour over the ground of each split; the colours of those that there are."""
    from matplotlib.collections import PolyCollection

    used = {}
    for name, color in _SPLITS.items():
        rings = [_ring(grid, crs) for split, grid in splits if split == name and grid.crs]
        if rings:
            axes.add_collection(PolyCollection(rings, facecolor=(*color, 0.28), edgecolor=(*color, 1.0), linewidth=1.2))
            used[f"for {name}"] = (*color, 0.5)
    return used


def _outlines(axes: Axes, outlines: Mapping[str, Any], marked: Mapping[str, str]) -> None:
    from matplotlib.collections import PolyCollection

    for wrong, color, width in ((False, _LINE, 1.0), (True, _WRONG, 2.0)):
        rings = [ring for name, ring in outlines.items() if (name in marked) == wrong]
        axes.add_collection(PolyCollection(rings, facecolor=(0, 0, 0, 0.03), edgecolor=color, linewidth=width))


def _annotate(axes: Axes, outlines: Mapping[str, Any]) -> None:
    """A name in the upper left corner of each footprint; scenes at the same place share one."""
    corners: dict[tuple[float, float], list[str]] = {}
    extent = max((float(abs(ring).max()) for ring in outlines.values()), default=1.0)
    for name, ring in outlines.items():
        size = max(float(ring[:, 0].max() - ring[:, 0].min()), extent * 1e-9)
        corner = float(ring[:, 0].min()), float(ring[:, 1].max())
        near = next((at for at in corners if abs(at[0] - corner[0]) < size / 20 and abs(at[1] - corner[1]) < size / 20), corner)
        corners.setdefault(near, []).append(name)
        if len(corners) > _NAMED:
            return
    for corner, names in corners.items():
        text = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        axes.annotate(text, corner, (3, -9), textcoords="offset points", fontsize=7, color=_LINE)


def _ring(grid: Grid, crs: str) -> Any:
    """The outline in another CRS, with points along its sides; in degrees it is kept together across the date line."""
    import numpy as np
    from pyproj import Transformer

    corners = np.array([*grid.corners, grid.corners[0]])
    steps = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
    ring = np.concatenate([start + steps * (stop - start) for start, stop in pairwise(corners)])
    if grid.crs == crs:
        return ring
    xs, ys = Transformer.from_crs(grid.crs, crs, always_xy=True).transform(ring[:, 0], ring[:, 1])
    return np.column_stack([xs + 360 * np.round((xs[0] - xs) / 360), ys])


def _finish(axes: Axes, crs: str, title: str) -> None:
    import math

    axes.autoscale_view()
    middle = sum(axes.get_ylim()) / 2
    axes.set_aspect(1 / max(0.05, math.cos(math.radians(middle))) if crs == "EPSG:4326" else "equal")
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.tick_params(labelsize=7)
    axes.set(xlabel="", ylabel="")
    axes.set_title(f"{title}, in {'longitude and latitude' if crs == 'EPSG:4326' else crs_name(crs)}", fontsize=10)


def _legend(figure: Figure, colors: Mapping[str, Any], *, wrong: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], color=_LINE, label="footprint")]
    if wrong:
        handles.append(Line2D([], [], color=_WRONG, linewidth=2, label="something is wrong"))
    handles += [Patch(color=color, label=name) for name, color in list(colors.items())[:20]]
    figure.legend(handles=handles, fontsize=7, loc="outside lower center", ncols=6)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
