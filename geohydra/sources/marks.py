"""Boxes and outlines drawn on an image, in its pixels: brought onto the grid of its scene and written as labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geohydra.types import Grid, LabelAsset


@dataclass(slots=True)
class Marks:
    """Shapes in columns and rows of an image (shapely), the class of each, and more columns by name."""

    shapes: list[Any] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, shape: Any, name: str, told: Mapping[str, Any] | None = None) -> None:
        """One more, with a value for each column."""
        self.shapes.append(shape)
        self.classes.append(name)
        for key, value in (told or {}).items():
            self.columns.setdefault(key, []).append(value)

    def counts(self) -> dict[str, int]:
        """Marks by class."""
        return dict(sorted(Counter(self.classes).items()))


def box(left: float, top: float, right: float, bottom: float) -> Any:
    """A box in columns and rows."""
    import shapely

    return shapely.box(min(left, right), min(top, bottom), max(left, right), max(top, bottom))


def polygon(points: Sequence[float]) -> Any:
    """An outline from `column, row, column, row, ...`; valid, or empty where it holds no area."""
    import shapely

    pairs = list(zip(points[::2], points[1::2], strict=True))
    shape = shapely.Polygon(pairs) if len(pairs) >= 3 else shapely.Polygon()
    return shape if shape.is_valid else shapely.make_valid(shape)


def write_marks(marks: Marks, grid: Grid, path: Path) -> LabelAsset:
    """A GeoParquet file of them."""
    frame = on_grid(marks, grid)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False, compression="zstd")
    return LabelAsset(str(path), "vector", classes=tuple(marks.counts()))


def on_grid(marks: Marks, grid: Grid) -> Any:
    """A table (geopandas) in the CRS of the grid; in pixels, with rows downwards, where that has none."""
    import geopandas
    from shapely import affinity

    a, b, c, d, e, f = grid.transform
    shapes = [affinity.affine_transform(shape, (a, b, d, e, c, f)) for shape in marks.shapes]
    return geopandas.GeoDataFrame({"class": marks.classes, **marks.columns}, geometry=shapes, crs=grid.crs or None)


def moved(shape: Any, own: Grid, grid: Grid) -> Any:
    """A shape in columns and rows of one grid in those of another of the same CRS."""
    import numpy as np
    from shapely import affinity

    if own == grid:
        return shape
    there, here = (np.array([[*one.transform[:3]], [*one.transform[3:]], [0, 0, 1]]) for one in (own, grid))
    across = np.linalg.inv(here) @ there
    return affinity.affine_transform(shape, (*across[0, :2], *across[1, :2], across[0, 2], across[1, 2]))


def usable(shape: Any, grid: Grid) -> bool:
    """Whether a mark has an area, and some of it lies on the image."""
    left, top, right, bottom = shape.bounds if not shape.is_empty else (0, 0, 0, 0)
    return bool(shape.area > 0 and left < grid.shape.cols and right > 0 and top < grid.shape.rows and bottom > 0)
