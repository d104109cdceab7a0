"""The plan as a picture: boxes in columns by depth, arrows from what is needed, green where the output is stored."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geohydra.errors import ConfigError
from geohydra.plan import Plan, PlannedStep, depths
from geohydra.storage import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 150, 58
_GAP_ACROSS, _GAP_DOWN, _MARGIN, _HEAD = 70, 22, 24, 46
_STORED, _TO_DO = ("#d9f0d3", "#2f7d32"), ("#dbe9f6", "#1f5f99")


@dataclass(frozen=True, slots=True)
class Box:
    """Where one step is drawn: its upper left corner, in pixels."""

    step: PlannedStep
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """All boxes, by step id, and the size of the sheet."""

    boxes: Mapping[str, Box]
    width: int
    height: int


def save(plan: Plan, path: Path, *, done: Sequence[str] = ()) -> None:
    """Write the picture as .svg or .png."""
    kinds = {".svg": _svg, ".png": _png}
    if path.suffix.lower() not in kinds:
        raise ConfigError(f"-o {path}", f"{path.suffix or 'no ending'} is no picture", "take .svg or .png")
    write_bytes(str(path), kinds[path.suffix.lower()](plan, arrange(plan), set(done)))


def arrange(plan: Plan) -> Drawing:
    """Columns by depth; within one, steps stand near the middle of what they need, so that few arrows cross."""
    deep = depths(plan)
    columns: dict[int, list[PlannedStep]] = {}
    for step in plan.steps:
        columns.setdefault(deep[step.id], []).append(step)
    tallest = max(len(steps) for steps in columns.values())
    height = tallest * (_HEIGHT + _GAP_DOWN) - _GAP_DOWN
    boxes: dict[str, Box] = {}
    for column in sorted(columns):
        steps = sorted(columns[column], key=lambda step: _middle(step, boxes))
        top = _HEAD + (height - (len(steps) * (_HEIGHT + _GAP_DOWN) - _GAP_DOWN)) // 2
        for place, step in enumerate(steps):
            boxes[step.id] = Box(step, _MARGIN + column * (_WIDTH + _GAP_ACROSS), top + place * (_HEIGHT + _GAP_DOWN))
    width = 2 * _MARGIN + len(columns) * (_WIDTH + _GAP_ACROSS) - _GAP_ACROSS
    return Drawing(boxes, width, _HEAD + height + _MARGIN)


def _middle(step: PlannedStep, boxes: Mapping[str, Box]) -> float:
    needs = [boxes[need].y for need in step.needs.values() if need in boxes]
    return sum(needs) / len(needs) if needs else 0.0


def shown_needs(plan: Plan, step: PlannedStep) -> list[str]:
    """The needs that no other need stands upon: an arrow for each says all, and few of them cross."""
    needs = set(step.needs.values())
    implied = {above for need in needs for above in _ancestors(plan, need)}
    return [need for need in step.needs.values() if need not in implied]


def _ancestors(plan: Plan, identity: str) -> set[str]:
    direct = set(plan.step(identity).needs.values())
    return direct.union(*(_ancestors(plan, need) for need in direct))


def _title(plan: Plan, done: set[str]) -> str:
    jobs = f" for {len(plan.jobs)} jobs" if len(plan.jobs) > 1 else ""
    return f"{plan.name}: {len(plan.steps)} steps{jobs}, {len(done)} stored"


def _detail(plan: Plan, step: PlannedStep) -> str:
    jobs = f" · {len(step.jobs)} of {len(plan.jobs)} jobs" if len(plan.jobs) > 1 else ""
    return f"{step.role}{jobs}"


def _svg(plan: Plan, drawing: Drawing, done: set[str]) -> bytes:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width}" height="{drawing.height}" '
        f'viewBox="0 0 {drawing.width} {drawing.height}" font-family="system-ui, sans-serif">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#777"/></marker></defs><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{_MARGIN}" y="28" font-size="16" font-weight="600">{html.escape(_title(plan, done))}</text>'
    )
    arrows = (_svg_arrow(start, end) for start, end in _arrows(plan, drawing))
    boxes = (_svg_box(plan, box, box.step.id in done) for box in drawing.boxes.values())
    return "\n".join([head, *arrows, *boxes, "</svg>", ""]).encode()


def _arrows(plan: Plan, drawing: Drawing) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for step in plan.steps:
        end = drawing.boxes[step.id]
        for need in shown_needs(plan, step):
            start = drawing.boxes[need]
            yield (start.x + _WIDTH, start.y + _HEIGHT // 2), (end.x, end.y + _HEIGHT // 2)


def _svg_arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x0, y0), (x1, y1) = start, end
    bend = _GAP_ACROSS // 2
    path = f"M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}"
    return f'<path d="{path}" fill="none" stroke="#777" stroke-width="1.3" marker-end="url(#tip)"/>'


def _svg_box(plan: Plan, box: Box, is_stored: bool) -> str:
    fill, line = _STORED if is_stored else _TO_DO
    middle = box.x + _WIDTH // 2
    name, detail = html.escape(box.step.id), html.escape(_detail(plan, box.step))
    state = "stored" if is_stored else "to do"
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="{fill}" stroke="{line}"/>'
        f'<g text-anchor="middle"><text x="{middle}" y="{box.y + 22}" font-size="14" font-weight="600">{name}</text>'
        f'<text x="{middle}" y="{box.y + 37}" font-size="11" fill="#444">{detail} · {state}</text>'
        f'<text x="{middle}" y="{box.y + 51}" font-size="9" fill="#777" font-family="monospace">{box.step.fingerprint}</text></g>'
    )


def _png(plan: Plan, drawing: Drawing, done: set[str]) -> bytes:
    import io

    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch

    figure = Figure(figsize=(drawing.width / 72, drawing.height / 72), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))
    axes.axis("off")
    axes.text(_MARGIN, 28, _title(plan, done), fontsize=12, fontweight="bold")
    for start, end in _arrows(plan, drawing):
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, color="#777", linewidth=1))
    for box in drawing.boxes.values():
        _png_box(axes, plan, box, box.step.id in done)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _png_box(axes: Axes, plan: Plan, box: Box, is_stored: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    fill, line = _STORED if is_stored else _TO_DO
    axes.add_patch(FancyBboxPatch((box.x, box.y), _WIDTH, _HEIGHT, boxstyle="round,pad=0,rounding_size=8", fc=fill, ec=line))
    detail = f"{_detail(plan, box.step)} · {'stored' if is_stored else 'to do'}"
    for down, text, size, color in ((20, box.step.id, 10, "#000"), (36, detail, 8, "#444"), (50, box.step.fingerprint, 6.5, "#777")):
        axes.text(box.x + _WIDTH / 2, box.y + down, text, fontsize=size, color=color, ha="center", va="baseline")
