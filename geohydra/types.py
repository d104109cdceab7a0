"""Immutable values that all parts share: shapes, windows, grids, images, scenes.

Rows come before columns everywhere; arrays are `(band, row, col)`. A transform is the six numbers
`(a, b, c, d, e, f)` of the affine map from pixel corners to the ground: `x = a*col + b*row + c`,
`y = d*col + e*row + f`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Bounds = tuple[float, float, float, float]
"""`(left, bottom, right, top)`, in the units of the CRS that goes with it."""

IGNORE = 255
"""The label of a pixel that counts neither in a loss nor in a metric (uint8 labels)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows and columns, both at least one."""

    rows: int
    cols: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise ValueError(f"a shape needs at least one row and one column, not {self.rows} x {self.cols}")

    @property
    def size(self) -> int:
        """Pixels."""
        return self.rows * self.cols


PIXEL = Shape(1, 1)


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels: its upper left corner and its shape. It may reach beyond its image."""

    row: int
    col: int
    shape: Shape

    @property
    def row_stop(self) -> int:
        """First row below the window."""
        return self.row + self.shape.rows

    @property
    def col_stop(self) -> int:
        """First column right of the window."""
        return self.col + self.shape.cols

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices, for an array that holds the whole image."""
        return slice(self.row, self.row_stop), slice(self.col, self.col_stop)

    def within(self, image: Shape) -> bool:
        """Whether no pixel lies outside an image of this shape."""
        return self.row >= 0 and self.col >= 0 and self.row_stop <= image.rows and self.col_stop <= image.cols

    def clip(self, image: Shape) -> Window | None:
        """The part inside an image of this shape; None where there is none."""
        return self.intersect(Window(0, 0, image))

    def intersect(self, other: Window) -> Window | None:
        """The pixels common to both; None where there are none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        rows, cols = min(self.row_stop, other.row_stop) - row, min(self.col_stop, other.col_stop) - col
        return Window(row, col, Shape(rows, cols)) if rows > 0 and cols > 0 else None

    def times(self, cell: Shape) -> Window:
        """A window of cells, in pixels."""
        return Window(self.row * cell.rows, self.col * cell.cols, Shape(self.shape.rows * cell.rows, self.shape.cols * cell.cols))

    def shift(self, rows: int, cols: int) -> Window:
        """The window of the same shape, so many rows down and columns right."""
        return Window(self.row + rows, self.col + cols, self.shape)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where pixels lie on the ground: CRS (any text that PROJ reads), transform, shape.

    A CRS of "" means pixel coordinates without a place on the ground.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: Shape

    def __post_init__(self) -> None:
        a, b, _, d, e, _ = self.transform
        if a * e - b * d == 0:
            raise ValueError(f"the transform {self.transform} maps all pixels onto a line")

    def at(self, window: Window) -> Grid:
        """The grid of a window of this one."""
        a, b, c, d, e, f = self.transform
        moved = (a, b, a * window.col + b * window.row + c, d, e, d * window.col + e * window.row + f)
        return Grid(self.crs, moved, window.shape)

    def coarse(self, cell: Shape) -> Grid:
        """The grid of cells of so many pixels; the last ones of a row or column may reach beyond this grid."""
        a, b, c, d, e, f = self.transform
        shape = Shape(-(-self.shape.rows // cell.rows), -(-self.shape.cols // cell.cols))
        return Grid(self.crs, (a * cell.cols, b * cell.rows, c, d * cell.cols, e * cell.rows, f), shape)

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """Ground coordinates of the four outer corners: upper left, upper right, lower right, lower left."""
        a, b, c, d, e, f = self.transform
        rows, cols = self.shape.rows, self.shape.cols
        ends = ((0, 0), (cols, 0), (cols, rows), (0, rows))
        return tuple((a * col + b * row + c, d * col + e * row + f) for col, row in ends)

    @property
    def bounds(self) -> Bounds:
        """The smallest upright rectangle around the corners."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def resolution(self) -> tuple[float, float]:
        """Height and width of one pixel on the ground, in units of the CRS."""
        a, b, _, d, e, _ = self.transform
        return float(np.hypot(b, e)), float(np.hypot(a, d))

    @property
    def upright(self) -> bool:
        """Whether rows run along a parallel: no rotation, no shear."""
        return self.transform[1] == 0 and self.transform[3] == 0


@dataclass(frozen=True, slots=True)
class Image:
    """Pixels `(band, row, col)` in the dtype of the file, and which of them were measured `(row, col)`."""

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[1:] != self.valid.shape:
            raise ValueError(f"pixels {self.pixels.shape} and validity {self.valid.shape} do not match")

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Where there is anything to learn from `(row, col)`."""
        return self.valid


@dataclass(frozen=True, slots=True)
class Series:
    """Pixels `(time, band, row, col)` in the dtype of the files, which were measured `(time, row, col)`, and when, in order."""

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    times: tuple[datetime, ...]

    def __post_init__(self) -> None:
        times, _, *shape = self.pixels.shape
        if self.pixels.ndim != 4 or self.valid.shape != (times, *shape) or len(self.times) != times:
            raise ValueError(f"pixels {self.pixels.shape}, validity {self.valid.shape} and {len(self.times)} times do not match")
        if list(self.times) != sorted(self.times):
            raise ValueError("the times of a series are not in order")

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Where any acquisition is valid `(row, col)`."""
        return np.asarray(self.valid.any(axis=0))

    @property
    def days(self) -> NDArray[np.int32]:
        """When, in whole days since 1970-01-01 (UTC)."""
        return np.array([_day(time) for time in self.times], np.int32)

    def at(self, place: int) -> Image:
        """One acquisition."""
        return Image(self.pixels[place], self.valid[place])

    def some(self, places: Sequence[int]) -> Series:
        """Some acquisitions, in the order of time."""
        chosen = sorted(places)
        return Series(self.pixels[chosen], self.valid[chosen], tuple(self.times[place] for place in chosen))

    def seen(self) -> Series:
        """Without acquisitions in which nothing is valid: they tell nothing."""
        places = np.flatnonzero(self.valid.any(axis=(1, 2))).tolist()
        return self if len(places) == len(self.times) else self.some(places)


Resampling = Literal["nearest", "bilinear", "cubic", "average", "mode"]
"""How pixels of one grid become pixels of another; what they mean is told by GDAL's documentation."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One raster file of a scene: which bands it brings, and where they stand in it (indexes from 1).

    `time` is when it was taken, where a scene holds several acquisitions. Assets with the same band and time are a mosaic: of
    those that are valid at a pixel the first one counts. What is measured is `scale * number + offset`, one of each
    a band; where both are empty, the numbers themselves.
    """

    uri: str
    bands: tuple[str, ...]
    indexes: tuple[int, ...]
    dtype: str
    nodata: float | None = None
    time: datetime | None = None
    resampling: Resampling = "bilinear"
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.bands) != len(self.indexes) or not self.bands:
            raise ValueError(f"{self.uri}: {len(self.bands)} band names for {len(self.indexes)} bands")
        for numbers in (self.scale, self.offset):
            if numbers and len(numbers) != len(self.bands):
                raise ValueError(f"{self.uri}: {len(numbers)} scales or offsets for {len(self.bands)} bands")


@dataclass(frozen=True, slots=True)
class MaskAsset:
    """A band that tells where an acquisition is no measurement, as of clouds: by `values`, or by `bits` that are set (from 0).

    Without a `time` it holds for all acquisitions of its scene. It comes onto the grid by nearest neighbour.
    """

    uri: str
    index: int = 1
    values: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class LabelAsset:
    """The labels of one scene, as ingest wrote or found them.

    kind "vector": a GeoParquet file of valid polygons in the CRS of the scene's grid, with a text column `class`; of these only the rows
    that have the values of `where` in the columns it names, such as those of one frame.
    kind "whole": all of the scene is of `classes`; `uri` is that of its image.
    kind "raster": any raster on any grid; `values` maps its pixel values to class names, others are unlabelled, and values
    that are mapped to None are ground that counts neither in a loss nor in a metric.

    kind "values": a number a pixel, of the one band of the assets in `measured`.

    Such ground is also what the polygons in `ignored` cover (a GeoParquet file in the CRS of the scene's grid), whatever is labelled
    there, and what is unlabelled where `unlabelled` is "ignore". Where two labels cover a pixel, a class that stands earlier in
    `priority` lies above a later one and above those that are not in it; else the order of a task's classes counts.
    """

    uri: str
    kind: str
    values: Mapping[int, str | None] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    ignored: str | None = None
    unlabelled: Literal["background", "ignore"] = "background"
    priority: tuple[str, ...] = ()
    measured: tuple[Asset, ...] = ()
    where: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Steps:
    """Regular steps of a series: `days` long from `start` on (else the first acquisition), or months where `days` is None. `how` says what
    stands for a step: see `geohydra.raster.steps`."""

    days: int | None = None
    how: str = "median"
    start: datetime | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """One place at one or more times: rasters, all to be read onto `grid`, what masks them, and labels if any.

    `composite` says how several acquisitions become one image, where a task asks for one: "median", "first" (valid), or another
    name that `geohydra.raster.series` knows. `series`: all acquisitions are read, not one image; the `view` of a task of series says so;
    with `steps`, what stands for each step is read in their place.
    """

    id: str
    grid: Grid
    assets: tuple[Asset, ...]
    labels: LabelAsset | None = None
    time: datetime | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    masks: tuple[MaskAsset, ...] = ()
    composite: str | None = None
    series: bool = False
    steps: Steps | None = None

    @property
    def bands(self) -> tuple[str, ...]:
        """Band names, in the order of the assets, each once."""
        return tuple(dict.fromkeys(band for asset in self.assets for band in asset.bands))

    @property
    def times(self) -> tuple[datetime, ...]:
        """When its acquisitions were taken, in order; empty where its assets tell no time of their own."""
        return tuple(sorted({asset.time for asset in self.assets if asset.time is not None}))

    def at(self, time: datetime) -> Scene:
        """One acquisition: the assets and masks of this time, and those without a time."""
        assets = tuple(replace(asset, time=None) for asset in self.assets if asset.time in (time, None))
        masks = tuple(replace(mask, time=None) for mask in self.masks if mask.time in (time, None))
        return replace(self, assets=assets, masks=masks, time=time, composite=None, series=False)


@dataclass(frozen=True, slots=True)
class LockEntry:
    """One file that a plan stands on, as a cheap listing shows it: never opened for this.

    `time` is when it was taken (ISO 8601), and `item` what a catalogue tells of it and its source needs again: both are there only
    where a catalogue told them.
    """

    uri: str
    size: int | None = None
    etag: str | None = None
    modified: str | None = None
    role: str = "image"
    time: str | None = None
    item: Mapping[str, Any] | None = field(default=None, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """Only what is known, for JSON."""
        known = {
            "uri": self.uri,
            "size": self.size,
            "etag": self.etag,
            "modified": self.modified,
            "role": self.role,
            "time": self.time,
            "item": self.item,
        }
        return {key: value for key, value in known.items() if value is not None}


def _day(time: datetime) -> int:
    moment = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).days


def tile_windows(image: Shape, size: Shape, stride: Shape) -> Iterator[Window]:
    """Windows of `size` every `stride`, row by row, that together cover the whole image.

    The last window of a row or column is moved back inside; an image smaller than a window gets one window
    that reaches beyond it.
    """
    for row in _starts(image.rows, size.rows, stride.rows):
        for col in _starts(image.cols, size.cols, stride.cols):
            yield Window(row, col, size)


def _starts(length: int, size: int, stride: int) -> list[int]:
    if length <= size:
        return [0]
    starts = list(range(0, length - size, stride))
    return [*starts, length - size]
