"""What ingest tells of the scenes it found: a table, and a map of footprints and labels."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra.types import Grid, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from geohydra.report import Report

_DRAWN = 20_000
"""Polygons on the map at most: more are no longer told apart."""


def described(scene: Scene) -> dict[str, str]:
    """One scene in words: where, how fine, how large, what of."""
    grid = scene.grid
    return {
        "scene": scene.id,
        "date": dated(scene),
        "crs": crs_name(grid.crs) or "none",
        "resolution": fineness(grid),
        "shape": f"{grid.shape.rows} x {grid.shape.cols}",
        "bands": ", ".join(scene.bands),
        "dtype": ", ".join(dict.fromkeys(asset.dtype for asset in scene.assets)),
        "nodata": ", ".join(dict.fromkeys("none" if asset.nodata is None else f"{asset.nodata:g}" for asset in scene.assets)),
    }


def crs_name(crs: str) -> str:
    """A code as it is; one that is spelled out by its own name, or where that tells nothing by its projection."""
    if len(crs) < 30:
        return crs
    from pyproj import CRS

    known = CRS.from_user_input(crs)
    projection = known.coordinate_operation.method_name if known.coordinate_operation else known.type_name
    return f"custom {projection}" if known.name.lower() in ("", "unknown", "unnamed", "undefined") else known.name


def dated(scene: Scene) -> str:
    """The day of a scene; of a series the first, the last and how many."""
    if scene.times:
        first, last = (time.strftime("%Y-%m-%d") for time in (scene.times[0], scene.times[-1]))
        return f"{first} to {last} ({len(scene.times)})" if len(scene.times) > 1 else first
    return scene.time.strftime("%Y-%m-%d") if scene.time else ""


def fineness(grid: Grid) -> str:
    """The size of a pixel in units of its CRS and, where these are not metres, in metres in the middle of the grid."""
    sizes = grid.resolution
    own = _sized(sizes)
    if not grid.crs:
        return f"{own} px"
    unit, metres = _unit(grid.crs)
    if unit == "metre":
        ground = _on_ground(grid)
        return f"{own} m" if ground is None else f"{own} m ({_sized(ground, 3)} m on the ground)"
    if unit != "degree":
        return f"{own} {unit} ({_sized([size * metres for size in sizes], 3)} m)"
    middle = math.radians((grid.bounds[1] + grid.bounds[3]) / 2)
    ground = (sizes[0] * _METRES_A_DEGREE, sizes[1] * _METRES_A_DEGREE * math.cos(middle))
    return f"{own} deg ({_sized(ground, 3)} m)"


_METRES_A_DEGREE = 111_320.0
_STRETCHED = {"Popular Visualisation Pseudo Mercator", "Mercator (variant A)", "Mercator (variant B)"}
"""Projections whose metres are not those of the ground."""


def _on_ground(grid: Grid) -> tuple[float, float] | None:
    """Height and width of a pixel in metres of the ground, where those of the CRS are others."""
    if _projection(grid.crs) not in _STRETCHED:
        return None
    from geohydra.vector.area import pixel_area

    high, wide = grid.resolution
    shrunk = math.sqrt(pixel_area(grid) / (high * wide))
    return high * shrunk, wide * shrunk


def _sized(sizes: Sequence[float], digits: int = 6) -> str:
    return " x ".join(dict.fromkeys(f"{size:.{digits}g}" for size in sizes))


@cache
def _unit(crs: str) -> tuple[str, float]:
    """The name of the unit of a CRS, and how many metres it is."""
    from pyproj import CRS

    axis = CRS.from_user_input(crs).axis_info[0]
    return axis.unit_name, float(axis.unit_conversion_factor)


@cache
def _projection(crs: str) -> str:
    """The name of the method that lays the ground flat."""
    from pyproj import CRS

    operation = CRS.from_user_input(crs).coordinate_operation
    return operation.method_name if operation else ""


def summarise(scenes: Sequence[Scene], folder: Path, report: Report) -> None:
    """Put the table of scenes, the notes of the source and the map into a report."""
    pixels = sum(scene.grid.shape.size for scene in scenes)
    report.metrics({"ingest/scenes": len(scenes), "ingest/megapixels": pixels / 1e6, **_totals(scenes)})
    report.table("scenes", _table(scenes))
    for note in notes_in(folder):
        report.note(note)
    places = dict.fromkeys(scene.grid.crs for scene in scenes if scene.grid.crs)
    for number, crs in enumerate(places, start=1):
        name = "footprints" if len(places) == 1 else f"footprints_{number}"
        report.figure(name, footprints([scene for scene in scenes if scene.grid.crs == crs]))


def notes_in(folder: Path) -> list[str]:
    """What a source told of what it mended or left out, a sentence each."""
    path = folder / "notes.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def footprints(scenes: Sequence[Scene]) -> bytes:
    """A map of scenes of one CRS with their polygon labels, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon

    figure = Figure(figsize=(8, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_labels(scenes, axes)
    for scene in scenes:
        axes.add_patch(Polygon(scene.grid.corners, fill=False, edgecolor="#22262b", linewidth=1))
    if len(scenes) <= 40:
        for scene in scenes:
            left, _, _, top = scene.grid.bounds
            axes.annotate(scene.id, (left, top), (3, -9), textcoords="offset points", fontsize=7)
    axes.autoscale_view()
    axes.set_aspect("equal")
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.tick_params(labelsize=7)
    axes.set_title(f"{len(scenes)} scene{'s' if len(scenes) > 1 else ''} in {crs_name(scenes[0].grid.crs)}", fontsize=10)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def _draw_labels(scenes: Sequence[Scene], axes: Axes) -> None:
    import geopandas

    from geohydra.pictures import palette

    names = list(dict.fromkeys(name for scene in scenes if scene.labels for name in scene.labels.classes))
    colors = {name: tuple(part / 255 for part in color) for name, color in zip(names, palette(names), strict=True)}
    room = _DRAWN
    for scene in scenes:
        if scene.labels is None or scene.labels.kind != "vector" or room <= 0:
            continue
        frame = geopandas.read_parquet(scene.labels.uri)[:room]
        room -= len(frame)
        for name, part in frame.groupby("class"):
            part.plot(ax=axes, color=[colors.get(str(name), (0.5, 0.5, 0.5))], linewidth=0)
    if 0 < len(names) <= 20:
        _legend(axes, colors)


def _legend(axes: Axes, colors: Mapping[str, Any]) -> None:
    from matplotlib.patches import Patch

    axes.legend(handles=[Patch(color=color, label=name) for name, color in colors.items()], fontsize=7, loc="upper right")


def _totals(scenes: Sequence[Scene]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for scene in scenes:
        for name, count in scene.properties.get("geohydra:labels", {}).items():
            counts[f"ingest/labels/{name}"] = counts.get(f"ingest/labels/{name}", 0) + count
    return counts


def _table(scenes: Sequence[Scene]) -> dict[str, list[Any]]:
    rows = [described(scene) for scene in scenes]
    table: dict[str, list[Any]] = {key: [row[key] for row in rows] for key in rows[0]}
    table["labels"] = [scene.labels.kind if scene.labels else "none" for scene in scenes]
    told = [scene.properties.get("geohydra:labels", {}) for scene in scenes]
    for name in sorted({name for counts in told for name in counts}):
        table[name] = [counts.get(name, 0) for counts in told]
    return table
