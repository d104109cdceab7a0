"""Scenes gathered from files: grouped by name, headers read in parallel, labels laid beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from geohydra.errors import DataError, GeohydraError, Problems
from geohydra.sources.headers import Draft, Rules, band_errors, has_data, try_draft, type_notes
from geohydra.sources.inspection import Inspection
from geohydra.sources.labels import ClassRule, VectorLabels, check_raster, counted, outside, write_labels
from geohydra.sources.pairing import group, pair
from geohydra.sources.summary import described
from geohydra.types import LabelAsset, LockEntry, Scene

if TYPE_CHECKING:
    import geopandas

_AT_ONCE = 8
"""Headers read at the same time: they mostly wait for disks and networks."""

_NAMED = 10

Progress = Callable[[int, int, str], None]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Findings:
    """What came out so far: what is wrong, what is worth a sentence, and which classes were seen."""

    errors: list[GeohydraError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)

    def settle(self) -> None:
        """Raise what is wrong, all at once."""
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else Problems(self.errors)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A scene with the features that lie on it, or with the raster that labels it."""

    scene: Scene
    features: geopandas.GeoDataFrame | None = None
    raster: str | None = None


class Gathering:
    """One reading of files, as the config of the `Files` source asks for it."""

    def __init__(
        self,
        images: Sequence[str],
        labels: Sequence[str],
        scene_rule: re.Pattern[str] | None,
        header_rules: Rules,
        class_rule: ClassRule,
        label_values: Mapping[int, str],
    ) -> None:
        self._images = images
        self._labels = labels
        self._scene_rule = scene_rule
        self._header_rules = header_rules
        self._class_rule = class_rule
        self._values = label_values

    def scenes(self, lock: Sequence[LockEntry], folder: Path, progress: Progress) -> Iterator[Scene]:
        """Scenes with their labels written below a folder. Raises all that is wrong at once, before the first scene."""
        found = Findings()
        drafts = self._drafts(lock, found, progress)
        found.settle()
        measured = self._measured(drafts, found)
        found.settle()
        labelled = self._labelled(measured, lock, found)
        found.settle()
        (folder / "notes.txt").write_text("".join(f"{note}\n" for note in found.notes), encoding="utf-8")
        for one in labelled:
            yield self._written(one, folder)

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What is there and what is wrong, without reading pixels or writing anything."""
        found = Findings()
        drafts = self._drafts(lock, found, _unheard)
        broken = list(found.errors)
        labelled = self._labelled(drafts, lock, found) if drafts else []
        counts = {one.scene.id: one for one in labelled}
        rows = [_row(draft.scene, counts.get(draft.scene.id)) for draft in drafts]
        rows += [{**_EMPTY_ROW, "scene": error.where.rsplit("/", 1)[-1], "verdict": error.problem} for error in broken]
        bands = drafts[0].scene.bands if drafts else ()
        return Inspection(rows, found.errors, found.notes, frozenset(found.classes), bands)

    def _drafts(self, lock: Sequence[LockEntry], found: Findings, progress: Progress) -> list[Draft]:
        uris = [entry.uri for entry in lock if entry.role == "image"]
        if not uris:
            found.errors.append(DataError(", ".join(self._images), "no file matches", "check the folder and the ending"))
            return []
        try:
            grouped = group(uris, self._images, self._scene_rule)
        except DataError as error:
            found.errors.append(error)
            return []
        answers = _parallel(partial(try_draft, rules=self._header_rules), grouped, progress, lambda files: files.id)
        found.errors += [answer for answer in answers if isinstance(answer, GeohydraError)]
        drafts = [answer for answer in answers if isinstance(answer, Draft)]
        found.errors += band_errors(drafts)
        found.notes += type_notes(drafts)
        return drafts

    def _measured(self, drafts: Sequence[Draft], found: Findings) -> list[Draft]:
        """Scenes without those that are nodata throughout: these are told of, and are an error if they are all."""
        answers = _parallel(_try_data, drafts, _unheard, lambda draft: draft.scene.id)
        found.errors += [answer for answer in answers if isinstance(answer, GeohydraError)]
        kept = [draft for draft, answer in zip(drafts, answers, strict=True) if answer is True]
        empty = [draft.scene for draft, answer in zip(drafts, answers, strict=True) if answer is False]
        if empty and not kept and not found.errors:
            what = f"all {len(empty)} scenes hold" if len(empty) > 1 else "the scene holds"
            found.errors.append(DataError(empty[0].assets[0].uri, f"{what} nothing but nodata", "check source.nodata and the files"))
        found.notes += [f"{scene.id}: excluded, it holds nothing but nodata" for scene in empty]
        return kept

    def _labelled(self, drafts: Sequence[Draft], lock: Sequence[LockEntry], found: Findings) -> list[Labelled]:
        uris = [entry.uri for entry in lock if entry.role == "label"]
        if not uris:
            return [Labelled(draft.scene) for draft in drafts]
        try:
            paired = pair([draft.files for draft in drafts], uris, self._labels, self._scene_rule)
        except DataError as error:
            found.errors.append(error)
            return []
        laid = self._rasters(drafts, paired, found) if self._values else self._vectors(drafts, paired, found)
        bare = [one.scene.id for one in laid if one.features is None and one.raster is None]
        if bare and not found.errors:
            found.notes.append(f"{len(bare)} of {len(laid)} scenes have no labels: {_few(bare)}")
        spare = [uri for uri in uris if uri not in paired.values()]
        found.notes += [f"{uri}: no image goes with these labels" for uri in spare]
        return laid

    def _rasters(self, drafts: Sequence[Draft], paired: Mapping[str, str], found: Findings) -> list[Labelled]:
        errors = _parallel(partial(_try_raster, paired), drafts, _unheard, lambda draft: draft.scene.id)
        wrong = [error for error in errors if error is not None]
        shared = len(set(paired.values())) == 1 and len(drafts) > 1
        if not shared or len(wrong) == len(drafts):
            found.errors += wrong[:1] if shared else wrong
        found.classes |= set(self._values.values())
        laid = zip(drafts, errors, strict=True)
        return [Labelled(draft.scene, raster=None if error else paired.get(draft.scene.id)) for draft, error in laid]

    def _vectors(self, drafts: Sequence[Draft], paired: Mapping[str, str], found: Findings) -> list[Labelled]:
        """Each label file is opened once, for all of its scenes, and let go before the next one."""
        laid: dict[str, Labelled] = {draft.scene.id: Labelled(draft.scene) for draft in drafts}
        for uri in dict.fromkeys(paired.values()):
            theirs = [draft.scene for draft in drafts if paired.get(draft.scene.id) == uri]
            try:
                laid |= {one.scene.id: one for one in self._one_file(uri, theirs, found, alone=len(set(paired.values())) == 1)}
            except GeohydraError as error:
                found.errors.append(error)
        if laid and paired and not found.errors and not found.classes:
            found.errors.append(DataError(next(iter(paired.values())), "no label file holds a polygon with a class", "check the labels"))
        return list(laid.values())

    def _one_file(self, uri: str, scenes: Sequence[Scene], found: Findings, *, alone: bool) -> Iterator[Labelled]:
        labels = VectorLabels(uri, self._class_rule)
        unplaced = [scene for scene in scenes if not scene.grid.crs]
        if unplaced:
            where = unplaced[0].assets[0].uri
            raise DataError(where, f"has no CRS, so that the labels in {uri} cannot be laid on it", "give label rasters of the same shape")
        frame = labels.frame(scenes[0].grid.crs)
        if not len(frame):
            if alone:
                raise DataError(uri, "holds no polygon with a class", "; ".join(labels.notes()) or "check what was exported into it")
            found.notes.append(f"{uri}: holds no labels, its scene counts as labelled with nothing")
        touching = {scene.id: labels.touching(scene.grid) if len(frame) else frame for scene in scenes}
        if all(features is None for features in touching.values()):
            raise outside(uri, tuple(frame.total_bounds), scenes[0].grid.crs, {scene.id: scene.grid for scene in scenes})
        found.notes += labels.notes()
        found.classes |= set(frame["class"])
        yield from (Labelled(scene, features=touching[scene.id]) for scene in scenes)

    def _written(self, one: Labelled, folder: Path) -> Scene:
        if one.raster is not None:
            classes = tuple(dict.fromkeys(self._values.values()))
            return replace(one.scene, labels=LabelAsset(one.raster, "raster", dict(self._values), classes))
        if one.features is None:
            return one.scene
        uri = write_labels(one.features, folder / "labels" / f"{one.scene.id}.parquet")
        counts = counted(one.features)
        return replace(one.scene, labels=LabelAsset(uri, "vector", classes=tuple(counts)), properties={"geohydra:labels": counts})


def _parallel(call: Callable[[Item], Answer], items: Sequence[Item], progress: Progress, name: Callable[[Item], str]) -> list[Answer]:
    """The answers in order, several at a time."""
    answers: list[Answer] = []
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(items)))) as pool:
        for item, answer in zip(items, pool.map(call, items), strict=True):
            answers.append(answer)
            progress(len(answers), len(items), name(item))
    return answers


def _try_data(draft: Draft) -> bool | GeohydraError:
    try:
        return has_data(draft)
    except GeohydraError as error:
        return error


def _try_raster(paired: Mapping[str, str], draft: Draft) -> GeohydraError | None:
    uri = paired.get(draft.scene.id)
    try:
        if uri is not None:
            check_raster(uri, draft.scene.grid, draft.scene.id)
    except GeohydraError as error:
        return error
    return None


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")


def _unheard(done: int, total: int, text: str) -> None:
    """Progress that nobody watches."""


_EMPTY_ROW = dict.fromkeys(("scene", "crs", "resolution", "shape", "bands", "dtype", "nodata", "labels", "verdict"), "")


def _row(scene: Scene, labelled: Labelled | None) -> dict[str, str]:
    return {**described(scene), "labels": _labels_told(labelled), "verdict": "good"}


def _labels_told(one: Labelled | None) -> str:
    if one is None or (one.features is None and one.raster is None):
        return "none"
    if one.features is None:
        return "raster"
    return ", ".join(f"{name} {count}" for name, count in counted(one.features).items()) or "nothing there"
