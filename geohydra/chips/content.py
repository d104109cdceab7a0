"""Roughly how much of each class lies where: labels sampled on a coarse grid, for fair splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geohydra.types import IGNORE, Grid, Scene, Shape, Window

_SIDE = 512
"""Rows and columns of a coarse grid, at most."""


class Content:
    """Looks at the labels of a scene once, when first asked."""

    def __init__(self, scenes: Sequence[Scene], classes: Sequence[str]) -> None:
        self._scenes = {scene.id: scene for scene in scenes}
        self._ids = {name: place for place, name in enumerate(classes)}
        self._masks: dict[str, NDArray[np.uint8]] = {}

    def weights(self, scene: str, window: Window) -> NDArray[np.float64]:
        """Pixels of a window inside a scene: all of them, then those of each class, about."""
        mask = self.mask(scene)
        grid = self._scenes[scene].grid.shape
        rows, cols = mask.shape[0] / grid.rows, mask.shape[1] / grid.cols
        part = mask[
            int(window.row * rows) : max(int(window.row_stop * rows), int(window.row * rows) + 1),
            int(window.col * cols) : max(int(window.col_stop * cols), int(window.col * cols) + 1),
        ]
        counts = np.bincount(part.ravel(), minlength=len(self._ids))[: len(self._ids)]
        return np.concatenate([[1.0], counts / max(part.size, 1)]) * window.shape.size

    def mask(self, scene: str) -> NDArray[np.uint8]:
        """Class ids of a whole scene in few pixels, IGNORE where there is no label."""
        if scene not in self._masks:
            self._masks[scene] = _coarse_mask(self._scenes[scene], self._ids)
        return self._masks[scene]


def coarse(grid: Grid) -> Grid:
    """The same ground in at most `_SIDE` rows and columns, as a scene's preview would show it."""
    rows, cols = min(grid.shape.rows, _SIDE), min(grid.shape.cols, _SIDE)
    high, wide = grid.shape.rows / rows, grid.shape.cols / cols
    a, b, c, d, e, f = grid.transform
    return Grid(grid.crs, (a * wide, b * high, c, d * wide, e * high, f), Shape(rows, cols))


def _coarse_mask(scene: Scene, ids: dict[str, int]) -> NDArray[np.uint8]:
    from geohydra.ground import open_ground

    grid = coarse(scene.grid)
    ground = open_ground(replace(scene, grid=grid))
    if ground is None:
        return np.full((grid.shape.rows, grid.shape.cols), IGNORE, np.uint8)
    return np.asarray(ground.mask(Window(0, 0, grid.shape), ids=ids, background=IGNORE))
