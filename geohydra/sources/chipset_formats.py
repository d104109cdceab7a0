"""How sets of chips tell their labels: each class is one layout, named in a config by `source/labels=...`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from geohydra.errors import ConfigError


@dataclass(slots=True)
class ChipLabels:
    """What is told of one chip: classes of the whole (`several`: more than one may hold), shapes in its pixels with their classes,
    a raster of classes, its split. Classes are as the set calls them, None where it tells none."""

    classes: list[str] | None = None
    several: bool = False
    shapes: list[tuple[Any, str | None]] | None = None
    raster: str | None = None
    split: str | None = None


@dataclass(slots=True)
class Told:
    """Labels by the URI of the image, values of rasters, and what is worth a sentence."""

    chips: dict[str, ChipLabels] = field(default_factory=dict)
    values: Mapping[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@runtime_checkable
class Layout(Protocol):
    """One way in which labels stand beside images."""

    @property
    def patterns(self) -> Sequence[str]:
        """Patterns of its files; none where names of folders tell."""

    def read(self, images: Sequence[str], labels: Sequence[str]) -> Told:
        """The labels of images, from the files of labels. Raises DataError."""


class ClassFolders:
    """The folder of an image is its class, or the folder so many levels above it."""

    def __init__(self, *, level: int = 1) -> None:
        if level < 1:
            raise ConfigError("level", f"{level} is no level", "1 is the folder that holds the image")
        self._level = level

    @property
    def patterns(self) -> Sequence[str]:
        """It has none."""
        return ()

    def read(self, images: Sequence[str], labels: Sequence[str]) -> Told:  # noqa: ARG002 (folders tell)
        """By the addresses alone."""
        return Told({uri: ChipLabels(classes=[uri.rsplit("/", self._level + 1)[-self._level - 1]]) for uri in images})


class Table:
    """A CSV with a row a chip.

    `path` names the column of its file, `label` that of its class; with `separator` the cell holds several classes. `columns` are
    classes with a column each, which is 1, true or yes where the class is there. `split` names the column of its split.
    """

    def __init__(
        self,
        *,
        file: str,
        path: str | None = None,
        label: str | None = None,
        separator: str | None = None,
        columns: list[str] | None = None,
        split: str | None = None,
    ) -> None:
        if label and columns:
            raise ConfigError("columns", "classes are told twice", "give the column `label`, or a column for each class")
        self._file, self._path, self._label, self._separator = file, path, label, separator
        self._columns, self._split = tuple(columns or ()), split

    @property
    def patterns(self) -> Sequence[str]:
        """The table."""
        return (self._file,)

    def read(self, images: Sequence[str], labels: Sequence[str]) -> Told:
        """Row by row."""
        from geohydra.sources.chipset_tables import TableColumns, read_table

        columns = TableColumns(self._path, self._label, self._separator, self._columns, self._split)
        return read_table(images, labels, columns)


class Records:
    """A JSON list with an object a chip.

    `path` names the key of its file; `label` that of its class, of a list of classes, or of an object with true for each class that
    is there. `split` names the key of its split.
    """

    def __init__(self, *, file: str, path: str = "file", label: str = "label", split: str | None = None) -> None:
        self._file, self._path, self._label, self._split = file, path, label, split

    @property
    def patterns(self) -> Sequence[str]:
        """The list."""
        return (self._file,)

    def read(self, images: Sequence[str], labels: Sequence[str]) -> Told:
        """Object by object."""
        from geohydra.sources.chipset_tables import read_records

        return read_records(images, labels, path=self._path, label=self._label, split=self._split)


class Coco:
    """COCO's JSON: outlines where there are any (`boxes: true`: boxes alone), else boxes. One file or one for each split, whose name is
    then the group `split` of the rule for splits."""

    def __init__(self, *, file: str, boxes: bool = False) -> None:
        self._file, self._boxes = file, boxes

    @property
    def patterns(self) -> Sequence[str]:
        """The JSON files."""
        return (self._file,)

    def read(self, images: Sequence[str], labels: Sequence[str]) -> Told:
        """Annotation by annotation; crowds are left out."""
        from geohydra.sources.chipset_shapes import read_coco

        return read_coco(images, labels, boxes=self._boxes)


class Boxes:
    """CSV files of boxes (xmin, ymin, xmax, ymax and perhaps label): one for each image, of the same name, or one for all with the column
    `path`."""

    def __init__(self, *, files: str, path: str | None = None, label: str = "label") -> None:
        self._files, self._path, self._label = files, path, label

    @property
    def patterns(self) -> Sequence[str]:
        """The tables."""
        return (self._files,)

    def read(self, images: Sequence[str], labels: Sequence[str]) -> Told:
        """Row by row."""
        from geohydra.sources.chipset_shapes import read_boxes

        return read_boxes(images, labels, path=self._path, label=self._label)


class Features:
    """One GeoJSON for all images: the property `image` of a feature tells its image, `label` its class, `box` its box in pixels as
    `xmin,ymin,xmax,ymax`. Places on the ground are not looked at: where images overlap, they would label twice."""

    def __init__(self, *, file: str, image: str = "image_id", label: str = "type_id", box: str = "bounds_imcoords") -> None:
        self._file, self._image, self._label, self._box = file, image, label, box

    @property
    def patterns(self) -> Sequence[str]:
        """The GeoJSON."""
        return (self._file,)

    def read(self, images: Sequence[str], labels: Sequence[str]) -> Told:
        """Feature by feature."""
        from geohydra.sources.chipset_shapes import read_features

        return read_features(images, labels, image=self._image, label=self._label, box=self._box)


class Masks:
    """A raster of classes for each image: of the same name; or, where `images` repeats the pattern of the images, with equal parts where
    the wildcards of both patterns stand. `values` are its pixel values and their classes."""

    def __init__(self, *, files: str, values: dict[int, str], images: str | list[str] | None = None) -> None:
        if not values:
            raise ConfigError("values", "masks need it", "tell the class of each pixel value: {1: building}")
        self._files, self._values = files, dict(values)
        self._images = (images,) if isinstance(images, str) else tuple(images or ())

    @property
    def patterns(self) -> Sequence[str]:
        """The rasters."""
        return (self._files,)

    def read(self, images: Sequence[str], labels: Sequence[str]) -> Told:
        """By names alone."""
        from geohydra.sources.pairing import group, pair

        files = group(images, self._images, None)
        found = pair(files, labels, [self._files], None)
        by_id = {one.files[0].uri: found.get(one.id) for one in files}
        return Told({uri: ChipLabels(raster=raster) for uri, raster in by_id.items() if raster}, values=self._values)
