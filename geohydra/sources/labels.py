"""Labels of scenes: polygons of any file, with class names, written as GeoParquet for each scene; rasters, looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from pyproj import Transformer
from pyproj.exceptions import ProjError

from geohydra.errors import DataError
from geohydra.raster.read import probe
from geohydra.sources.features import named, widened
from geohydra.sources.label_rules import LabelRules
from geohydra.types import Bounds, Grid
from geohydra.vector.read import areas, read_features


class VectorLabels:
    """One vector file for any number of scenes: parsed once, brought into each CRS once, and asked by place."""

    def __init__(self, uri: str, rules: LabelRules) -> None:
        self.uri = uri
        self._rules = rules
        self._frames: dict[str, geopandas.GeoDataFrame] = {}

    @cached_property
    def _named(self) -> geopandas.GeoDataFrame:
        """All features that have a class, as areas where a buffer makes them so, in the CRS of the file."""
        frame = read_features(self.uri, assume_crs=self._rules.crs, layer=self._rules.layer)
        return widened(named(frame, self._rules, self.uri), self._rules, self.uri)

    def frame(self, crs: str) -> geopandas.GeoDataFrame:
        """All labels in a CRS. `attrs` tell how many `features` there were, and were `repaired`, `dropped`, `thin` and `unnamed`."""
        if crs not in self._frames:
            self._frames[crs] = areas(self._named, crs, self.uri)
        return self._frames[crs]

    def touching(self, grid: Grid) -> geopandas.GeoDataFrame | None:
        """The labels that touch a scene; None where the scene lies outside of all that is labelled."""
        labels = self.frame(grid.crs)
        if not len(labels) or not meet(tuple(labels.total_bounds), grid.bounds):
            return None
        chosen = labels.sindex.query(shapely.Polygon(grid.corners), predicate="intersects")
        return labels.iloc[np.sort(chosen)]

    def swapped(self, grids: Mapping[str, Grid]) -> bool:
        """Whether the labels would lie on an image if x and y changed places, and do not as they are."""
        raw = self._named
        return bool(len(raw)) and any(lies_swapped(tuple(raw.total_bounds), raw.crs, grid) for grid in grids.values())

    def outside(self, grids: Mapping[str, Grid]) -> DataError:
        """That no label lies on any of these images."""
        crs = next(iter(grids.values())).crs
        frame = self.frame(crs)
        bounds, crs = (frame.total_bounds, crs) if len(frame) else (self._named.total_bounds, str(self._named.crs))
        return outside(self.uri, tuple(bounds), crs, grids, swapped=self.swapped(grids))

    def notes(self) -> list[str]:
        """What was mended or left out, a sentence each."""
        if not self._frames:
            return []
        told = next(iter(self._frames.values())).attrs
        thin = "; points and lines need source.buffer, a radius in metres" if told.get("thin") else ""
        texts = {
            "repaired": "invalid polygons were repaired",
            "dropped": f"features were left out: they are empty or no polygons{thin}",
            "unnamed": "features were left out: they have no class, or source.class_mapping leaves them out",
        }
        return [f"{self.uri}: {told[key]} of {told['features']} {text}" for key, text in texts.items() if told.get(key)]


def write_labels(frame: geopandas.GeoDataFrame, path: Path) -> str:
    """Write labels as GeoParquet; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.reset_index(drop=True).to_parquet(path, index=False, compression="zstd")
    return str(path)


def counted(frame: geopandas.GeoDataFrame) -> dict[str, int]:
    """Features by class."""
    return {str(name): int(count) for name, count in sorted(Counter(frame["class"]).items())}


def outside(
    uri: str, bounds: Sequence[float], crs: str, grids: Mapping[str, Grid], *, swapped: bool = False, what: str = "its labels"
) -> DataError:
    """Labels that lie outside of all images: where both are, and whether they lie on one with x and y swapped."""
    name, grid = next(iter(grids.items()))
    images = f"{len(grids)} images, such as {name} with" if len(grids) > 1 else f"the image {name} with"
    problem = f"{what} at {_told(bounds)} ({_short(crs)}) lie outside of {images} {_told(grid.bounds)} ({_short(grid.crs)})"
    if swapped:
        hint = "x and y (longitude and latitude) are swapped in it: in the other order they would lie on the images"
        return DataError(uri, problem, hint)
    return DataError(uri, problem, "check the CRS of both, and whether longitude and latitude are in this order")


def lies_swapped(bounds: Sequence[float], crs: Any, grid: Grid) -> bool:
    """Whether bounds in a CRS meet an image once x and y change places, and do not as they are."""
    left, bottom, right, top = bounds
    if not grid.crs or not crs or not np.isfinite(bounds).all() or _placed_on((left, bottom, right, top), crs, grid):
        return False
    return _placed_on((bottom, left, top, right), crs, grid)


def _placed_on(bounds: Bounds, crs: Any, grid: Grid) -> bool:
    try:
        there = Transformer.from_crs(crs, grid.crs, always_xy=True).transform_bounds(*bounds)
    except ProjError:
        return False
    return bool(np.isfinite(there).all()) and meet(there, grid.bounds)


def check_raster(uri: str, grid: Grid, scene: str) -> None:
    """Raise DataError where a label raster cannot serve a scene: no whole numbers, no place, or another place."""
    header = probe(uri, allow_no_crs=True)
    if np.dtype(header.dtypes[0]).kind not in "iu":
        raise DataError(uri, f"holds {header.dtypes[0]} pixels, labels are whole numbers", "convert it to uint8 or uint16")
    if not header.grid.crs or not grid.crs:
        _refuse_other_pixels(uri, header.grid, grid, scene)
        return
    across = Transformer.from_crs(header.grid.crs, grid.crs, always_xy=True)
    left, bottom, right, top = across.transform_bounds(*header.grid.bounds)
    if not meet((left, bottom, right, top), grid.bounds):
        swapped = lies_swapped(header.grid.bounds, header.grid.crs, grid)
        raise outside(uri, header.grid.bounds, header.grid.crs, {scene: grid}, swapped=swapped)


def _refuse_other_pixels(uri: str, labels: Grid, grid: Grid, scene: str) -> None:
    """Without a CRS on one side, labels must lie on the pixels of their image one by one."""
    if labels.shape == grid.shape and (not grid.crs or labels.transform == grid.transform):
        return
    sizes = f"{labels.shape.rows} x {labels.shape.cols} pixels, its image {scene} {grid.shape.rows} x {grid.shape.cols}"
    problem = f"does not lie on the pixels of its image, and without a CRS it cannot be warped: it has {sizes}"
    raise DataError(uri, problem, "give both a CRS")


def meet(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two bounds touch."""
    return bool(one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3])


def _told(bounds: Sequence[float]) -> str:
    return "({})".format(", ".join(f"{value:.8g}" for value in bounds))


def _short(crs: str) -> str:
    return crs if len(crs) < 30 else crs[:27] + "..."
