"""Answers for parcels: polygons of a scene, what its map says of each, and what each looked like on every date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.types import IGNORE, Grid, Image, Scene, Series, Shape, Window
from geohydra.vector.labels import VectorGround

if TYPE_CHECKING:
    import geopandas

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROWS = Shape(256, 4096)
"""Of a map, read at once."""

_OURS = ("id", "scene", "class", "score", "pixels", "area_m2", "label")


@dataclass(frozen=True, slots=True)
class Parcels:
    """Polygons by their numbers from 0: as rows of a table, and as pixels of a grid. `labelled`: their classes are known."""

    frame: geopandas.GeoDataFrame
    ground: VectorGround
    labelled: bool

    def __len__(self) -> int:
        return len(self.frame)

    def pixels(self, window: Window) -> tuple[Ints, Ints]:
        """Of each pixel of a window that lies in a parcel, in the order of parcels: its place (row after row) and its parcel."""
        found = self.ground.instances(window)
        flat = found.ids.ravel()
        inside = np.flatnonzero(flat)
        owners = found.objects.numbers[flat[inside].astype(np.int64) - 1] if inside.size else np.empty(0, np.int64)
        order = np.argsort(owners, kind="stable")
        return inside[order], owners[order]


def parcels_of(scene: Scene, uri: str | None, folder: Path) -> Parcels | None:
    """The polygons of a file that lie on the scene, else those of its labels; None where there are none. `folder` is for a copy."""
    import geopandas

    if uri is not None:
        frame = _placed(uri, scene.grid)
        if not len(frame):
            return None
        path = folder / f"parcels-{scene.id}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        labelled = "class" in frame.columns
        (frame if labelled else frame.assign(**{"class": ""})).to_parquet(path, index=False)
        return Parcels(frame, VectorGround(str(path), scene.grid), labelled)
    labels = scene.labels
    if labels is None or labels.kind != "vector" or labels.where:
        return None
    from geohydra import storage

    frame = geopandas.read_parquet(storage.fetch(labels.uri))
    ground = VectorGround(labels.uri, scene.grid, priority=labels.priority)
    return Parcels(frame, ground, True) if len(frame) else None


class ParcelCurves:
    """Means of every band on every date, for each parcel; is shown a scene window by window, see `geohydra.prediction.scan.Watch`."""

    def __init__(self, parcels: Parcels, bands: Sequence[str], times: Sequence[datetime]) -> None:
        self._parcels, self.bands, self.times = parcels, tuple(bands), tuple(times)
        self._fresh = Fresh()
        self._counts = np.zeros((len(times), len(parcels)), np.int64)
        self._sums = np.zeros((len(times), len(bands), len(parcels)), np.float64)

    def __call__(self, window: Window, image: Image | Series) -> None:
        """Add the pixels of a window that were not there before."""
        part = self._fresh(window)
        if part is None or not isinstance(image, Series):
            return
        places, owners = self._parcels.pixels(part)
        if not places.size:
            return
        rows, cols = part.shift(-window.row, -window.col).slices
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        here = owners[starts]
        for date, (pixels, valid) in enumerate(zip(image.pixels, image.valid, strict=True)):
            known = valid[rows, cols].reshape(-1)[places]
            values = pixels[:, rows, cols].reshape(len(pixels), -1)[:, places].astype(np.float64)
            self._counts[date, here] += np.add.reduceat(known.astype(np.int64), starts)
            self._sums[date][:, here] += np.add.reduceat(np.where(known, values, 0), starts, axis=1)

    def table(self) -> dict[str, Any]:
        """A row for each date and parcel that was seen on it."""
        dates, numbers = np.nonzero(self._counts)
        means = self._sums[dates, :, numbers] / np.maximum(self._counts[dates, numbers], 1)[:, None]
        days = np.array([np.datetime64(time.date()) for time in self.times], "datetime64[D]")
        bands = {band: means[:, place].astype(np.float32) for place, band in enumerate(self.bands)}
        return {"id": numbers + 1, "date": days[dates], "pixels": self._counts[dates, numbers]} | bands


class PixelSample:
    """Pixels evenly spread over a scene with all their dates: to tell, once the map is there, what its classes look like."""

    def __init__(self, grid: Grid, times: Sequence[datetime], *, most: int = 1 << 14) -> None:
        self._step = max(1, int(np.ceil(np.sqrt(grid.shape.size / most))))
        self._fresh, self._times = Fresh(), tuple(times)
        self._kept: list[tuple[Ints, Ints, NDArray[Any], NDArray[np.bool_]]] = []

    def __call__(self, window: Window, image: Image | Series) -> None:
        """Keep some pixels of a window."""
        part = self._fresh(window)
        if part is None or not isinstance(image, Series):
            return
        rows, cols = (
            np.arange(-(-start // self._step) * self._step, stop, self._step)
            for start, stop in ((part.row, part.row_stop), (part.col, part.col_stop))
        )
        down, along = (values.reshape(-1) for values in np.meshgrid(rows, cols, indexing="ij"))
        at = (..., down - window.row, along - window.col)
        self._kept.append((down, along, image.pixels[at], image.valid[at]))

    def series(self) -> tuple[Series, Ints, Ints]:
        """All of them as one row of pixels, and the rows and columns where they lie."""
        down, along, pixels, valid = (np.concatenate(parts, axis=-1) for parts in zip(*self._kept, strict=True))
        return Series(pixels[:, :, None], valid[:, None], self._times), down, along


class Fresh:
    """Of windows that come from the top, from the left: the part in which none of those before lay."""

    def __init__(self) -> None:
        self._row = -1
        self._above = self._below = self._right = 0

    def __call__(self, window: Window) -> Window | None:
        if window.row != self._row:
            self._row, self._above, self._right = window.row, self._below, 0
            self._below = window.row_stop
        row, col = max(window.row, self._above), max(window.col, self._right)
        self._right = max(self._right, window.col_stop)
        rows, cols = window.row_stop - row, window.col_stop - col
        return Window(row, col, Shape(rows, cols)) if rows > 0 and cols > 0 else None


def mapped(parcels: Parcels, folder: Path, classes: int, grid: Grid) -> tuple[Floats, Ints]:
    """Mean probability of each class over the measured pixels of each parcel `(parcel, class)`, and how many there are.

    Where the map has no probabilities, the share of pixels of each class.
    """
    from geohydra.raster.files import open_raster

    levels = folder / "probabilities.tif"
    total, counts = np.zeros((len(parcels), classes)), np.zeros(len(parcels), np.int64)
    with open_raster(str(levels if levels.exists() else folder / "classes.tif")) as dataset:
        scale = dataset.scales[0]
        for window, pixels in _read(dataset, grid.shape):
            places, owners = parcels.pixels(window)
            values = pixels.reshape(len(pixels), -1)[:, places]
            known = values[0] != (dataset.nodata if levels.exists() else IGNORE)
            known &= ~np.isnan(values[0].astype(np.float64))
            owners, values = owners[known], values[:, known]
            chances = values * scale if levels.exists() else np.eye(classes)[values[0]].T
            counts += np.bincount(owners, minlength=len(parcels))
            for place in range(classes):
                total[:, place] += np.bincount(owners, chances[place], len(parcels))
    return total / np.maximum(counts, 1)[:, None], counts


def class_columns(chances: Floats, counts: Ints, classes: Sequence[str], *, background: str | None) -> dict[str, Any]:
    """Columns of a table of parcels: the class, its score and the probability of every class; none where nothing was measured.

    A parcel is never background, unless nothing else is possible.
    """
    allowed = chances.copy()
    if background is not None:
        allowed[:, list(classes).index(background)] = -1.0
    best = allowed.argmax(axis=1)
    known = counts > 0
    names = [classes[place] if seen else None for place, seen in zip(best, known, strict=True)]
    scores = np.where(known, chances[np.arange(len(best)), best], np.nan).astype(np.float32)
    rest = {f"probability_{name}": np.where(known, chances[:, place], np.nan).astype(np.float32) for place, name in enumerate(classes)}
    return {"class": names, "score": scores, "pixels": counts} | rest


def write_parcels(path: Path, parcels: Parcels, columns: Mapping[str, Any]) -> None:
    """GeoParquet: `id` (from 1, as in the file), the columns, `area_m2`, `label` where classes are known, and what else the file tells.
    Ids are those of one scene; its name is among the columns."""
    import geopandas

    from geohydra.vector.area import pixel_area

    frame = parcels.frame
    grid = parcels.ground.grid
    square = float(np.prod(grid.resolution)) or 1.0
    areas = frame.geometry.area.to_numpy() * (pixel_area(grid) / square)
    told: dict[str, Any] = {"id": np.arange(1, len(frame) + 1, dtype=np.int64)} | dict(columns) | {"area_m2": areas}
    if parcels.labelled:
        told["label"] = frame["class"].to_numpy()
    own = {name: frame[name].to_numpy() for name in frame.columns if name not in ("geometry", "class")}
    told |= {name if name not in (*_OURS, *told) else f"source_{name}": values for name, values in own.items()}
    geopandas.GeoDataFrame(told, geometry=frame.geometry.to_numpy(), crs=frame.crs).to_parquet(path, index=False, compression="zstd")


def _placed(uri: str, grid: Grid) -> geopandas.GeoDataFrame:
    """The polygons of a file that touch a scene, in the CRS of its grid."""
    import shapely

    from geohydra.vector.read import read_vectors

    frame = read_vectors(uri, crs=grid.crs, assume_crs=grid.crs)
    near = frame.sindex.query(shapely.Polygon(grid.corners), predicate="intersects")
    return frame.iloc[np.sort(near)].reset_index(drop=True)


def _read(dataset: Any, shape: Shape) -> Iterator[tuple[Window, NDArray[Any]]]:
    from rasterio.windows import Window as RasterWindow

    for row in range(0, shape.rows, _ROWS.rows):
        for col in range(0, shape.cols, _ROWS.cols):
            window = Window(row, col, _ROWS).clip(shape)
            if window is not None:
                yield window, dataset.read(window=RasterWindow(window.col, window.row, window.shape.cols, window.shape.rows))
