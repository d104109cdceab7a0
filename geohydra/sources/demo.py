"""The built-in world: scenes of farmland with villages, made from a seed. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.source import Share, everything
from geohydra.sources.inspection import Inspection
from geohydra.types import Asset, Grid, LabelAsset, LockEntry, Scene, Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from geohydra.sources.painting import Canvas
    from geohydra.sources.world import Place

_CRS = "EPSG:32632"
_ORIGIN = (560_000.0, 5_934_000.0)
_FIRST_DAY = datetime(2024, 6, 1, 10, 30, tzinfo=UTC)
_BANDS = ("red", "green", "blue", "nir")
_CLASSES = ("field", "water", "road", "building")


class Demo:
    """Square scenes of `size` pixels, side by side in UTM zone 32 with gaps between them: the same seed gives the same bytes.

    Pixels are reflectance times 10000 (uint16) in red, green, blue and near infrared; 0 is nodata: every third scene is cut by
    the edge of a swath. Labels are polygons of fields, water, roads and buildings; meadows, gardens and woods have none.
    Other built-in worlds of single images say what is `labelled` in them, and how a scene is made.
    """

    labelled: tuple[str, ...] = _CLASSES

    def __init__(
        self,
        *,
        scenes: Annotated[int, Field(ge=1, le=1000)] = 6,
        size: Annotated[int, Field(ge=64, le=8192)] = 768,
        resolution: Annotated[float, Field(ge=0.25, le=5.0)] = 1.0,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self._count = scenes
        self._size = size
        self._resolution = float(resolution)
        self.seed = seed

    @property
    def bands(self) -> tuple[str, ...]:
        """Four, always the same."""
        return _BANDS

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Always the same."""
        return self.labelled

    def lock(self) -> Sequence[LockEntry]:
        """It stands on no file."""
        return ()

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:  # noqa: ARG002 (it stands on no file)
        """What would be made."""
        shape = f"{self._size} x {self._size}"
        made = {
            "crs": _CRS,
            "resolution": f"{self._resolution:g}",
            "shape": shape,
            "bands": ", ".join(_BANDS),
            "dtype": "uint16",
            "nodata": "0",
        }
        rows = [{"scene": name, **made, "labels": "made with it", "verdict": "good"} for name in self.names]
        return Inspection(rows=rows, classes=frozenset(self.labelled), bands=_BANDS)

    def scenes(
        self,
        lock: Sequence[LockEntry],  # noqa: ARG002 (it stands on no file)
        folder: Path,
        progress: Callable[[int, int, str], None],
        share: Share = everything,
    ) -> Iterator[Scene]:
        """Make every scene, with its labels as GeoJSON (to look at) and as GeoParquet."""
        for number, name in share(list(enumerate(self.names))):
            progress(number, self._count, name)
            yield self._scene(number, name, folder)
        progress(self._count, self._count, "")

    @property
    def extent(self) -> float:
        """Metres of a scene on a side."""
        return self._size * self._resolution

    @property
    def names(self) -> list[str]:
        """Of the scenes, in their order."""
        return [f"place-{number:02d}" for number in range(1, self._count + 1)]

    def _scene(self, number: int, name: str, folder: Path) -> Scene:
        import numpy as np

        from geohydra.sources.world import make_place

        rng = np.random.default_rng([self.seed, number])
        place = make_place(rng, self.extent)
        image = self.write_image(folder, name, place, rng, number)
        return self.written(folder, name, number, image, place.features())

    def written(self, folder: Path, name: str, number: int, image: str, features: Iterable[tuple[str, BaseGeometry]]) -> Scene:
        """The scene of an image that was written, with its labels."""
        assets = (Asset(image, _BANDS, (1, 2, 3, 4), "uint16", 0.0),)
        labels, told = self.write_labels(folder, name, features, number, classes=self.labelled)
        return Scene(name, self.grid(number), assets, labels, _FIRST_DAY + timedelta(days=number), {"geohydra:labels": told})

    def write_image(
        self, folder: Path, name: str, place: Place, rng: np.random.Generator, number: int, also: Callable[[Canvas], None] | None = None
    ) -> str:
        """Paint a place, and what `also` adds, and write it; returns the file."""
        from geohydra.sources.painting import paint

        pixels = paint(place, rng, size=self._size, also=also)
        if number % 3 == 2:
            _cut(pixels, rng)
        return str(_write_image(folder / "images" / f"{name}.tif", pixels, self.grid(number)))

    def write_labels(
        self, folder: Path, name: str, features: Iterable[tuple[str, BaseGeometry]], number: int, *, classes: tuple[str, ...]
    ) -> tuple[LabelAsset, dict[str, int]]:
        """Write what is labelled, classes and areas in metres from the lower left corner; returns the labels, and a count by class."""
        return _write_labels(folder / "labels", name, features, self.grid(number), classes)

    def grid(self, number: int) -> Grid:
        """Places stand in rows of three, a tenth of their size apart."""
        step = 1.1 * self._size * self._resolution
        row, col = divmod(number, 3)
        left, top = _ORIGIN[0] + col * step, _ORIGIN[1] - row * step
        return Grid(_CRS, (self._resolution, 0.0, left, 0.0, -self._resolution, top), Shape(self._size, self._size))


def _cut(pixels: NDArray[np.uint16], rng: np.random.Generator) -> None:
    """The edge of a swath: beyond a slanted line nothing was measured."""
    import numpy as np

    size = pixels.shape[1]
    rows, cols = np.mgrid[:size, :size]
    edge = size * rng.uniform(0.86, 0.94) + (rows - size / 2) * rng.uniform(-0.28, -0.14)
    pixels[:, cols > edge] = 0


def _write_image(path: Path, pixels: NDArray[np.uint16], grid: Grid) -> Path:
    from geohydra.raster.write import CogWriter

    with CogWriter(path, grid=grid, bands=len(_BANDS), dtype="uint16", nodata=0, descriptions=_BANDS, block=256) as writer:
        writer.write(0, pixels)
    return path


def _write_labels(
    folder: Path, name: str, features: Iterable[tuple[str, BaseGeometry]], grid: Grid, classes: tuple[str, ...]
) -> tuple[LabelAsset, dict[str, int]]:
    import geopandas
    from shapely import affinity

    from geohydra.sources.labels import counted, write_labels

    corner = grid.bounds[:2]
    found = list(features)
    columns: dict[str, Any] = {"class": [kind for kind, _ in found], "id": [f"{name}-{number}" for number in range(1, len(found) + 1)]}
    shapes = [affinity.translate(area, *corner) for _, area in found]
    frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs=grid.crs)
    uri = write_labels(frame, folder / f"{name}.parquet")
    frame.to_crs("EPSG:4326").to_file(folder / f"{name}.geojson", driver="GeoJSON", engine="pyogrio", COORDINATE_PRECISION=8, RFC7946="YES")
    return LabelAsset(uri, "vector", classes=classes), counted(frame)
