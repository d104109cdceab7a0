"""From the properties of features to their classes, and from points and lines to areas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from geohydra.errors import DataError
from geohydra.sources.label_rules import LabelRules
from geohydra.vector.buffer import buffered
from geohydra.vector.where import as_text

_SHOWN = 8
_UNKNOWN = object()
_THIN = (
    shapely.GeometryType.POINT,
    shapely.GeometryType.MULTIPOINT,
    shapely.GeometryType.LINESTRING,
    shapely.GeometryType.LINEARRING,
    shapely.GeometryType.MULTILINESTRING,
)


def named(frame: geopandas.GeoDataFrame, rules: LabelRules, uri: str) -> geopandas.GeoDataFrame:
    """Columns `class`, `geometry`, and `id` if there is one; `attrs` tell how many `features` there are and are `unnamed`."""
    names = _names(frame, rules, uri)
    kept = np.array([name is not None for name in names], dtype=bool)
    columns: dict[str, Any] = {"class": list(names[kept])}
    if "id" in frame.columns:
        columns["id"] = [as_text(value) for value in frame["id"][kept]]
    answer = geopandas.GeoDataFrame(columns, geometry=frame.geometry[kept].to_numpy(), crs=frame.crs)
    answer.attrs = {"features": len(frame), "unnamed": int((~kept).sum())}
    return answer


def widened(frame: geopandas.GeoDataFrame, rules: LabelRules, uri: str) -> geopandas.GeoDataFrame:
    """Points and lines as areas; `attrs` tell how many were `widened`, or are `thin` for want of any buffer.

    Raises DataError where there are buffers, but none for the class of such a feature.
    """
    shapes = np.asarray(frame.geometry.values, dtype=object)
    thin = np.isin(shapely.get_type_id(shapes), _THIN)
    if not rules.buffer or not thin.any():
        frame.attrs["thin"] = int(thin.sum())
        return frame
    metres = {name: rules.buffer.get(name, rules.buffer.get("*")) for name in sorted(set(frame["class"][thin]))}
    bare = [name for name, radius in metres.items() if radius is None]
    if bare:
        counts = Counter(frame["class"][thin])
        told = ", ".join(f"{name!r} ({counts[name]})" for name in bare[:_SHOWN])
        raise DataError(
            uri, f"has points or lines of the class {told}, for which source.buffer tells no radius", f"add {bare[0]} or '*' to it"
        )
    radii = np.array([metres[name] if is_thin else np.nan for name, is_thin in zip(frame["class"], thin, strict=True)], dtype=np.float64)
    answer = frame.set_geometry(geopandas.GeoSeries(buffered(shapes, radii, frame.crs), index=frame.index, crs=frame.crs))
    answer.attrs = {**frame.attrs, "widened": int(thin.sum())}
    return answer


def _names(frame: geopandas.GeoDataFrame, rules: LabelRules, uri: str) -> NDArray[Any]:
    """A class, or None, for each feature."""
    names, free = _by_cases(frame, rules, uri)
    if rules.cases and rules.class_property is None:
        return names
    values = _values(frame, rules, uri)
    rest = np.full(len(frame), None, dtype=object)
    rest[free] = [_name(values[place], rules) for place in np.flatnonzero(free)]
    unknown = Counter(value for value, name in zip(values, rest, strict=True) if name is _UNKNOWN)
    if unknown:
        raise DataError(uri, *_refusal(unknown, rules))
    return np.where(free, rest, names)


def _by_cases(frame: geopandas.GeoDataFrame, rules: LabelRules, uri: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The class by the first condition that fits, and which features fit none."""
    names, free = np.full(len(frame), None, dtype=object), np.ones(len(frame), dtype=bool)
    for case in rules.cases:
        if case.name is not None and not rules.allows(case.name):
            raise DataError(uri, f"source.class_rules give the unknown class {case.name!r}", f"known are {', '.join(rules.classes or ())}")
        fits = free if case.where is None else free & case.where(_columns(frame, case.where.properties, uri))
        names[fits] = case.name
        free = free & ~fits
    return names, free


def _columns(frame: geopandas.GeoDataFrame, properties: frozenset[str], uri: str) -> dict[str, NDArray[Any]]:
    for name in sorted(properties):
        if name not in frame.columns or name == frame.geometry.name:
            raise DataError(uri, f"its features have no property {name!r}, which source.class_rules ask for", _properties(frame))
    return {name: frame[name].astype(object).to_numpy() for name in properties}


def _values(frame: geopandas.GeoDataFrame, rules: LabelRules, uri: str) -> list[str | None]:
    name = rules.class_property or ("class" if "class" in frame.columns else None)
    if name is not None:
        if name not in frame.columns:
            raise DataError(uri, f"its features have no property {name!r}", f"set source.class_property; {_properties(frame)}")
        return [as_text(value) for value in frame[name]]
    if rules.classes is None or len(rules.classes) != 1:
        hint = f"name it with source.class_property ({_properties(frame)}), or the one class of all with source.classes=[name]"
        raise DataError(uri, "which property of its features tells the class is not known", hint)
    return [rules.classes[0]] * len(frame)


def _name(value: str | None, rules: LabelRules) -> Any:
    mapping = rules.mapping or {}
    if value is None:
        return mapping.get("*")
    name = mapping.get(value, mapping.get("*", value if not mapping or value in (rules.classes or ()) else _UNKNOWN))
    if name is None or name is _UNKNOWN:
        return name
    return name if rules.allows(str(name)) else _UNKNOWN


def _refusal(unknown: Mapping[str | None, int], rules: LabelRules) -> tuple[str, str]:
    seen = sorted(unknown.items(), key=lambda pair: -pair[1])
    told = ", ".join(f"{value!r} ({count})" for value, count in seen[:_SHOWN])
    more = f" and {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else ""
    known = ", ".join(rules.classes or [name for name in (rules.mapping or {}).values() if name])
    hint = f"known are {known}; translate them with source.class_mapping, in which null leaves features out"
    return f"has features of the unknown class {told}{more}", hint


def _properties(frame: geopandas.GeoDataFrame) -> str:
    """Which properties there are, for a hint."""
    names = [str(name) for name in frame.columns if name != frame.geometry.name]
    return f"there are {', '.join(names)}" if names else "they have none"
