"""Labels laid on scenes: features and rasters beside their images, and the ground that does not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import geopandas
import pandas
import shapely

from geohydra.errors import DataError, GeohydraError
from geohydra.sources.findings import Findings, in_parallel, unheard
from geohydra.sources.label_rules import LabelRules
from geohydra.sources.labels import VectorLabels, check_raster, counted, write_labels
from geohydra.sources.regions import Regions
from geohydra.types import LabelAsset, LockEntry, Scene

_NAMED = 10


@dataclass(frozen=True, slots=True)
class Labelled:
    """A scene with the features that lie on it, or with the raster that labels it, and the ground that does not count."""

    scene: Scene
    features: geopandas.GeoDataFrame | None = None
    raster: str | None = None
    ignored: geopandas.GeoDataFrame | None = None

    @property
    def bare(self) -> bool:
        """Whether it has no labels."""
        return self.features is None and self.raster is None


class Labelling:
    """One laying of label files on scenes, as the label keys of a source ask for it."""

    def __init__(self, rules: LabelRules, lock: Sequence[LockEntry]) -> None:
        """Of the lock, the files of the roles `aoi` and `ignore` are read."""
        self._rules = rules
        self._aoi = Regions([entry.uri for entry in lock if entry.role == "aoi"])
        self._left_out = Regions([entry.uri for entry in lock if entry.role == "ignore"])

    def lay(self, scenes: Sequence[Scene], paired: Mapping[str, str], found: Findings) -> list[Labelled]:
        """Every scene with its labels: `paired` tells the label file by the id of the scene."""
        try:
            self._refuse_unplaced(scenes)
            self._aoi.check({scene.id: scene.grid for scene in scenes}, "AOI")
        except GeohydraError as error:
            found.errors.append(error)
            return [Labelled(scene) for scene in scenes]
        laid = self._rasters(scenes, paired, found) if self._rules.raster else self._vectors(scenes, paired, found)
        inside = [self._bounded(one) for one in laid]
        gone = [one.scene.id for one, before in zip(inside, laid, strict=True) if one.bare and not before.bare]
        if gone:
            found.notes.append(f"{len(gone)} of {len(laid)} scenes lie outside of the AOI, and count as unlabelled: {_few(gone)}")
        bare = [one.scene.id for one in laid if one.bare]
        if bare and not found.errors:
            found.notes.append(f"{len(bare)} of {len(laid)} scenes have no labels: {_few(bare)}")
        return inside

    def written(self, one: Labelled, folder: Path) -> Scene:
        """The scene, its polygons written into `labels` below a folder."""
        if one.bare:
            return one.scene
        rules = self._rules
        ignored = None if one.ignored is None else write_labels(one.ignored, folder / "labels" / f"{one.scene.id}.ignored.parquet")
        if one.raster is not None:
            values = {value: None if name in rules.ignored else name for value, name in rules.values.items()}
            labels = LabelAsset(one.raster, "raster", values, rules.names or (), ignored, rules.unlabelled)
            return replace(one.scene, labels=labels)
        assert one.features is not None
        uri = write_labels(one.features, folder / "labels" / f"{one.scene.id}.parquet")
        counts = counted(one.features)
        labels = LabelAsset(uri, "vector", {}, tuple(counts), ignored, rules.unlabelled, rules.priority)
        return replace(one.scene, labels=labels, properties={**one.scene.properties, "geohydra:labels": counts})

    def _refuse_unplaced(self, scenes: Sequence[Scene]) -> None:
        for regions, key in ((self._aoi, "aoi"), (self._left_out, "ignore")):
            unplaced = [scene for scene in scenes if not scene.grid.crs]
            if regions and unplaced:
                raise DataError(unplaced[0].assets[0].uri, f"has no CRS, so that source.{key} cannot be laid on it", "give the image a CRS")

    def _rasters(self, scenes: Sequence[Scene], paired: Mapping[str, str], found: Findings) -> list[Labelled]:
        errors = in_parallel(partial(_try_raster, paired), scenes, unheard, lambda scene: scene.id)
        wrong = [error for error in errors if error is not None]
        shared = len(set(paired.values())) == 1 and len(scenes) > 1
        if not shared or len(wrong) == len(scenes):
            found.errors += wrong[:1] if shared else wrong
        found.classes |= set(self._rules.names or ())
        return [Labelled(scene, raster=None if error else paired.get(scene.id)) for scene, error in zip(scenes, errors, strict=True)]

    def _vectors(self, scenes: Sequence[Scene], paired: Mapping[str, str], found: Findings) -> list[Labelled]:
        """Each label file is opened once, for all of its scenes, and let go before the next one."""
        laid: dict[str, Labelled] = {scene.id: Labelled(scene) for scene in scenes}
        for uri in dict.fromkeys(paired.values()):
            theirs = [scene for scene in scenes if paired.get(scene.id) == uri]
            try:
                laid |= {one.scene.id: one for one in self._one_file(uri, theirs, found, alone=len(set(paired.values())) == 1)}
            except GeohydraError as error:
                found.errors.append(error)
        if laid and paired and not found.errors and not found.classes:
            found.errors.append(DataError(next(iter(paired.values())), "no label file holds a polygon with a class", "check the labels"))
        return list(laid.values())

    def _one_file(self, uri: str, scenes: Sequence[Scene], found: Findings, *, alone: bool) -> Iterator[Labelled]:
        labels = VectorLabels(uri, self._rules)
        unplaced = [scene for scene in scenes if not scene.grid.crs]
        if unplaced:
            where = unplaced[0].assets[0].uri
            raise DataError(where, f"has no CRS, so that the labels in {uri} cannot be laid on it", "give label rasters of the same shape")
        frame, grids = labels.frame(scenes[0].grid.crs), {scene.id: scene.grid for scene in scenes}
        if not len(frame):
            if labels.swapped(grids):
                raise labels.outside(grids)
            if alone:
                raise DataError(uri, "holds no polygon with a class", "; ".join(labels.notes()) or "check what was exported into it")
            found.notes.append(f"{uri}: holds no labels, its scene counts as labelled with nothing")
        touching = {scene.id: labels.touching(scene.grid) if len(frame) else frame for scene in scenes}
        if all(features is None for features in touching.values()):
            raise labels.outside(grids)
        found.notes += [*labels.notes(), *self._sparse(uri, frame)]
        found.classes |= set(frame["class"]) - set(self._rules.ignored)
        for scene in scenes:
            features = touching[scene.id]
            yield self._parted(scene, frame[:0] if features is None and self._aoi else features)

    def _parted(self, scene: Scene, features: geopandas.GeoDataFrame | None) -> Labelled:
        """Labels of classes that are left out are ground that does not count."""
        if features is None or not self._rules.ignored:
            return Labelled(scene, features)
        left_out = features["class"].isin(self._rules.ignored)
        return Labelled(scene, features[~left_out], ignored=features[left_out][["class", "geometry"]])

    def _sparse(self, uri: str, frame: geopandas.GeoDataFrame) -> list[str]:
        if not frame.attrs.get("widened") or self._aoi or self._rules.unlabelled == "ignore":
            return []
        ways = "source.unlabelled=ignore, source.aoi or task.background=null"
        return [f"{uri}: {frame.attrs['widened']} points and lines became areas; all other ground is background unless told by {ways}"]

    def _bounded(self, one: Labelled) -> Labelled:
        """With all ground that does not count; without labels where that is the whole scene."""
        if one.bare or not (self._aoi or self._left_out):
            return one
        grid = one.scene.grid
        frame = shapely.Polygon(grid.corners).buffer(2 * max(grid.resolution))
        parts: list[tuple[str, shapely.Geometry]] = []
        if self._aoi:
            inside = self._aoi.within(frame, grid.crs)
            if not inside.intersects(shapely.Polygon(grid.corners)):
                return Labelled(one.scene)
            parts.append(("outside of the AOI", frame.difference(inside)))
        if self._left_out:
            parts.append(("ignored", self._left_out.within(frame, grid.crs)))
        rows = [(name, area) for name, shape in parts for area in shapely.get_parts(shape) if area.geom_type == "Polygon" and area.area > 0]
        more = geopandas.GeoDataFrame({"class": [name for name, _ in rows]}, geometry=[area for _, area in rows], crs=grid.crs)
        whole = more if one.ignored is None else pandas.concat([one.ignored, more], ignore_index=True)
        return replace(one, ignored=whole if len(whole) else None)


def _try_raster(paired: Mapping[str, str], scene: Scene) -> GeohydraError | None:
    uri = paired.get(scene.id)
    try:
        if uri is not None:
            check_raster(uri, scene.grid, scene.id)
    except GeohydraError as error:
        return error
    return None


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
