"""Outlines of objects drawn over a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]


def drawn(rgb: Rgb, rings: Sequence[NDArray[Any]], colors: Sequence[tuple[int, int, int]], *, zoom: int = 1, width: int = 2) -> Rgb:
    """A picture `(row, col, 3)`, `zoom` times as large, with closed lines over it, a colour each.

    Rings are `(corner, 2)`, rows and columns in pixels of the picture as given, from edge to edge; parts outside are not seen.
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(np.repeat(np.repeat(rgb, zoom, axis=0), zoom, axis=1))
    pen = ImageDraw.Draw(picture)
    for ring, color in zip(rings, colors, strict=True):
        points = [(float(col) * zoom - 0.5, float(row) * zoom - 0.5) for row, col in ring]
        pen.line([*points, *points[:2]], fill=tuple(color), width=width, joint="curve")
    return np.asarray(picture)


def rings_of(boxes: NDArray[Any]) -> NDArray[Any]:
    """The four corners `(n, 4, 2)` of boxes `(top, left, bottom, right)`, in turn: rows and columns."""
    top, left, bottom, right = np.asarray(boxes).reshape(-1, 4).T
    return np.stack([np.stack([top, top, bottom, bottom], 1), np.stack([left, right, right, left], 1)], 2)
