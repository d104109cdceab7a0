"""Images and labels by URI patterns: local folders, s3://, gs://, http(s)://."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from geohydra import storage
from geohydra.build import near
from geohydra.errors import ConfigError
from geohydra.sources.inspection import Inspection
from geohydra.types import LockEntry, Scene

if TYPE_CHECKING:
    from geohydra.sources.gathering import Gathering

_RASTERS = (".tif", ".tiff", ".vrt", ".img", ".jp2", ".png", ".asc", ".bil", ".nc")
_SIDECARS = (".dbf", ".shx", ".prj", ".cpg")

Names = Annotated[list[str], Field(min_length=1)]


class Files:
    """Scenes from raster files, labelled by vector files, by rasters, or not at all.

    `images`, `labels`: one pattern or several (`*`, `**`, `?`, `[abc]`, `{a,b}`). One label file serves all scenes; several are
    matched by name: the part of the name that `*` stands for, or the whole, must be equal.

    `scene`: a regular expression for the address of an image, with the group `scene` (its id), where files hold one band each
    also `band`, and `time` if the name tells it: `(?P<scene>LC08_\\d+)_(?P<band>B\\d+)`. Without it each file is a scene.

    `bands`: their names in the order of the file, a choice of the names that files have, or `{name: index or name in the file}`.
    `reference`: the band whose grid the others are read onto; by default the finest.

    `class_property`: the property of vector labels that tells the class; by default `class`. `class_mapping`: its values to class
    names; `*` is every other value, null leaves features out. `classes`: the names that may come out of this; one name alone is
    the class of all features that have no such property. `label_values`: pixel values of label rasters to class names.

    `nodata`: a value that is no measurement, whatever files say. `crs`: the CRS of images that have none; `allow_no_crs`: take
    images without a CRS as they are, in pixels.
    """

    def __init__(
        self,
        *,
        images: str | Names,
        labels: str | Names | None = None,
        scene: str | None = None,
        bands: Names | dict[str, int | str] | None = None,
        reference: str | None = None,
        class_property: str | None = None,
        class_mapping: dict[bool | int | str, str | None] | None = None,
        classes: Names | None = None,
        label_values: dict[int, str] | None = None,
        nodata: float | Literal["nan"] | None = None,
        crs: str | None = None,
        allow_no_crs: bool = False,
    ) -> None:
        self._images = _several(images)
        self._labels = _several(labels)
        self._rule = _compiled(scene)
        self._bands: Names | dict[str, int | str] | None = bands
        self._mapping = _mapping(class_mapping)
        self._property = class_property
        self._classes = tuple(classes) if classes else None
        self._values = dict(label_values or {})
        self._nodata: float | Literal["nan"] | None = nodata
        self._crs = crs
        self._allow_no_crs = allow_no_crs
        self._reference = reference
        self._check()

    @property
    def bands(self) -> tuple[str, ...]:
        """As the config names them; none where only the files tell."""
        return tuple(self._bands or ())

    @property
    def classes(self) -> tuple[str, ...] | None:
        """As the config names them; None where only the labels tell."""
        if self._values:
            return tuple(dict.fromkeys(self._values.values()))
        return self._classes

    def lock(self) -> Sequence[LockEntry]:
        """One listing a pattern; the parts of a shapefile are listed with it."""
        images = [entry for pattern in self._images for entry in storage.list_files(pattern)]
        labels = [entry for pattern in self._labels for entry in storage.list_files(pattern, role="label")]
        return tuple({entry.uri: entry for entry in [*images, *labels, *_sidecars(labels)]}.values())

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """Every header and all vector labels, but no pixel."""
        return self._gathering().inspect(lock)

    def scenes(self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None]) -> Iterator[Scene]:
        """Scenes with `labels/<scene>.parquet`; what was mended or left out is told in `notes.txt`, a sentence a line."""
        yield from self._gathering().scenes(lock, folder, progress)

    def _gathering(self) -> Gathering:
        from geohydra.sources.gathering import Gathering
        from geohydra.sources.headers import Rules
        from geohydra.sources.labels import ClassRule

        headers = Rules(self._bands, self._nodata, self._crs, self._allow_no_crs, self._reference)
        classes = ClassRule(self._property, self._mapping, self._classes)
        return Gathering(self._images, self._labels, self._rule, headers, classes, self._values)

    def _check(self) -> None:
        """What no single argument can tell."""
        rasters = [one for pattern in self._labels for one in storage.alternatives(pattern) if one.lower().endswith(_RASTERS)]
        if rasters and not self._values:
            raise ConfigError("label_values", "labels that are rasters need it", "tell the class of each pixel value: {1: building}")
        if self._values and not self._labels:
            raise ConfigError("labels", "label_values are given, but no labels", "name the label rasters")
        if self.bands and self._reference and self._reference not in self.bands:
            raise ConfigError("reference", f"{self._reference!r} is none of the bands", near(self._reference, self.bands))


def _several(patterns: str | list[str] | None) -> tuple[str, ...]:
    if patterns is None:
        return ()
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _compiled(rule: str | None) -> re.Pattern[str] | None:
    if rule is None:
        return None
    try:
        compiled = re.compile(rule)
    except re.error as cause:
        raise ConfigError("scene", f"is no regular expression ({cause})", "such as (?P<scene>[^/]+)_(?P<band>B\\d+)") from cause
    if "scene" not in compiled.groupindex:
        raise ConfigError("scene", "needs a group of the name `scene`", "such as (?P<scene>[^/]+)_(?P<band>B\\d+)")
    return compiled


def _mapping(given: Mapping[bool | int | str, str | None] | None) -> dict[str, str | None] | None:
    """Keys as text. YAML takes an unquoted `yes` for true: all that it may have meant is put in."""
    words = {True: ("True", "true", "yes", "on"), False: ("False", "false", "no", "off")}
    if given is None:
        return None
    pairs: dict[str, str | None] = {}
    for key, name in given.items():
        pairs |= dict.fromkeys(words[key] if isinstance(key, bool) else (str(key),), name)
    return pairs


def _sidecars(labels: Sequence[LockEntry]) -> Iterator[LockEntry]:
    """The other parts of shapefiles, where they exist."""
    for entry in labels:
        if entry.uri.lower().endswith(".shp"):
            for ending in _SIDECARS:
                uri = entry.uri[:-4] + ending
                if storage.exists(uri):
                    yield from storage.list_files(uri, role="sidecar")
