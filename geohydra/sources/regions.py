"""Polygon files that say where labels count: the area of interest, and ground to be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import geopandas
import numpy as np
import shapely

from geohydra.errors import DataError
from geohydra.sources.labels import lies_swapped, meet, outside
from geohydra.types import Grid
from geohydra.vector.read import areas, read_features


class Regions:
    """The polygons of any number of files together, asked by place; false where there is no file."""

    def __init__(self, uris: Sequence[str]) -> None:
        self._uris = tuple(uris)
        self._raw: dict[str, geopandas.GeoDataFrame] = {}
        self._frames: dict[tuple[str, str], geopandas.GeoDataFrame] = {}

    def __bool__(self) -> bool:
        return bool(self._uris)

    def check(self, grids: Mapping[str, Grid], what: str) -> None:
        """Raise DataError for a file without an area, and where none of them lies on an image."""
        met = False
        for uri in self._uris:
            for grid in grids.values():
                frame = self._frame(uri, grid.crs)
                if not len(frame) or not float(frame.area.sum()) > 0:
                    self._refuse_swapped(uri, grids)
                    raise DataError(uri, f"holds no polygon with an area, so that no ground is left as {what}", "give polygons")
                met = met or meet(tuple(frame.total_bounds), grid.bounds)
        if self._uris and not met:
            self._refuse_swapped(self._uris[0], grids)
            grid = next(iter(grids.values()))
            raise outside(self._uris[0], tuple(self._frame(self._uris[0], grid.crs).total_bounds), grid.crs, grids, what=f"its {what}")

    def within(self, frame: shapely.Polygon, crs: str) -> shapely.Geometry:
        """The part of all polygons in a frame, both in a CRS."""
        found = [self._near(uri, frame, crs) for uri in self._uris]
        return shapely.union_all(np.concatenate(found)) if found else shapely.Polygon()

    def _near(self, uri: str, frame: shapely.Polygon, crs: str) -> np.ndarray:
        near = self._frame(uri, crs)
        shapes = np.asarray(near.geometry.values, dtype=object)[np.sort(near.sindex.query(frame, predicate="intersects"))]
        return np.asarray(shapely.intersection(shapes, frame), dtype=object)

    def _frame(self, uri: str, crs: str) -> geopandas.GeoDataFrame:
        if uri not in self._raw:
            self._raw[uri] = read_features(uri)
        if (uri, crs) not in self._frames:
            self._frames[uri, crs] = areas(self._raw[uri], crs, uri)
        return self._frames[uri, crs]

    def _refuse_swapped(self, uri: str, grids: Mapping[str, Grid]) -> None:
        raw = self._raw[uri]
        if len(raw) and any(lies_swapped(tuple(raw.total_bounds), raw.crs, grid) for grid in grids.values()):
            raise outside(uri, tuple(raw.total_bounds), str(raw.crs), grids, swapped=True)
