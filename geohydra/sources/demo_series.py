"""The built-in world through the seasons of two years: what is grown shows by when it greens and ripens, not on a single day."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.source import Share, everything
from geohydra.sources.demo import Demo
from geohydra.sources.inspection import Inspection
from geohydra.types import Asset, LabelAsset, LockEntry, Scene

if TYPE_CHECKING:
    import numpy as np

    from geohydra.sources.world import Place

_CLASSES = ("barley", "wheat", "rape", "maize", "beet")
_FIRST_YEAR = 2023
_SEASONS = (0.0, -9.0, 6.0, -4.0, 10.0)
"""By how many days the seasons of the years are late."""


class DemoSeries:
    """Places of `Demo` on many days of some years, from March to October: a scene for each place and year, `place-01-2023`.

    Dates are irregular and differ from scene to scene; clouds are masked (0 is nodata). Every year other crops grow on the parcels, and
    all of them earlier or later. Labels are the parcels that are fields: their class is the crop, and they tell their `harvest` in tonnes
    a hectare; with `harvest` this is a raster too, a band without a time (NaN where nothing is grown). Scenes of one place show the same
    ground: spatial splits keep them together, and `chip/split=by_time` tests on another year.
    """

    def __init__(
        self,
        *,
        scenes: Annotated[int, Field(ge=1, le=1000)] = 3,
        years: Annotated[int, Field(ge=1, le=5)] = 2,
        size: Annotated[int, Field(ge=64, le=8192)] = 256,
        resolution: Annotated[float, Field(ge=0.25, le=5.0)] = 4.0,
        seed: Annotated[int, Field(ge=0)] = 0,
        harvest: bool = False,
    ) -> None:
        self._demo = Demo(scenes=scenes, size=size, resolution=resolution, seed=seed)
        self._harvest = harvest
        self._size, self._years = size, tuple(range(_FIRST_YEAR, _FIRST_YEAR + years))

    @property
    def bands(self) -> tuple[str, ...]:
        """Four, always the same."""
        return (*self._demo.bands, "harvest") if self._harvest else self._demo.bands

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Five crops, always the same."""
        return _CLASSES

    def lock(self) -> Sequence[LockEntry]:
        """It stands on no file."""
        return ()

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What would be made."""
        found = self._demo.inspect(lock)
        rows = [{**row, "scene": f"{row['scene']}-{year}"} for row in found.rows for year in self._years]
        return Inspection(rows=rows, classes=frozenset(_CLASSES), bands=self.bands)

    def scenes(
        self,
        lock: Sequence[LockEntry],  # noqa: ARG002 (it stands on no file)
        folder: Path,
        progress: Callable[[int, int, str], None],
        share: Share = everything,
    ) -> Iterator[Scene]:
        """Make every scene: a file for each date, and the labels as GeoJSON (to look at) and as GeoParquet."""
        names = self._demo.names
        every = [(number, name, year) for number, name in enumerate(names) for year in self._years]
        for place, (number, name, year) in share(list(enumerate(every))):
            progress(place, len(every), f"{name}-{year}")
            yield self._scene(number, name, year, folder)
        progress(len(every), len(every), "")

    def _scene(self, number: int, name: str, year: int, folder: Path) -> Scene:
        import numpy as np

        from geohydra.sources.seasons import grown
        from geohydra.sources.world import make_place

        demo = self._demo
        place = make_place(np.random.default_rng([demo.seed, number]), demo.extent)
        rng = np.random.default_rng([demo.seed, number, year])
        grows = grown(len(place.parcels), rng, season=_SEASONS[year - _FIRST_YEAR])
        days = self._images(folder, f"{name}-{year}", place, grows, number, year, rng)
        labels, told = self._labels(folder / "labels", f"{name}-{year}", place, grows, number)
        properties: dict[str, Any] = {"geohydra:labels": told, "place": name, "year": year}
        assets = tuple(Asset(uri, demo.bands, (1, 2, 3, 4), "uint16", 0.0, time) for time, uri in days)
        if self._harvest:
            assets = (*assets, self._still(folder / "harvest" / f"{name}-{year}.tif", place, grows, number))
        return Scene(f"{name}-{year}", demo.grid(number), assets, labels, assets[0].time, properties)

    def _images(
        self, folder: Path, name: str, place: Place, grows: Sequence[Any], number: int, year: int, rng: np.random.Generator
    ) -> list[tuple[datetime, str]]:
        """A file for each date."""
        import numpy as np

        from geohydra.raster.write import CogWriter
        from geohydra.sources import seasons
        from geohydra.sources.painting import BANDS, Canvas, paint

        still = paint(place, np.random.default_rng([self._demo.seed, number, 1]), size=self._size).astype(np.float32)
        canvas = Canvas(place, rng, size=self._size)
        numbers = canvas.burn([parcel.area for parcel in place.parcels])
        texture = canvas.noise(1.2)
        found = []
        for day, cover in seasons.acquisitions(rng):
            land = seasons.other_land(still, day)
            fields = seasons.fields_at(numbers, grows, day, texture)
            pixels = seasons.seen(np.where(numbers > 0, fields, land), rng)
            pixels[:, seasons.clouds(self._size, cover, rng)] = 0
            time = datetime(year, 1, 1, 10, 30, tzinfo=UTC) + timedelta(days=day - 1)
            path = folder / "images" / f"{name}_{time:%Y%m%d}.tif"
            with CogWriter(path, grid=self._demo.grid(number), bands=4, dtype="uint16", nodata=0, descriptions=BANDS, block=256) as writer:
                writer.write(0, pixels)
            found.append((time, str(path)))
        return found

    def _still(self, path: Path, place: Place, grows: Sequence[Any], number: int) -> Asset:
        """What every field yields."""
        import numpy as np

        from geohydra.raster.write import CogWriter
        from geohydra.sources.painting import Canvas

        numbers = Canvas(place, np.random.default_rng(0), size=self._size).burn([parcel.area for parcel in place.parcels])
        values = np.array([np.nan, *(field.harvest for field in grows)], np.float32)[numbers]
        with CogWriter(path, grid=self._demo.grid(number), bands=1, dtype="float32", nodata=float("nan"), block=256) as writer:
            writer.write(0, values[None])
        return Asset(str(path), ("harvest",), (1,), "float32", float("nan"))

    def _labels(self, folder: Path, name: str, place: Place, grows: Sequence[Any], number: int) -> tuple[LabelAsset, dict[str, int]]:
        """What grows on each parcel."""
        import geopandas
        from shapely import affinity, box

        from geohydra.sources.labels import counted, write_labels

        grid = self._demo.grid(number)
        square = box(0, 0, self._demo.extent, self._demo.extent)
        parts = [(parcel.area.intersection(square), field) for parcel, field in zip(place.parcels, grows, strict=True)]
        kept = [
            (area, field)
            for area, field in parts
            if area.geom_type == "Polygon" and area.area >= 4 * self._demo.grid(number).resolution[0] ** 2
        ]
        columns: dict[str, Any] = {
            "class": [field.crop for _, field in kept],
            "id": [f"{name}-{row}" for row in range(1, len(kept) + 1)],
            "harvest": [field.harvest for _, field in kept],
        }
        shapes = [affinity.translate(area, *grid.bounds[:2]) for area, _ in kept]
        frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs=grid.crs)
        uri = write_labels(frame, folder / f"{name}.parquet")
        lonlat = frame.to_crs("EPSG:4326")
        lonlat.to_file(folder / f"{name}.geojson", driver="GeoJSON", engine="pyogrio", COORDINATE_PRECISION=8, RFC7946="YES")
        return LabelAsset(uri, "vector", classes=_CLASSES), counted(frame)
