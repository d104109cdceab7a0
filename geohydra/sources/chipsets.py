"""Folders of ready-made chips, as public benchmark sets come: each image file is a scene, its labels and its split are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from geohydra import storage
from geohydra.errors import ConfigError
from geohydra.source import Share, everything
from geohydra.sources.chipset_formats import Layout
from geohydra.sources.inspection import Inspection
from geohydra.sources.rules import compiled
from geohydra.types import LockEntry, Scene

if TYPE_CHECKING:
    from geohydra.sources.chipset_scenes import ChipScenes

Names = Annotated[list[str], Field(min_length=1)]


class Chips:
    """A scene from each image file, with or without a place on the ground.

    `images`: patterns. `labels`: how the set tells them: a class for each folder, a table, COCO, boxes, masks, records; see
    `geohydra.sources.chipset_formats`. Classes of whole chips become the property `geohydra:class`, several `geohydra:classes`; boxes
    and outlines become polygons in pixels, or on the ground where the chip has a place there.

    `split`: a regular expression for addresses, with the group `split`, whose values `split_names` may translate (`{valid: val}`); or
    `split_lists`: a text file for each split, with the name of a chip a line. The split becomes the property `geohydra:split`;
    a table of labels may tell it too.

    `class_mapping`: what the set calls classes to class names; `*` is every other, null leaves out. `classes`: the names that may
    come out of this; one alone is the class of labels that tell none.
    """

    def __init__(
        self,
        *,
        images: str | Names,
        labels: Any = None,
        split: str | None = None,
        split_names: dict[str, str] | None = None,
        split_lists: dict[str, str] | None = None,
        class_mapping: dict[str | int, str | None] | None = None,
        classes: Names | None = None,
        bands: Names | dict[str, int | str] | None = None,
        nodata: float | Literal["nan"] | None = None,
        crs: str | None = None,
        allow_no_crs: bool = True,
    ) -> None:
        if labels is not None and not isinstance(labels, Layout):
            known = "ClassFolders, Table, Coco, Boxes, Features, Masks, Records"
            raise ConfigError(
                "labels", f"{labels!r} is no layout of labels", f"choose one with source/labels=..., or name a class of {known}"
            )
        if split and split_lists:
            raise ConfigError("split_lists", "splits are told twice", "leave source.split or source.split_lists out")
        self._images = (images,) if isinstance(images, str) else tuple(images)
        self._layout: Layout | None = labels
        self._split, self._split_names, self._split_lists = (
            compiled(split, group="split", example="/(?P<split>train|val|test)/"),
            split_names or {},
            split_lists or {},
        )
        self._mapping = None if class_mapping is None else {str(key): name for key, name in class_mapping.items()}
        self._classes = tuple(classes) if classes else None
        self._bands: Names | dict[str, int | str] | None = bands
        self._nodata: float | Literal["nan"] | None = nodata
        self._crs, self._allow_no_crs = crs, allow_no_crs

    @property
    def bands(self) -> tuple[str, ...]:
        """As the config names them; none where only the files tell."""
        return tuple(self._bands or ())

    @property
    def classes(self) -> tuple[str, ...] | None:
        """As the config names them; None where only the labels tell."""
        return self._classes

    def lock(self) -> Sequence[LockEntry]:
        """One listing a pattern."""
        images = [entry for pattern in self._images for entry in storage.list_files(pattern)]
        patterns = self._layout.patterns if self._layout else ()
        labels = [entry for pattern in patterns for entry in storage.list_files(pattern, role="label")]
        lists = [entry for uri in self._split_lists.values() for entry in storage.list_files(uri, role="sidecar")]
        return tuple({entry.uri: entry for entry in [*images, *labels, *lists]}.values())

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """Every header and all labels, but no pixel."""
        return self._scenes().inspect(lock)

    def scenes(
        self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None], share: Share = everything
    ) -> Iterator[Scene]:
        """Scenes with their labels; what was left out is told in `notes.txt`, a sentence a line."""
        yield from self._scenes().scenes(lock, folder, progress, share)

    def _scenes(self) -> ChipScenes:
        from geohydra.sources.chipset_scenes import ChipScenes, SplitRule
        from geohydra.sources.class_names import ClassNames
        from geohydra.sources.single import Reading

        reading = Reading(self._bands, self._nodata, self._crs, self._allow_no_crs)
        splits = SplitRule(self._split, self._split_names, self._split_lists)
        return ChipScenes(self._images, reading, self._layout, ClassNames(self._mapping, self._classes), splits)
