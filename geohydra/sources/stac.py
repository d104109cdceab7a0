"""Imagery of STAC catalogues: static ones by URI, APIs by a search; labels by URI patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from geohydra import signing, storage
from geohydra.build import near
from geohydra.errors import ConfigError, GeohydraError, Problems
from geohydra.raster.clouds import CloudMask
from geohydra.raster.composites import check_composite
from geohydra.source import Share, everything
from geohydra.sources.grids import TargetGrid
from geohydra.sources.inspection import Inspection
from geohydra.sources.label_rules import Case, Metres, Names, label_rules, several
from geohydra.types import LockEntry, Resampling, Scene

if TYPE_CHECKING:
    from geohydra.sources.stac_criteria import Criteria
    from geohydra.sources.stac_gathering import StacGathering
    from geohydra.sources.stac_items import Choice

Corner = Annotated[list[float], Field(min_length=2, max_length=2)]
Box = Annotated[list[float], Field(min_length=4, max_length=4)]
Corners = Annotated[list[Corner], Field(min_length=3)]


class Stac:
    """Scenes from STAC items: one item a scene, or those of one `group`.

    `catalog`: a catalog, collection, item or item collection (local, http(s)://, s3://, gs://), or the landing page of an API or
    of one of its collections. `collections`, `area` (`[west, south, east, north]`, corners `[lon, lat]`, or a file), `time`
    (`2024`, `2024-05-01/2024-08-31`, `2024-05/..`), `max_cloud` (per cent), `query` (`{property: {lte: value}}`) and, for
    APIs alone, `filter` (CQL2) say which items; `limit` how many.

    `assets`: keys of those that are images; by default all with measurements. `bands`: harmonised names (`red`, `nir`; or
    what an item calls them), or `{name: asset}`, `{name: "asset:2"}`. `reference`: the band whose grid the others are read
    onto; by default the finest. `scaled`: take scale and offset from items. `trust_items`: open no file of which its item
    tells CRS, transform, shape and type.

    `group`: items that are one scene: `tile`, `place` (footprints that lie on each other), `collection`, `all`, or properties; its
    items are acquisitions of a series. With `day` in it those of one day are a mosaic. `composite` says how acquisitions become
    one image. `clouds`: its `band` is the asset of each item that tells them (`scl`, or `qa:2`).

    `sign`: what signs addresses each time that they are read: an installed signer, or a function of a package that the environment
    trusts. `grid`, `resampling`, `labels` and what follows are as in the source `files`.
    """

    listed_by: ClassVar[tuple[str, ...]] = (
        *("catalog", "collections", "area", "time", "max_cloud", "query", "filter", "limit"),
        *("assets", "bands", "group", "clouds", "sign", "labels", "aoi", "ignore"),
    )
    """Keys on which a lock depends."""

    def __init__(
        self,
        *,
        catalog: Annotated[str, Field(min_length=1)],
        collections: str | Names | None = None,
        area: Box | Corners | str | None = None,
        time: str | int | None = None,
        max_cloud: Annotated[float, Field(ge=0, le=100)] | None = None,
        query: dict[str, Any] | None = None,
        filter: str | dict[str, Any] | None = None,
        limit: Annotated[int, Field(ge=1)] | None = None,
        assets: Names | None = None,
        bands: Names | dict[str, int | str] | None = None,
        reference: str | None = None,
        grid: TargetGrid | None = None,
        resampling: dict[str, Resampling] | None = None,
        nodata: float | Literal["nan"] | None = None,
        scaled: bool = True,
        trust_items: bool = True,
        group: str | Names | None = None,
        composite: str | None = None,
        clouds: CloudMask | None = None,
        sign: str | None = None,
        labels: str | Names | None = None,
        class_property: str | None = None,
        class_mapping: dict[bool | int | str, str | None] | None = None,
        class_rules: list[Case] | None = None,
        classes: Names | None = None,
        label_values: dict[int, str | None] | None = None,
        label_layer: str | None = None,
        label_crs: str | None = None,
        buffer: Metres | dict[str, Metres] | None = None,
        aoi: str | Names | None = None,
        ignore: str | Names | None = None,
        unlabelled: Literal["background", "ignore"] = "background",
        priority: Names | None = None,
    ) -> None:
        self._catalog = catalog
        self._asked = (several(collections), area, time, max_cloud, query or {}, filter, limit)
        self._assets = tuple(assets or ())
        self._bands: Names | dict[str, int | str] | None = bands
        self._grid = grid or TargetGrid()
        self._reference = reference or self._grid.reference
        self._resampling = dict(resampling or {})
        self._nodata = None if nodata is None else float(nodata)
        self._scaled = scaled
        self._trust = trust_items
        self._group = several(group)
        self._composite = composite
        self._clouds = clouds
        self._sign = sign
        self._labels = several(labels)
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
        self._check()

    @property
    def bands(self) -> tuple[str, ...]:
        """As the config names them; none where only the items tell."""
        return tuple(self._bands or ())

    @property
    def classes(self) -> tuple[str, ...] | None:
        """As the config names them; None where only the labels tell."""
        return self._label_rules.names

    def lock(self) -> Sequence[LockEntry]:
        """One search; of files on this machine also size and time of change. No image is opened."""
        return self.lock_watched(_unheard)

    def lock_watched(self, progress: Callable[[int, int, str], None]) -> Sequence[LockEntry]:
        """The same, told of while it goes on: the total is 0 where nobody knows it yet."""
        from geohydra.sources.stac_items import entries
        from geohydra.sources.stac_places import places
        from geohydra.sources.stac_search import search

        found = search(self._catalog, self._criteria(), progress)
        choice = self._choice()
        images: list[LockEntry] = []
        errors: list[GeohydraError] = []
        for item, place in zip(found, places(found, self._group), strict=True):
            try:
                images += entries(item, choice, place)
            except GeohydraError as error:
                errors.append(error)
        if errors:
            raise Problems(errors)
        labels = [entry for pattern in self._labels for entry in storage.list_files(pattern, role="label")]
        regions = self._label_rules.lock() if labels else []
        return tuple({(entry.uri, entry.role): entry for entry in [*_stated(images), *labels, *regions]}.values())

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """Every header, also of files of which their items tell enough, and all vector labels; no pixel."""
        return self._gathering().inspect(lock)

    def inspect_watched(self, lock: Sequence[LockEntry], progress: Callable[[int, int, str], None]) -> Inspection:
        """The same, told of while it goes on."""
        return self._gathering().inspect(lock, progress)

    def scenes(
        self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None], share: Share = everything
    ) -> Iterator[Scene]:
        """As the lock tells them: no catalogue is asked again."""
        yield from self._gathering().scenes(lock, folder, progress, share)

    def _criteria(self) -> Criteria:
        from geohydra.sources.stac_criteria import Criteria, parse_interval, parse_query, read_area

        collections, area, time, max_cloud, query, filtered, limit = self._asked
        return Criteria(
            collections=collections,
            area=None if area is None else read_area(area),
            interval=None if time is None else parse_interval(str(time)),
            max_cloud=max_cloud,
            query=parse_query(query),
            filter=filtered,
            limit=limit,
        )

    def _choice(self) -> Choice:
        from geohydra.sources.stac_items import Choice

        clouds = self._clouds.band if self._clouds else None
        return Choice(self._assets, self._bands, clouds, self._sign)

    def _gathering(self) -> StacGathering:
        from geohydra.sources.headers import Rules
        from geohydra.sources.stac_gathering import StacGathering

        rules = Rules(self._bands, self._nodata, None, False, self._reference, self._resampling, None, self._clouds, self._composite)
        return StacGathering(
            self._catalog, self._labels, rules, self._label_rules, grid=self._grid, scaled=self._scaled, opened=not self._trust
        )

    def _check(self) -> None:
        """What no single argument can tell, and what takes no catalogue to see."""
        from geohydra.sources.stac_criteria import check_area, parse_interval, parse_query

        _, area, time, _, query, _, _ = self._asked
        parse_query(query)
        if time is not None:
            parse_interval(str(time))
        if area is not None:
            check_area(area)
        if self._sign is not None:
            signing.find(self._sign)
        if self._clouds is not None and self._clouds.file is not None:
            raise ConfigError("clouds.file", "every item has a mask of its own", "name its asset with source.clouds.band")
        if self.bands and self._reference and self._reference not in self.bands:
            raise ConfigError("reference", f"{self._reference!r} is none of the bands", near(self._reference, self.bands))
        if self._label_rules.raster and not self._labels:
            raise ConfigError("labels", "label_values are given, but no labels", "name the label rasters")
        self._check_composite()

    def _check_composite(self) -> None:
        if self._composite is not None:
            check_composite(self._composite, self.bands, where="composite")
        if self._composite is not None and not self._group:
            raise ConfigError("composite", "each item is a scene of its own: there is nothing to compose", "say which are one with group")


def _stated(entries: Sequence[LockEntry]) -> Iterator[LockEntry]:
    """Of files on this machine also size and time of change. What is missing is told when the file is opened."""
    for entry in entries:
        path = storage.local_path(entry.uri) if storage.is_local(entry.uri) else None
        if path is None or not path.exists():
            yield entry
        else:
            now = storage.stat(entry.uri)
            yield replace(entry, size=now.size, modified=now.modified)


def _unheard(done: int, total: int, text: str) -> None:
    """Progress that nobody watches."""
