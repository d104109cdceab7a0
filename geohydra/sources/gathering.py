"""Scenes gathered from files: grouped by name, headers read in parallel, labels laid beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from geohydra.errors import DataError, GeohydraError
from geohydra.source import Share, everything
from geohydra.sources.examination import covered, duplicates, told
from geohydra.sources.findings import Findings, Progress, in_parallel, unheard
from geohydra.sources.grids import TargetGrid
from geohydra.sources.headers import Draft, Rules, band_errors, has_data, on_target, stack_notes, try_draft, type_notes
from geohydra.sources.inspection import Inspection
from geohydra.sources.label_rules import LabelRules
from geohydra.sources.labelling import Labelled, Labelling
from geohydra.sources.labels import counted
from geohydra.sources.pairing import Mosaic, group, pair
from geohydra.sources.summary import described
from geohydra.types import LockEntry, Scene


class Gathering:
    """One reading of files, as the config of the `Files` source asks for it."""

    def __init__(
        self,
        images: Sequence[str],
        labels: Sequence[str],
        scene_rule: re.Pattern[str] | None,
        header_rules: Rules,
        label_rules: LabelRules,
        *,
        grid: TargetGrid | None = None,
        mosaic: Mosaic = "none",
    ) -> None:
        self._images = images
        self._labels = labels
        self._scene_rule = scene_rule
        self._header_rules = header_rules
        self._label_rules = label_rules
        self._grid = grid or TargetGrid()
        self._mosaic = mosaic

    def scenes(self, lock: Sequence[LockEntry], folder: Path, progress: Progress, share: Share = everything) -> Iterator[Scene]:
        """Scenes with their labels written below a folder. Raises all that is wrong at once, before the first scene."""
        found = Findings()
        drafts = self._on_target(self._drafts(lock, found, progress), found)
        found.settle()
        measured = self._measured(drafts, found)
        found.settle()
        labelled = self._labelled(measured, self._paired(measured, lock, found), lock, found)
        found.settle()
        (folder / "notes.txt").write_text("".join(f"{note}\n" for note in found.notes), encoding="utf-8")
        labelling = Labelling(self._label_rules, lock)
        for one in share(labelled):
            scene = labelling.written(one, folder)
            yield self._header_rules.clouds.written(scene, folder) if self._header_rules.clouds else scene

    def inspect(self, lock: Sequence[LockEntry], progress: Progress = unheard) -> Inspection:
        """What is there and what is wrong, without reading pixels or writing anything."""
        found = Findings()
        drafts = self._on_target(self._drafts(lock, found, progress), found)
        before = list(found.errors)
        paired = self._paired(drafts, lock, found) if drafts else {}
        labelled = self._labelled(drafts, paired, lock, found)
        by_id = {one.scene.id: one for one in labelled}
        scenes = tuple(draft.scene for draft in drafts)
        twice = duplicates(scenes, lock)
        wrong, lost = _wrong(drafts, paired, before, found.errors[len(before) :])
        rows = [_row(scene, by_id.get(scene.id), wrong.get(scene.id), twice.get(scene.id)) for scene in scenes]
        rows += [{**_EMPTY_ROW, "scene": error.where.rsplit("/", 1)[-1], "verdict": error.problem} for error in lost]
        bands = scenes[0].bands if scenes else ()
        features = {one.scene.id: one.features for one in labelled if one.features is not None}
        return Inspection(rows, found.errors, [*found.notes, *told(twice)], frozenset(found.classes), bands, scenes, features)

    def _on_target(self, drafts: Sequence[Draft], found: Findings) -> list[Draft]:
        """The scenes on the grid that the source wants."""
        try:
            kept, notes = on_target(drafts, self._grid)
        except GeohydraError as error:
            found.errors.append(error)
            return []
        found.notes += notes
        return kept

    def _drafts(self, lock: Sequence[LockEntry], found: Findings, progress: Progress) -> list[Draft]:
        uris = [entry.uri for entry in lock if entry.role == "image"]
        if not uris:
            found.errors.append(DataError(", ".join(self._images), "no file matches", "check the folder and the ending"))
            return []
        try:
            grouped = group(uris, self._images, self._scene_rule, self._mosaic)
        except DataError as error:
            found.errors.append(error)
            return []
        answers = in_parallel(partial(try_draft, rules=self._header_rules), grouped, progress, lambda files: files.id)
        found.errors += [answer for answer in answers if isinstance(answer, GeohydraError)]
        drafts = [answer for answer in answers if isinstance(answer, Draft)]
        other = band_errors(drafts)
        found.errors += other
        found.notes += [*type_notes(drafts), *([] if other else stack_notes(drafts))]
        return drafts

    def _measured(self, drafts: Sequence[Draft], found: Findings) -> list[Draft]:
        """Scenes without those that are nodata throughout: these are told of, and are an error if they are all."""
        answers = in_parallel(_try_data, drafts, unheard, lambda draft: draft.scene.id)
        found.errors += [answer for answer in answers if isinstance(answer, GeohydraError)]
        kept = [draft for draft, answer in zip(drafts, answers, strict=True) if answer is True]
        empty = [draft.scene for draft, answer in zip(drafts, answers, strict=True) if answer is False]
        if empty and not kept and not found.errors:
            what = f"all {len(empty)} scenes hold" if len(empty) > 1 else "the scene holds"
            found.errors.append(DataError(empty[0].assets[0].uri, f"{what} nothing but nodata", "check source.nodata and the files"))
        found.notes += [f"{scene.id}: excluded, it holds nothing but nodata" for scene in empty]
        return kept

    def _paired(self, drafts: Sequence[Draft], lock: Sequence[LockEntry], found: Findings) -> dict[str, str]:
        """The label file of each scene by its id."""
        uris = [entry.uri for entry in lock if entry.role == "label"]
        if not uris:
            return {}
        try:
            paired = pair([draft.files for draft in drafts], uris, self._labels, self._scene_rule)
        except DataError as error:
            found.errors.append(error)
            return {}
        found.notes += [f"{uri}: no image goes with these labels" for uri in uris if uri not in paired.values()]
        return paired

    def _labelled(self, drafts: Sequence[Draft], paired: dict[str, str], lock: Sequence[LockEntry], found: Findings) -> list[Labelled]:
        if not paired:
            return [Labelled(draft.scene) for draft in drafts]
        return Labelling(self._label_rules, lock).lay([draft.scene for draft in drafts], paired, found)


def _try_data(draft: Draft) -> bool | GeohydraError:
    try:
        return has_data(draft)
    except GeohydraError as error:
        return error


_COLUMNS = ("scene", "date", "crs", "resolution", "shape", "bands", "dtype", "nodata", "labels", "covered", "verdict")
_EMPTY_ROW = dict.fromkeys(_COLUMNS, "")


def _wrong(
    drafts: Sequence[Draft], paired: Mapping[str, str], images: Sequence[GeohydraError], labels: Sequence[GeohydraError]
) -> tuple[dict[str, str], list[GeohydraError]]:
    """What is wrong with each scene by its id, be it of its images or its labels; and errors of images that became no scene."""
    of_images = {place: draft.scene.id for draft in drafts for place in (draft.scene.id, *(file.uri for file in draft.files.files))}
    wrong: dict[str, str] = {}
    for error in (*images, *labels):
        if error.where in of_images:
            wrong.setdefault(of_images[error.where], error.problem)
    for error in labels:
        theirs = [name for name, uri in paired.items() if uri == error.where] or ([] if error.where in of_images else of_images.values())
        wrong = {**dict.fromkeys(theirs, f"labels: {error.problem}"), **wrong}
    return wrong, [error for error in images if error.where not in of_images]


def _row(scene: Scene, labelled: Labelled | None, wrong: str | None, twin: str | None) -> dict[str, str]:
    verdict = wrong or (f"the same as {twin}" if twin else "good")
    share = covered(scene, labelled.features) if labelled is not None else ""
    return {**described(scene), "labels": _labels_told(labelled), "covered": share, "verdict": verdict}


def _labels_told(one: Labelled | None) -> str:
    if one is None or (one.features is None and one.raster is None):
        return "none"
    if one.features is None:
        return "raster"
    return ", ".join(f"{name} {count}" for name, count in counted(one.features).items()) or "nothing there"
