"""Pictures side by side as PNG bytes, with a title above and what the colours mean below: quick to draw, for what is made of every scene.

Where axes are wanted, see `geohydra.pictures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Color = tuple[int, int, int]
Rgb = NDArray[np.uint8]
Panel = tuple[str, Rgb]
"""A title and the picture below it."""

_INK: Color = (34, 38, 43)
_EDGE: Color = (136, 136, 136)
_LARGE, _SMALL = 18, 14
_GAP = 12
_LINE = 24
_SWATCH = 18
_WIDE = 400
"""Columns of a sheet, at least, so that words have room."""
_SIDE = 500
"""Rows or columns of pictures, at least; about."""


def sheet(panels: Sequence[Panel], *, title: str = "", legend: Mapping[str, Color] | None = None) -> bytes:
    """Pictures in a row, pixel by pixel; where they are small, each pixel is several."""
    from PIL import Image, ImageDraw

    zoom = max(1, _SIDE // max(max(rgb.shape[:2]) for _, rgb in panels))
    panels = [(text, rgb.repeat(zoom, axis=0).repeat(zoom, axis=1)) for text, rgb in panels]
    large, small = _font(_LARGE, bold=True), _font(_SMALL)
    inner = sum(rgb.shape[1] for _, rgb in panels) + _GAP * (len(panels) - 1)
    width = max(_WIDE, inner + 2 * _GAP, round(large.getlength(title)) + 2 * _GAP)
    rows = _rows(legend or {}, small, width - 2 * _GAP)
    above = _GAP + (_LARGE + _GAP) * bool(title) + _LINE * any(text for text, _ in panels)
    height = above + max(rgb.shape[0] for _, rgb in panels) + _GAP + _LINE * len(rows)
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((width / 2, _GAP), title, fill=_INK, font=large, anchor="ma")
    left = (width - inner) // 2
    for text, rgb in panels:
        pen.text((left, above - 6), text, fill=_INK, font=small, anchor="ls")
        picture.paste(Image.fromarray(rgb), (left, above))
        left += rgb.shape[1] + _GAP
    for place, row in enumerate(rows):
        _write(pen, row, small, width / 2, height - _LINE * (len(rows) - place) - _GAP / 2 + _LINE / 2)
    return _png(np.asarray(picture))


def _png(rgb: Rgb) -> bytes:
    """Of imagery a tenth larger than the usual way, and three times as quick."""
    import cv2

    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _rows(legend: Mapping[str, Color], font: FreeTypeFont, width: int) -> list[list[tuple[str, Color]]]:
    """As many names in a row as fit."""
    rows: list[list[tuple[str, Color]]] = []
    used = width + 1.0
    for name, color in legend.items():
        own = _room(name, font)
        if used + own > width:
            rows.append([])
            used = 0.0
        rows[-1].append((name, color))
        used += own
    return rows


def _room(name: str, font: FreeTypeFont) -> float:
    """Columns of a name with its colour before it, and the gap to the next."""
    return _SWATCH + _GAP / 2 + float(font.getlength(name)) + 1.5 * _GAP


def _write(pen: ImageDraw, row: Sequence[tuple[str, Color]], font: FreeTypeFont, middle: float, line: float) -> None:
    left = middle - (sum(_room(name, font) for name, _ in row) - 1.5 * _GAP) / 2
    for name, color in row:
        pen.rectangle((left, line - 5, left + _SWATCH, line + 6), fill=color, outline=_EDGE)
        pen.text((left + _SWATCH + _GAP / 2, line), name, fill=_INK, font=font, anchor="lm")
        left += _room(name, font)


def _font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """That of the other pictures: it knows many scripts."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"), size)
