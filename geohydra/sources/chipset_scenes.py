"""Scenes from chips: headers read, labels written as all other sources write them, splits told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.errors import DataError, GeohydraError, Problems
from geohydra.source import Share, everything
from geohydra.sources.chipset_formats import ChipLabels, Layout, Told
from geohydra.sources.chipset_tables import ImageNames
from geohydra.sources.class_names import ClassNames
from geohydra.sources.inspection import Inspection
from geohydra.sources.marks import Marks, usable, write_marks
from geohydra.sources.pairing import group
from geohydra.sources.single import Reading, scenes_of
from geohydra.sources.summary import described
from geohydra.types import LabelAsset, LockEntry, Scene

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class SplitRule:
    """Which split a chip belongs to: by its address, or by lists of names."""

    rule: re.Pattern[str] | None
    names: Mapping[str, str]
    lists: Mapping[str, str]

    def of(self, images: Sequence[str], told: Told) -> dict[str, str]:
        """The split of every image that has one. Raises DataError where one is in two."""
        found = {uri: self.names.get(chip.split, chip.split) for uri, chip in told.chips.items() if chip.split is not None}
        for uri in images:
            match = self.rule.search(uri) if self.rule else None
            if match:
                found[uri] = self.names.get(match["split"], match["split"])
        for name, place in self.lists.items():
            for uri in self._listed(images, place, told):
                if found.get(uri, name) != name:
                    raise DataError(place, f"puts {uri} into {name!r}, and it is in {found[uri]!r} too", "keep each chip in one split")
                found[uri] = name
        return found

    def _listed(self, images: Sequence[str], place: str, told: Told) -> list[str]:
        names = ImageNames(images)
        lines = storage.read_bytes(storage.absolute(place)).decode("utf-8-sig").splitlines()
        found = [names.find(line, where=place) for line in lines if line.strip()]
        told.notes += names.notes(place)
        return [uri for uri in found if uri is not None]


@dataclass(frozen=True, slots=True)
class _Chip:
    """A scene with the names of its classes, its marks, its raster; `None` where it is not labelled at all."""

    scene: Scene
    kinds: tuple[str, ...] | None = None
    several: bool = False
    marks: Marks | None = None
    raster: str | None = None
    beside: int = 0


class ChipScenes:
    """One reading of chips, as the config of the `Chips` source asks for it."""

    def __init__(self, patterns: Sequence[str], reading: Reading, layout: Layout | None, names: ClassNames, splits: SplitRule) -> None:
        self._patterns, self._reading, self._layout, self._names, self._splits = patterns, reading, layout, names, splits

    def scenes(self, lock: Sequence[LockEntry], folder: Path, progress: Progress, share: Share = everything) -> Iterator[Scene]:
        """Raises all that is wrong at once, before the first scene."""
        chips, errors, notes, told = self._gathered(lock, progress)
        if errors:
            raise errors[0] if len(errors) == 1 else Problems(errors)
        (folder / "notes.txt").write_text("".join(f"{note}\n" for note in notes), encoding="utf-8")
        for chip in share(chips):
            yield _written(chip, told.values, folder)

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What is there and what is wrong, without writing anything."""
        try:
            chips, errors, notes, told = self._gathered(lock, _unheard)
        except GeohydraError as error:
            return Inspection(errors=list(error.errors) if isinstance(error, Problems) else [error])
        rows = [{**described(one.scene), **_row(one), "verdict": "good"} for one in chips]
        rows += [{"scene": error.where.rsplit("/", 1)[-1], "verdict": error.problem} for error in errors]
        classes = frozenset(self._names.seen) | frozenset(told.values.values())
        return Inspection(rows, errors, [*notes, *_splits_told(chips)], classes, chips[0].scene.bands if chips else ())

    def _gathered(self, lock: Sequence[LockEntry], progress: Progress) -> tuple[list[_Chip], list[GeohydraError], list[str], Told]:
        images = [entry.uri for entry in lock if entry.role == "image"]
        told = self._layout.read(images, [entry.uri for entry in lock if entry.role == "label"]) if self._layout else Told()
        splits = self._splits.of(images, told)
        ids = [(files.id, files.files[0].uri) for files in group(images, self._patterns, None)]
        found, errors = scenes_of(ids, self._reading, progress)
        pairs = [(scene, uri) for scene, (_, uri) in zip(found, ids, strict=True) if scene is not None]
        chips = [self._chip(_in_split(scene, splits.get(uri)), told.chips.get(uri), uri) for scene, uri in pairs]
        errors += _band_errors(chips)
        if self._layout and chips and not any(one.kinds is not None or one.marks or one.raster for one in chips):
            errors.append(DataError(images[0], "no label goes with any of the images", "; ".join(told.notes) or "check the labels"))
        return chips, errors, [*told.notes, *self._names.notes(), *_bare(chips, self._layout), *_beside(chips)], told

    def _chip(self, scene: Scene, labels: ChipLabels | None, uri: str) -> _Chip:
        if labels is None:
            return _Chip(scene)
        if labels.raster is not None:
            return _Chip(scene, raster=labels.raster)
        if labels.shapes is not None:
            return self._marked(scene, labels.shapes, uri)
        named = [self._names.of(name, where=uri) for name in labels.classes or ()]
        kinds = tuple(dict.fromkeys(name for name in named if name is not None))
        return _Chip(scene, kinds if kinds or labels.several else None, labels.several)

    def _marked(self, scene: Scene, shapes: Sequence[tuple[Any, str | None]], uri: str) -> _Chip:
        marks, beside = Marks(), 0
        for shape, told in shapes:
            name = self._names.of(told, where=uri)
            if name is None:
                continue
            if usable(shape, scene.grid):
                marks.add(shape, name)
            else:
                beside += 1
        return _Chip(scene, marks=marks, beside=beside)


def _in_split(scene: Scene, split: str | None) -> Scene:
    return scene if split is None else replace(scene, properties={**scene.properties, "geohydra:split": split})


def _written(chip: _Chip, values: Mapping[int, str], folder: Path) -> Scene:
    scene = chip.scene
    if chip.raster is not None:
        return replace(scene, labels=LabelAsset(chip.raster, "raster", dict(values), tuple(dict.fromkeys(values.values()))))
    if chip.marks is not None:
        labels = write_marks(chip.marks, scene.grid, folder / "labels" / f"{scene.id}.parquet")
        return replace(scene, labels=labels, properties={**scene.properties, "geohydra:labels": chip.marks.counts()})
    if chip.kinds is None:
        return scene
    told: dict[str, Any] = {"geohydra:classes": list(chip.kinds)} if chip.several else {"geohydra:class": chip.kinds[0]}
    labels = LabelAsset(scene.assets[0].uri, "whole", classes=chip.kinds)
    return replace(scene, labels=labels, properties={**scene.properties, **told})


def _row(chip: _Chip) -> dict[str, str]:
    labels = "none"
    if chip.raster is not None:
        labels = "raster"
    elif chip.marks is not None:
        labels = ", ".join(f"{name} {count}" for name, count in chip.marks.counts().items()) or "nothing there"
    elif chip.kinds is not None:
        labels = ", ".join(chip.kinds) or "nothing there"
    return {"labels": labels, "split": str(chip.scene.properties.get("geohydra:split", ""))}


def _band_errors(chips: Sequence[_Chip]) -> list[GeohydraError]:
    """Chips whose bands are not those of most."""
    counts = Counter(one.scene.bands for one in chips)
    if len(counts) < 2:
        return []
    usual, _ = counts.most_common(1)[0]
    odd = [one.scene for one in chips if one.scene.bands != usual]
    problem = f"has the bands {', '.join(odd[0].bands)}, most chips have {', '.join(usual)} ({len(odd)} of {len(chips)} are otherwise)"
    return [DataError(odd[0].assets[0].uri, problem, "choose the bands that all have with source.bands")]


def _bare(chips: Sequence[_Chip], layout: Layout | None) -> list[str]:
    bare = [one.scene.id for one in chips if one.kinds is None and one.marks is None and one.raster is None]
    return [f"{len(bare)} of {len(chips)} chips have no labels, such as {bare[0]}"] if bare and layout else []


def _beside(chips: Sequence[_Chip]) -> list[str]:
    total = sum(one.beside for one in chips)
    return [f"{total} boxes or outlines were left out: they have no area, or lie beside their image"] if total else []


def _splits_told(chips: Sequence[_Chip]) -> list[str]:
    """Chips without a split, where others have one."""
    splits = Counter(one.scene.properties.get("geohydra:split") for one in chips)
    return [f"{splits[None]} of {len(chips)} chips are in no split"] if splits[None] and len(splits) > 1 else []


def _unheard(done: int, total: int, text: str) -> None:
    """Progress that nobody watches."""
