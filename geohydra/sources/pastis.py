"""PASTIS as it is published: series of Sentinel-2 in arrays of NumPy, with the crop of every pixel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from geohydra import storage
from geohydra.errors import DataError, GeohydraError, Problems
from geohydra.source import Share, everything
from geohydra.sources.inspection import Inspection
from geohydra.types import Asset, Grid, LabelAsset, LockEntry, Scene, Shape

_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
_CRS = "EPSG:2154"
_CLASSES = (
    *("background", "meadow", "soft_winter_wheat", "corn", "winter_barley", "winter_rapeseed", "spring_barley", "sunflower", "grapevine"),
    *("beet", "winter_triticale", "winter_durum_wheat", "fruits_vegetables_flowers", "potatoes", "leguminous_fodder", "soybeans"),
    *("orchard", "mixed_cereal", "sorghum"),
)
_VOID = 19


class Pastis:
    """Patches of 128 x 128 pixels of 10 m, each a scene with all its dates (Sainte Fare Garnot and Landrieu, ICCV 2021).

    `root` holds `metadata.geojson`, `DATA_S2/S2_<id>.npy` `(time, band, row, col)` and `ANNOTATIONS/TARGET_<id>.npy`, whose first
    band tells the crop; 19 is void and counts nowhere. The official fold is the property `fold`: test on one with
    `chip/split=by_attribute chip.split.property=fold`. `folds` takes some of the five only.
    """

    def __init__(
        self,
        *,
        root: Annotated[str, Field(min_length=1)],
        folds: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1)] | None = None,
    ) -> None:
        self._root, self._folds = root, folds

    @property
    def bands(self) -> tuple[str, ...]:
        """Ten of Sentinel-2."""
        return _BANDS

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Eighteen crops, and background."""
        return _CLASSES

    def lock(self) -> Sequence[LockEntry]:
        """One listing a folder. Raises DataError where the set is not there."""
        if not storage.is_local(self._root) or not storage.exists(self._root):
            raise DataError(self._root, "there is no such folder on this machine", "download PASTIS, and name its folder with source.root")
        patterns = (("metadata.geojson", "table"), ("DATA_S2/S2_*.npy", "image"), ("ANNOTATIONS/TARGET_*.npy", "label"))
        return [
            LockEntry(entry.uri, entry.size, entry.etag, entry.modified, role)
            for pattern, role in patterns
            for entry in storage.list_files(storage.join(self._root, pattern))
        ]

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What every patch is, and what is wrong with it; no pixel is read."""
        from geohydra.sources.summary import described

        errors: list[GeohydraError] = []
        rows: list[dict[str, str]] = []
        try:
            for _, found in self._gathered(lock):
                if isinstance(found, GeohydraError):
                    errors.append(found)
                    rows.append({"scene": found.where.rsplit("/", 1)[-1], "verdict": found.problem})
                else:
                    dates = f"{found.times[0]:%Y-%m-%d} to {found.times[-1]:%Y-%m-%d} ({len(found.times)})"
                    rows.append({**described(found), "date": dates, "verdict": "good"})
        except DataError as error:
            errors.append(error)
        return Inspection(rows, errors, classes=frozenset(_CLASSES), bands=_BANDS)

    def scenes(
        self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None], share: Share = everything
    ) -> Iterator[Scene]:
        """Write a small file (VRT) for each array that tells where its numbers and its place are."""
        from geohydra.raster.arrays import write_description

        found = list(self._gathered(lock))
        errors = [scene for _, scene in found if isinstance(scene, GeohydraError)]
        if errors:
            raise errors[0] if len(errors) == 1 else Problems(errors)
        for place, (label, scene) in share(list(enumerate(found))):
            if isinstance(scene, Scene):
                progress(place, len(found), scene.id)
                image = write_description(folder / "images" / f"{scene.id}.vrt", Path(scene.assets[0].uri), scene.grid)
                labels = write_description(folder / "labels" / f"{scene.id}.vrt", Path(label), scene.grid, bands=1)
                values: dict[int, str | None] = {**dict(enumerate(_CLASSES)), _VOID: None}
                yield _moved(scene, str(image), LabelAsset(str(labels), "raster", values, _CLASSES))

    def _gathered(self, lock: Sequence[LockEntry]) -> Iterator[tuple[str, Scene | GeohydraError]]:
        """The annotation of each patch, and its scene or what is wrong with it."""
        by_name = {Path(entry.uri).name: entry.uri for entry in lock}
        patches = [one for one in _patches(lock, self._root) if self._folds is None or one["properties"].get("Fold") in self._folds]
        if not patches:
            raise DataError(self._root, "no patch is of these folds", "they are 1 to 5")
        for patch in patches:
            number = str(patch["properties"]["ID_PATCH"])
            image, label = by_name.get(f"S2_{number}.npy"), by_name.get(f"TARGET_{number}.npy")
            if image is None or label is None:
                yield "", DataError(f"{self._root}/{number}", "its series or its annotation is not there", "copy the set again")
                continue
            try:
                yield label, _scene(number, patch, Path(image))
            except GeohydraError as error:
                yield label, error


def _patches(lock: Sequence[LockEntry], root: str) -> list[Mapping[str, Any]]:
    table = next((entry.uri for entry in lock if entry.role == "table"), None)
    if table is None:
        raise DataError(root, "holds no metadata.geojson", "name the folder of PASTIS that has it")
    try:
        return list(json.loads(storage.read_bytes(table))["features"])
    except (ValueError, KeyError) as cause:
        raise DataError(table, f"cannot be read ({cause!r})", "copy it again") from cause


def _scene(number: str, patch: Mapping[str, Any], image: Path) -> Scene:
    from geohydra.raster.arrays import array_shape

    shape, dtype, _ = array_shape(image)
    told = patch["properties"]["dates-S2"]
    dates = [datetime.strptime(str(told[key]), "%Y%m%d").replace(tzinfo=UTC) for key in sorted(told, key=int)]
    if len(shape) != 4 or shape[:2] != (len(dates), len(_BANDS)):
        raise DataError(str(image), f"is of shape {shape}, and {len(dates)} dates of {len(_BANDS)} bands are told", "copy it again")
    grid = _grid(patch["geometry"], Shape(*shape[2:]))
    assets = tuple(
        Asset(str(image), _BANDS, tuple(range(1 + place * len(_BANDS), 1 + (place + 1) * len(_BANDS))), str(dtype), time=time)
        for place, time in enumerate(dates)
    )
    return Scene(f"patch-{number}", grid, assets, properties={"fold": patch["properties"].get("Fold")})


def _grid(geometry: Mapping[str, Any], shape: Shape) -> Grid:
    """The upright rectangle around the outline of a patch."""
    from shapely import geometry as shapes

    left, bottom, right, top = shapes.shape(geometry).bounds
    return Grid(_CRS, ((right - left) / shape.cols, 0.0, left, 0.0, -(top - bottom) / shape.rows, top), shape)


def _moved(scene: Scene, image: str, labels: LabelAsset) -> Scene:
    from dataclasses import replace

    return replace(scene, assets=tuple(replace(asset, uri=image) for asset in scene.assets), labels=labels)
