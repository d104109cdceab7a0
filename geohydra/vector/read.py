"""Reading polygons of any format: repaired, and in the CRS that is wanted."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from pyproj.exceptions import CRSError, ProjError

from geohydra import storage
from geohydra.errors import DataError, StoreError
from geohydra.vector.straight import bent
from geohydra.vector.tables import ENDINGS, placed, read_table

_AREAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_PARQUET = {".parquet", ".geoparquet", ".pq"}


def read_vectors(uri: str, *, crs: str, assume_crs: str | None = None, layer: str | None = None) -> geopandas.GeoDataFrame:
    """All features of a file with their properties: valid polygons in `crs`, file order kept, others left out.

    `attrs` of the answer tell of what was mended: `repaired` (invalid polygons made valid), `dropped` (features that
    are empty, or no polygons) and `found` (features in the file). Without a CRS in the file `assume_crs` holds.
    Raises DataError where the file cannot be read, or its place on the ground is not known.
    """
    return areas(read_features(uri, assume_crs=assume_crs, layer=layer), crs, uri)


def read_features(uri: str, *, assume_crs: str | None = None, layer: str | None = None) -> geopandas.GeoDataFrame:
    """The features of a layer, or of a table, as they are: any geometry, in the CRS of the file."""
    frame = _read(uri, layer)
    if frame.crs is not None:
        return frame
    if assume_crs is None:
        hint = "give it one (a shapefile needs its .prj file), or state it with source.label_crs"
        raise DataError(uri, "has no coordinate reference system (CRS)", hint)
    try:
        return frame.set_crs(assume_crs)
    except CRSError as cause:
        raise DataError(uri, f"cannot be placed in {assume_crs} ({cause})", "check source.label_crs") from cause


def areas(frame: geopandas.GeoDataFrame, crs: str, uri: str) -> geopandas.GeoDataFrame:
    """The valid polygons of a frame in another CRS; see `read_vectors`."""
    repaired = _repaired(frame)
    try:
        courses = bent(np.asarray(repaired.geometry.values, dtype=object), repaired.crs, CRS.from_user_input(crs))
        projected = repaired.set_geometry(geopandas.GeoSeries(courses, index=repaired.index, crs=repaired.crs)).to_crs(crs)
    except (CRSError, ProjError) as cause:
        raise DataError(uri, f"cannot be brought into {crs} ({cause})", "check both CRS") from cause
    projected = projected[_finite(projected.geometry)].reset_index(drop=True)
    broken = ~shapely.is_valid(projected.geometry.values) | projected.geometry.is_empty
    if broken.any():
        projected.loc[broken, projected.geometry.name] = shapely.make_valid(projected.geometry.values[broken])
    answer = projected[~projected.geometry.is_empty].reset_index(drop=True)
    answer.attrs = {**frame.attrs, **repaired.attrs, "dropped": repaired.attrs["found"] - len(answer)}
    return answer


def _finite(geometry: Any) -> Any:
    bounds = geometry.bounds.to_numpy()
    return (abs(bounds) < float("inf")).all(axis=1)


def _read(uri: str, layer: str | None) -> geopandas.GeoDataFrame:
    try:
        path = storage.fetch(uri)
    except (OSError, StoreError) as cause:
        raise DataError(uri, f"cannot be fetched ({cause})", "check the address, the network and the credentials") from cause
    if not path.exists():
        raise DataError(uri, "there is no such file", "check the folder and the spelling")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(uri, "the file is empty", "fetch or write it again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = _parsed(uri, path, layer)
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise DataError(uri, "holds a table without geometry", "give a file of polygons")
    return frame


def _parsed(uri: str, path: Path, layer: str | None) -> Any:
    if path.suffix.lower() in ENDINGS:
        return read_table(uri, path)
    try:
        if path.suffix.lower() in _PARQUET:
            return _parquet(uri, path)
        return pyogrio.read_dataframe(path, layer=_layer(uri, path, layer))
    except (DataSourceError, DataLayerError, OSError, ValueError, pyarrow.ArrowException, shapely.errors.GEOSException) as cause:
        fact = str(cause).splitlines()[0]
        raise DataError(uri, f"cannot be read as vectors ({fact})", "give GeoJSON, GeoPackage, GeoParquet or a shapefile") from cause


def _parquet(uri: str, path: Path) -> geopandas.GeoDataFrame:
    """GeoParquet, or a plain table."""
    if b"geo" in (pyarrow.parquet.read_schema(path).metadata or {}):
        return geopandas.read_parquet(path)
    return placed(pandas.read_parquet(path), uri)


def _layer(uri: str, path: Path, wanted: str | None) -> str | None:
    """The layer that is asked for, or the only one that holds geometries."""
    layers = {str(name): kind for name, kind in pyogrio.list_layers(path)}
    if wanted is not None:
        if wanted not in layers:
            raise DataError(uri, f"has no layer {wanted!r}", f"its layers are {', '.join(layers)}")
        return wanted
    drawn = [name for name, kind in layers.items() if kind is not None]
    if len(drawn) > 1:
        raise DataError(uri, f"has {len(drawn)} layers: {', '.join(drawn)}", f"choose one, such as source.label_layer={drawn[0]}")
    return drawn[0] if drawn else None


def _repaired(frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Valid polygons and multipolygons only: lines and points, and such parts of mended polygons, are left out."""
    shapes = shapely.force_2d(frame.geometry.values)
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    mended = np.where(broken, shapely.make_valid(shapes), shapes) if broken.any() else shapes
    areal = np.array([polygons_of(shape) for shape in mended], dtype=object)
    kept = np.isin(shapely.get_type_id(areal), _AREAL) & ~shapely.is_empty(areal)
    answer = frame[kept].set_geometry(geopandas.GeoSeries(areal[kept], index=frame.index[kept], crs=frame.crs))
    answer.attrs = {"found": len(frame), "repaired": int((broken & kept).sum())}
    return answer


def polygons_of(shape: Any) -> Any:
    """The polygons among the parts of a geometry, as one geometry; others are returned as they are."""
    if shape is None or shape.geom_type != "GeometryCollection":
        return shape
    parts = [part for part in shape.geoms if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts)
