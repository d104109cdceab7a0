"""Labels of scenes: polygons of any file, with class names, written as GeoParquet for each scene; rasters, looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from pyproj import Transformer

from geohydra.errors import DataError
from geohydra.raster.read import probe
from geohydra.types import Bounds, Grid
from geohydra.vector.read import read_vectors

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class ClassRule:
    """How a feature of a vector file gets its class.

    By the value of `property` (by default `class`, where the file has it), translated by `mapping`, in which `*` stands for
    every other value and None leaves features out. Without a property all features are of the one class in `classes`.
    """

    property: str | None = None
    mapping: Mapping[str, str | None] | None = None
    classes: tuple[str, ...] | None = None

    def named(self, frame: geopandas.GeoDataFrame, uri: str) -> geopandas.GeoDataFrame:
        """Columns `class`, `geometry`, and `id` if there is one; features that are left out are counted in `attrs`."""
        values = self._values(frame, uri)
        names = np.array([self._name(value) for value in values], dtype=object)
        unknown = Counter(value for value, name in zip(values, names, strict=True) if name is _UNKNOWN)
        if unknown:
            raise DataError(uri, *self._refusal(unknown))
        kept = np.array([name is not None for name in names], dtype=bool)
        columns: dict[str, Any] = {"class": list(names[kept])}
        if "id" in frame.columns:
            columns["id"] = [_text(value) for value in frame["id"][kept]]
        answer = geopandas.GeoDataFrame(columns, geometry=frame.geometry[kept].to_numpy(), crs=frame.crs)
        answer.attrs = {**frame.attrs, "unnamed": int((~kept).sum())}
        return answer

    def _values(self, frame: geopandas.GeoDataFrame, uri: str) -> list[str | None]:
        name = self.property or ("class" if "class" in frame.columns else None)
        if name is not None:
            if name not in frame.columns:
                raise DataError(uri, f"its features have no property {name!r}", f"set source.class_property; {_properties(frame)}")
            return [_text(value) for value in frame[name]]
        if self.classes is None or len(self.classes) != 1:
            hint = f"name it with source.class_property ({_properties(frame)}), or the one class of all with source.classes=[name]"
            raise DataError(uri, "which property of its features tells the class is not known", hint)
        return [self.classes[0]] * len(frame)

    def _name(self, value: str | None) -> Any:
        mapping = self.mapping or {}
        if value is None:
            return mapping.get("*")
        name = mapping.get(value, mapping.get("*", value if not mapping or value in (self.classes or ()) else _UNKNOWN))
        if name is None or name is _UNKNOWN:
            return name
        return name if self.classes is None or name in self.classes else _UNKNOWN

    def _refusal(self, unknown: Mapping[str | None, int]) -> tuple[str, str]:
        seen = sorted(unknown.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{value!r} ({count})" for value, count in seen[:_SHOWN])
        more = f" and {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else ""
        known = ", ".join(self.classes or [name for name in (self.mapping or {}).values() if name])
        hint = f"known are {known}; translate them with source.class_mapping, in which null leaves features out"
        return f"has features of the unknown class {told}{more}", hint


_UNKNOWN = object()


class VectorLabels:
    """One vector file for any number of scenes: parsed once for each CRS, and asked by place."""

    def __init__(self, uri: str, rule: ClassRule) -> None:
        self.uri = uri
        self._rule = rule
        self._frames: dict[str, geopandas.GeoDataFrame] = {}

    def frame(self, crs: str) -> geopandas.GeoDataFrame:
        """All labels in a CRS. `attrs` tell what was `found`, `repaired`, `dropped` and `unnamed`."""
        if crs not in self._frames:
            self._frames[crs] = self._rule.named(read_vectors(self.uri, crs=crs), self.uri)
        return self._frames[crs]

    def touching(self, grid: Grid) -> geopandas.GeoDataFrame | None:
        """The labels that touch a scene; None where the scene lies outside of all that is labelled."""
        labels = self.frame(grid.crs)
        if not len(labels) or not _meet(tuple(labels.total_bounds), grid.bounds):
            return None
        chosen = labels.sindex.query(shapely.Polygon(grid.corners), predicate="intersects")
        return labels.iloc[np.sort(chosen)]

    def notes(self) -> list[str]:
        """What was mended or left out, a sentence each."""
        if not self._frames:
            return []
        told = next(iter(self._frames.values())).attrs
        texts = {
            "repaired": "invalid polygons were repaired",
            "dropped": "features were left out: they are empty or no polygons",
            "unnamed": "features were left out: they have no class, or source.class_mapping leaves them out",
        }
        return [f"{self.uri}: {told[key]} of {told['found']} {text}" for key, text in texts.items() if told.get(key)]


def write_labels(frame: geopandas.GeoDataFrame, path: Path) -> str:
    """Write labels as GeoParquet; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.reset_index(drop=True).to_parquet(path, index=False, compression="zstd")
    return str(path)


def counted(frame: geopandas.GeoDataFrame) -> dict[str, int]:
    """Features by class."""
    return {str(name): int(count) for name, count in sorted(Counter(frame["class"]).items())}


def outside(uri: str, bounds: Bounds, crs: str, grids: Mapping[str, Grid]) -> DataError:
    """Labels that lie outside of all images: where both are."""
    name, grid = next(iter(grids.items()))
    images = f"{len(grids)} images, such as {name} with" if len(grids) > 1 else f"the image {name} with"
    return DataError(
        uri,
        f"its labels at {_told(bounds)} ({_short(crs)}) lie outside of {images} {_told(grid.bounds)} ({_short(grid.crs)})",
        "check the CRS of both, and whether longitude and latitude are in this order",
    )


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
    if not _meet((left, bottom, right, top), grid.bounds):
        raise outside(uri, header.grid.bounds, header.grid.crs, {scene: grid})


def _refuse_other_pixels(uri: str, labels: Grid, grid: Grid, scene: str) -> None:
    """Without a CRS on one side, labels must lie on the pixels of their image one by one."""
    if labels.shape == grid.shape and (not grid.crs or labels.transform == grid.transform):
        return
    sizes = f"{labels.shape.rows} x {labels.shape.cols} pixels, its image {scene} {grid.shape.rows} x {grid.shape.cols}"
    problem = f"does not lie on the pixels of its image, and without a CRS it cannot be warped: it has {sizes}"
    raise DataError(uri, problem, "give both a CRS")


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return bool(one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3])


def _text(value: Any) -> str | None:
    """A value of a property as text: whole numbers without a point, missing ones as None."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _properties(frame: geopandas.GeoDataFrame) -> str:
    names: Iterable[str] = [str(name) for name in frame.columns if name != frame.geometry.name]
    return f"there are {', '.join(names)}" if names else "they have none"


def _told(bounds: Sequence[float]) -> str:
    return "({})".format(", ".join(f"{value:.8g}" for value in bounds))


def _short(crs: str) -> str:
    return crs if len(crs) < 30 else crs[:27] + "..."
