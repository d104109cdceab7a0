"""Images and labels by URI patterns: local folders, s3://, gs://, http(s)://."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from geohydra import storage
from geohydra.build import near
from geohydra.errors import ConfigError
from geohydra.raster.clouds import CloudMask
from geohydra.raster.composites import check_composite
from geohydra.source import Share, everything
from geohydra.sources.grids import TargetGrid
from geohydra.sources.inspection import Inspection
from geohydra.sources.label_rules import Case, Metres, Names, label_rules, several
from geohydra.sources.pairing import Mosaic
from geohydra.sources.rules import compiled
from geohydra.types import LockEntry, Resampling, Scene

if TYPE_CHECKING:
    from geohydra.sources.gathering import Gathering

_RASTERS = (".tif", ".tiff", ".vrt", ".img", ".jp2", ".png", ".asc", ".bil", ".nc")
_SIDECARS = (".dbf", ".shx", ".prj", ".cpg")


Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class Files:
    """Scenes from raster files, labelled by vector files, by rasters, or not at all.

    `images`, `labels`: one pattern or several (`*`, `**`, `?`, `[abc]`, `{a,b}`). One label file serves all scenes; several are
    matched by name: the part of the name that `*` stands for, or the whole, must be equal.

    `scene`: a regular expression for the address of an image, with the group `scene` (its id), where files hold one band each
    also `band`, and `time` if the name tells it: `(?P<scene>LC08_\\d+)_(?P<band>B\\d+)`. Without it each file is a scene. Files of
    one scene and band that were taken at different times are a series; `composite` says how it becomes one image where a task asks for
    one. Those of one time are a mosaic if `mosaic` says which lies above: `name` by the alphabet, `newest` or `oldest` by time (then
    there is no series); where the upper one has no measurement the next one counts.

    `bands`: their names in the order of the file, a choice of the names that files have, or `{name: index or name in the file}`.
    `reference`: the band whose grid the others are read onto; by default the finest. `grid`: one CRS and resolution for all scenes.
    `resampling`: how bands come onto another grid, one way for all or by name (`*`: all others); by default bilinear, and always by
    the nearest pixel for bands whose numbers are codes (with a palette, or named as a quality band) unless they are named here.
    `scaling`: `file` to scale numbers as the file asks, or `[scale, offset]`, one pair for all or by band; by default they stay as
    they are. `clouds`: a band or file that tells where there is no measurement.

    `class_property`: the property of vector labels that tells the class; by default `class`. `class_mapping`: its values to class
    names; `*` is every other value, null leaves features out. `class_rules`: conditions on properties, of which the first that fits
    gives the class: `[{where: "height > 10 and type in ('a', 'b')", class: tall}, {class: low}]`. `classes`: the names that may come
    out of this; one name alone is the class of all features that have no such property. `label_values`: pixel values of label
    rasters to class names; null is ground that does not count.

    `label_layer`: the layer of a file with several. `label_crs`: of labels that tell none. `buffer`: metres by which points and lines
    become areas, one for all or by class (`*`: all others). `aoi`: polygon files outside of which no ground counts; inside, what has no
    label is background. `ignore`: polygon files, or classes, whose ground does not count. `unlabelled`: what ground without a
    label is. `priority`: classes from the uppermost down, where labels overlap; others lie below, the task's later classes above.

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
        grid: TargetGrid | None = None,
        mosaic: Mosaic = "none",
        resampling: Resampling | dict[str, Resampling] | None = None,
        scaling: Literal["file"] | Pair | dict[str, Pair] | None = None,
        clouds: CloudMask | None = None,
        composite: str | None = None,
        class_property: str | None = None,
        class_mapping: dict[bool | int | str, str | None] | None = None,
        classes: Names | None = None,
        class_rules: list[Case] | None = None,
        label_values: dict[int, str | None] | None = None,
        label_layer: str | None = None,
        label_crs: str | None = None,
        buffer: Metres | dict[str, Metres] | None = None,
        aoi: str | Names | None = None,
        ignore: str | Names | None = None,
        unlabelled: Literal["background", "ignore"] = "background",
        priority: Names | None = None,
        nodata: float | Literal["nan"] | None = None,
        crs: str | None = None,
        allow_no_crs: bool = False,
    ) -> None:
        self._images = several(images)
        self._labels = several(labels)
        self._rule = compiled(scene, group="scene", example=r"(?P<scene>[^/]+)_(?P<band>B\d+)")
        self._bands: Names | dict[str, int | str] | None = bands
        self._label_rules = label_rules(
            class_property=class_property,
            class_mapping=class_mapping,
            class_rules=class_rules,
            classes=classes,
            label_values=label_values,
            label_layer=label_layer,
            label_crs=label_crs,
            buffer=buffer,
            ignore=ignore,
            aoi=aoi,
            unlabelled=unlabelled,
            priority=priority,
        )
        self._nodata: float | Literal["nan"] | None = nodata
        self._crs = crs
        self._allow_no_crs = allow_no_crs
        self._reference = reference
        self._grid = grid or TargetGrid()
        self._mosaic = mosaic
        self._resampling: dict[str, Resampling] = resampling if isinstance(resampling, dict) else {"*": resampling} if resampling else {}
        self._scaling: Literal["file"] | dict[str, Pair] | None = {"*": scaling} if isinstance(scaling, list) else scaling
        self._clouds = clouds
        self._composite = composite
        self._check()

    @property
    def bands(self) -> tuple[str, ...]:
        """As the config names them; none where only the files tell."""
        return tuple(self._bands or ())

    @property
    def classes(self) -> tuple[str, ...] | None:
        """As the config names them; None where only the labels tell."""
        return self._label_rules.names

    def lock(self) -> Sequence[LockEntry]:
        """One listing a pattern; the parts of a shapefile are listed with it."""
        images = [entry for pattern in self._images for entry in storage.list_files(pattern)]
        labels = [entry for pattern in self._labels for entry in storage.list_files(pattern, role="label")]
        regions = self._label_rules.lock() if labels else []
        return tuple({entry.uri: entry for entry in [*images, *labels, *regions, *_sidecars([*labels, *regions])]}.values())

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """Every header and all vector labels, but no pixel."""
        return self._gathering().inspect(lock)

    def inspect_watched(self, lock: Sequence[LockEntry], progress: Callable[[int, int, str], None]) -> Inspection:
        """The same, told of while it goes on."""
        return self._gathering().inspect(lock, progress)

    def scenes(
        self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None], share: Share = everything
    ) -> Iterator[Scene]:
        """Scenes with `labels/<scene>.parquet`; what was mended or left out is told in `notes.txt`, a sentence a line."""
        yield from self._gathering().scenes(lock, folder, progress, share)

    def _gathering(self) -> Gathering:
        from geohydra.sources.gathering import Gathering
        from geohydra.sources.headers import Rules

        headers = Rules(
            self._bands,
            self._nodata,
            self._crs,
            self._allow_no_crs,
            self._reference or self._grid.reference,
            resampling=self._resampling,
            scaling=self._scaling,
            clouds=self._clouds,
            composite=self._composite,
        )
        return Gathering(self._images, self._labels, self._rule, headers, self._label_rules, grid=self._grid, mosaic=self._mosaic)

    def _check(self) -> None:
        """What no single argument can tell."""
        rasters = [one for pattern in self._labels for one in storage.alternatives(pattern) if one.lower().endswith(_RASTERS)]
        if rasters and not self._label_rules.raster:
            raise ConfigError("label_values", "labels that are rasters need it", "tell the class of each pixel value: {1: building}")
        if self._label_rules.raster and not self._labels:
            raise ConfigError("labels", "label_values are given, but no labels", "name the label rasters")
        if self._reference and self._grid.reference:
            raise ConfigError("grid.like", "names a band, as source.reference does", "give one or the other")
        if self._mosaic in ("newest", "oldest") and (self._rule is None or "time" not in self._rule.groupindex):
            raise ConfigError("mosaic", f"{self._mosaic!r} needs a time, which no name tells", "give source.scene a group `time`")
        if self._composite is not None:
            check_composite(self._composite, self.bands, where="composite")
        self._check_bands()

    def _check_bands(self) -> None:
        """What is said of bands by name, where their names are given too."""
        if not self.bands:
            return
        clouds = {self._clouds.band} if self._clouds and self._clouds.band else set()
        scaling = self._scaling if isinstance(self._scaling, dict) else {}
        told = [*(("resampling", name) for name in self._resampling), *(("scaling", name) for name in scaling)]
        for key, name in told:
            if name != "*" and name not in {*self.bands, *clouds}:
                raise ConfigError(f"{key}.{name}", "is none of the bands", near(name, self.bands))
        if self._reference and self._reference not in self.bands:
            raise ConfigError("reference", f"{self._reference!r} is none of the bands", near(self._reference, self.bands))


def _sidecars(labels: Sequence[LockEntry]) -> Iterator[LockEntry]:
    """The other parts of shapefiles, where they exist."""
    for entry in labels:
        if entry.uri.lower().endswith(".shp"):
            for ending in _SIDECARS:
                uri = entry.uri[:-4] + ending
                if storage.exists(uri):
                    yield from storage.list_files(uri, role="sidecar")
