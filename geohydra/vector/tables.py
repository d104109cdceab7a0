"""Features of a table: CSV or Parquet with WKT, with corners of boxes, or with the coordinates of points."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import shapely

from geohydra.errors import DataError

_WKT = ("wkt", "geometry", "geom", "the_geom", "wkt_geom", "polygonwkt_geo")
_BOXES = (("xmin", "ymin", "xmax", "ymax"), ("left", "bottom", "right", "top"), ("west", "south", "east", "north"))
_DEGREES = (("lon", "lat"), ("long", "lat"), ("lng", "lat"), ("longitude", "latitude"))
_POINTS = (*_DEGREES, ("x", "y"), ("easting", "northing"), ("e", "n"))
_LONLAT = "EPSG:4326"
_CODED = re.compile(r"\bx_epsg(?P<code>\d+)\b(?=.*\by_epsg(?P=code)\b)")
ENDINGS = (".csv", ".tsv", ".txt")


def read_table(uri: str, path: Path) -> geopandas.GeoDataFrame:
    """The rows of a CSV file (comma, semicolon, tab or bar) as features."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        head = file.readline()
    sign = max(",;\t|", key=head.count)
    try:
        return placed(pandas.read_csv(path, sep=sign, encoding="utf-8-sig", quoting=csv.QUOTE_MINIMAL), uri)
    except (ValueError, UnicodeDecodeError) as cause:
        raise DataError(uri, f"cannot be read as a table ({str(cause).splitlines()[0]})", "give a CSV file in UTF-8") from cause


def placed(table: pandas.DataFrame, uri: str) -> geopandas.GeoDataFrame:
    """A table as features: by a column of WKT, by the corners of boxes, or by coordinates of points, under their usual names.

    Longitude and latitude are WGS 84; the CRS of others is left open, unless each WKT tells the same SRID, or columns do as x_epsg32632.
    """
    columns = {str(name).strip().lower(): name for name in table.columns}
    for name in _WKT:
        if name in columns:
            return _by_wkt(table, columns[name], uri)
    for corners in _BOXES:
        if set(corners) <= set(columns):
            return _made(table, shapely.box(*(_numbers(table, columns[name], uri) for name in corners)), None)
    for pair in _POINTS:
        if set(pair) <= set(columns):
            points = shapely.points(*(_numbers(table, columns[name], uri) for name in pair))
            return _made(table, points, _LONLAT if pair in _DEGREES else None)
    told_crs = _CODED.search(" ".join(columns))
    if told_crs:
        code = told_crs["code"]
        points = shapely.points(*(_numbers(table, columns[f"{axis}_epsg{code}"], uri) for axis in ("x", "y")))
        return _made(table, points, f"EPSG:{code}")
    told = ", ".join(map(str, table.columns)) or "none"
    hint = "columns lon and lat, x and y, xmin, ymin, xmax and ymax, or wkt are needed"
    raise DataError(uri, f"holds a table without geometry; its columns are {told}", hint)


def _by_wkt(table: pandas.DataFrame, column: Any, uri: str) -> geopandas.GeoDataFrame:
    texts = [text if isinstance(text, str) and text.strip() else None for text in table[column]]
    srids = {text.split(";", 1)[0].upper() for text in texts if text and text.upper().startswith("SRID=")}
    bare = [text.split(";", 1)[-1] if text and text.upper().startswith("SRID=") else text for text in texts]
    try:
        shapes = shapely.from_wkt(np.array(bare, dtype=object))
    except (shapely.errors.GEOSException, TypeError) as cause:
        raise DataError(
            uri, f"its column {column!r} holds no WKT ({str(cause).splitlines()[0]})", "such as POLYGON ((0 0, ...))"
        ) from cause
    crs = f"EPSG:{srids.pop().removeprefix('SRID=')}" if len(srids) == 1 else None
    return _made(table.drop(columns=column), shapes, crs)


def _made(table: pandas.DataFrame, shapes: Any, crs: str | None) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(table, geometry=np.asarray(shapes, dtype=object), crs=crs)


def _numbers(table: pandas.DataFrame, column: Any, uri: str) -> Any:
    values = pandas.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(np.isnan(values))
    if wrong.size:
        raise DataError(uri, f"its column {column!r} holds no number in row {int(wrong[0]) + 1}", _few(table[column].iloc[wrong[:3]]))
    return values


def _few(values: Sequence[Any]) -> str:
    return f"it holds {', '.join(repr(value) for value in values)}"
