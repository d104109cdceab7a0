"""Splits by areas that somebody drew: polygons that say what is for learning, choosing and testing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.apart import joined, keep_apart
from geohydra.chips.content import Content
from geohydra.chips.footprint import outline, project
from geohydra.chips.given import missing_files, split_called
from geohydra.chips.index import SPLITS, Region
from geohydra.chips.lattice import even
from geohydra.chips.packing import rectangles
from geohydra.chips.splits import Division, Gap
from geohydra.errors import ConfigError, DataError
from geohydra.types import Grid, Scene, Shape, Window

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_FINE = 8
"""Cells to the side of a chip: how closely regions follow the outline of an area."""

_TOUCH = 0.01
"""Pixels by which an outline may miss the edge of a cell and still enclose it."""

Areas = Mapping[str, "BaseGeometry"]
"""One shape a split, in longitude and latitude."""

_LONLAT = "EPSG:4326"


class ByArea:
    """Polygons of any vector format, by `areas`: one file whose `property` names the split, or `{train: file, test: file}`.

    `straddling` says what becomes of chips on an outline: "drop", or "centre": ground is cut into chips side by side, and each goes
    where its centre lies. `rest` is the split of the ground outside all areas; null leaves it out. `buffer`, in metres, is
    left unused around what is for choosing and testing. `digest` tells what the files hold; it is filled in before planning.
    """

    pinned = ("areas",)

    def __init__(
        self,
        *,
        areas: str | dict[Literal["train", "val", "test"], str],
        property: str = "split",
        straddling: Literal["drop", "centre"] = "drop",
        rest: Literal["train", "val", "test"] | None = None,
        buffer: Gap = 0.0,
        digest: str | None = None,  # noqa: ARG002
    ) -> None:
        if not areas:
            raise ValueError("a file, or one for each split, gives the areas")
        self._areas, self._property = areas, property
        self._centres, self._rest, self._buffer = straddling == "centre", rest, buffer

    @property
    def asked(self) -> tuple[str, ...]:
        told = ("train",) if isinstance(self._areas, str) else tuple(self._areas)
        return tuple(split for split in SPLITS if split in told or split == self._rest)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:  # noqa: ARG002
        nowhere = [scene.id for scene in scenes if not scene.grid.crs]
        if nowhere:
            raise DataError(nowhere[0], "has no CRS, so that no area can be laid over it", "split by scene, or give the images a CRS")
        areas = self._read()
        regions = [region for scene in scenes for region in self._regions(scene, areas, chip)]
        kept = keep_apart(regions, scenes, gap=self._buffer, unit="m")
        if not kept:
            problem = f"no chip of {chip.rows} x {chip.cols} pixels fits into the areas"
            raise DataError("chip.split", problem, "check where they lie, or cut smaller chips")
        return Division(tuple(joined(kept)), tuple(_told(kept, scenes)))

    def check(self, parts: Mapping[str, Any]) -> Iterator[ConfigError]:  # noqa: ARG002
        """Files that are not there."""
        yield from missing_files(self._areas, "chip.split.areas")

    def _read(self) -> Areas:
        from shapely import union_all

        if not isinstance(self._areas, str):
            return {split: union_all(_read(uri).geometry.to_numpy()) for split, uri in self._areas.items()}
        frame = _read(self._areas)
        if self._property not in frame.columns:
            hint = f"it has {', '.join(name for name in frame.columns if name != 'geometry') or 'none'}"
            raise DataError(self._areas, f"has no property {self._property!r}", hint)
        shapes: dict[str, list[Any]] = {}
        for name, shape in zip(frame[self._property], frame.geometry, strict=True):
            shapes.setdefault(split_called(str(name), self._areas), []).append(shape)
        return {split: union_all(shapes[split]) for split in SPLITS if split in shapes}

    def _regions(self, scene: Scene, areas: Areas, chip: Shape) -> Iterator[Region]:
        drawn = {split: _in_pixels(area, scene.grid) for split, area in areas.items()}
        if self._rest is not None:
            drawn = _with_rest(drawn, self._rest, scene.grid.shape)
        for split, area in drawn.items():
            windows = _by_centre(area, scene.grid.shape, chip) if self._centres else _enclosed(area, scene.grid.shape, chip)
            yield from (Region(scene.id, window, split) for window in windows)


def _read(uri: str) -> Any:
    import shapely

    from geohydra.vector.read import read_vectors

    frame = read_vectors(uri, crs=_LONLAT, assume_crs=_LONLAT)
    if not shapely.area(frame.geometry.to_numpy()).any():
        raise DataError(uri, "holds no polygon with an area", "give the polygons of what is for learning, choosing and testing")
    return frame


def _in_pixels(area: BaseGeometry, grid: Grid) -> BaseGeometry:
    """An area in longitude and latitude, in columns and rows of a grid; only what lies near it."""
    from shapely import box, make_valid, segmentize, transform

    a, b, c, d, e, f = grid.transform
    inverse = np.linalg.inv(np.array([[a, b], [d, e]]))

    def onto(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((project(points, _LONLAT, grid.crs) - [c, f]) @ inverse.T)

    lonlat = project(outline(grid), grid.crs, _LONLAT)
    low, high = lonlat.min(axis=0), lonlat.max(axis=0)
    around = box(*(low - (high - low)), *(high + (high - low)))
    placed = transform(segmentize(area.intersection(around), float((high - low).max()) / _PIECES), onto)
    return placed if placed.is_valid else make_valid(placed)


_PIECES = 32
"""Edges are bent as they would be on the ground in so many places along a scene."""


def _with_rest(drawn: Mapping[str, BaseGeometry], rest: str, shape: Shape) -> dict[str, BaseGeometry]:
    from shapely import box, union, union_all

    outside = box(0, 0, shape.cols, shape.rows).difference(union_all(list(drawn.values())))
    whole = union(drawn[rest], outside) if rest in drawn else outside
    return {**drawn, rest: whole}


def _by_centre(area: BaseGeometry, shape: Shape, chip: Shape) -> list[Window]:
    """Cells of a chip or a little more, those whose centres lie in an area."""
    from shapely import contains_xy

    rows, cols = even(shape.rows, shape.rows / chip.rows), even(shape.cols, shape.cols / chip.cols)
    windows = [
        Window(row, col, Shape(row_stop - row, col_stop - col)) for row, row_stop in pairwise(rows) for col, col_stop in pairwise(cols)
    ]
    centres = np.array([(window.col + window.shape.cols / 2, window.row + window.shape.rows / 2) for window in windows])
    return [window for window, within in zip(windows, contains_xy(area, centres), strict=True) if within]


def _enclosed(area: BaseGeometry, shape: Shape, chip: Shape) -> list[Window]:
    """Windows wholly within an area, none smaller than a chip, unless the image itself is."""
    from shapely import box, prepare

    prepare(area)
    if not area.intersects(box(0, 0, shape.cols, shape.rows)):
        return []
    if area.buffer(_TOUCH).contains(box(0, 0, shape.cols, shape.rows)):
        return [Window(0, 0, shape)]
    least = Shape(min(chip.rows, shape.rows), min(chip.cols, shape.cols))
    cell = max(1, min(least.rows, least.cols) // _FINE)
    rows, cols = _edges(shape.rows, cell), _edges(shape.cols, cell)
    needed = Shape(min(-(-least.rows // cell), len(rows) - 1), min(-(-least.cols // cell), len(cols) - 1))
    found = rectangles(_cells(area, rows, cols), needed)
    return [_between(rows[part.row], cols[part.col], rows[part.row_stop], cols[part.col_stop]) for part in found]


def _edges(length: int, cell: int) -> list[int]:
    """Borders of cells of so many pixels; the last takes what remains."""
    return [*range(0, length - cell + 1, cell), length]


def _between(row: int, col: int, row_stop: int, col_stop: int) -> Window:
    """By its borders."""
    return Window(row, col, Shape(row_stop - row, col_stop - col))


def _cells(area: BaseGeometry, rows: Sequence[int], cols: Sequence[int]) -> NDArray[np.bool_]:
    """Which cells lie wholly within an area."""
    grown = area.buffer(_TOUCH, join_style="mitre")
    inside = np.zeros((len(rows) - 1, len(cols) - 1), bool)
    for down in (slice(0, len(rows) - 2), slice(len(rows) - 2, len(rows) - 1)):
        for along in (slice(0, len(cols) - 2), slice(len(cols) - 2, len(cols) - 1)):
            part = inside[down, along]
            if part.size:
                corner = rows[down.start], cols[along.start]
                size = rows[down.start + 1] - corner[0], cols[along.start + 1] - corner[1]
                part[...] = _even_cells(grown, corner, size, part.shape)
    return inside


def _even_cells(area: BaseGeometry, corner: tuple[int, int], size: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The same for cells of one size."""
    from affine import Affine
    from rasterio.features import rasterize

    place = Affine(size[1], 0, corner[1], 0, size[0], corner[0])
    centred = rasterize([(area, 1)], shape, transform=place, dtype="uint8")
    crossed = rasterize([(area.boundary, 1)], shape, transform=place, dtype="uint8", all_touched=True)
    return np.asarray((centred == 1) & (crossed == 0))


def _told(regions: Sequence[Region], scenes: Sequence[Scene]) -> list[str]:
    used = {region.scene for region in regions}
    unused = sum(scene.id not in used for scene in scenes)
    size = {scene.id: scene.grid.shape.size for scene in scenes}
    share = sum(region.window.shape.size for region in regions) / sum(size.values())
    notes = [f"The areas hold {share:.0%} of the pixels in which chips can lie."]
    return [*notes, f"{unused} of {len(scenes)} scenes lie in no area: they are not used."] if unused else notes
