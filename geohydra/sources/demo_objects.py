"""The built-in world seen from nearer, with cars on its roads and in its yards: buildings and vehicles to find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from geohydra.sources.demo import Demo
from geohydra.sources.inspection import Inspection
from geohydra.types import Asset, LockEntry, Scene

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from geohydra.sources.vehicles import Vehicle
    from geohydra.sources.world import Place

_FIRST_DAY = datetime(2024, 6, 1, 10, 30, tzinfo=UTC)
_CLASSES = ("building", "vehicle")


class DemoObjects:
    """The scenes of `Demo` in finer pixels, with vehicles. Labels are the outlines of buildings and of vehicles, one each."""

    def __init__(
        self,
        *,
        scenes: Annotated[int, Field(ge=1, le=1000)] = 6,
        size: Annotated[int, Field(ge=64, le=8192)] = 768,
        resolution: Annotated[float, Field(ge=0.1, le=5.0)] = 0.5,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self._demo = Demo(scenes=scenes, size=size, resolution=resolution, seed=seed)

    @property
    def bands(self) -> tuple[str, ...]:
        """Four, always the same."""
        return self._demo.bands

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Two, always the same."""
        return _CLASSES

    def lock(self) -> Sequence[LockEntry]:
        """It stands on no file."""
        return ()

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What would be made."""
        found = self._demo.inspect(lock)
        return Inspection(rows=found.rows, classes=frozenset(_CLASSES), bands=self.bands)

    def scenes(
        self,
        lock: Sequence[LockEntry],  # noqa: ARG002 (it stands on no file)
        folder: Path,
        progress: Callable[[int, int, str], None],
    ) -> Iterator[Scene]:
        """Make every scene, with its labels as GeoJSON (to look at) and as GeoParquet."""
        names = self._demo.names
        for number, name in enumerate(names):
            progress(number, len(names), name)
            yield self._scene(number, name, folder)
        progress(len(names), len(names), "")

    def _scene(self, number: int, name: str, folder: Path) -> Scene:
        import numpy as np

        from geohydra.sources.vehicles import make_vehicles, paint_vehicles
        from geohydra.sources.world import make_place

        demo = self._demo
        rng = np.random.default_rng([demo.seed, number])
        place = make_place(rng, demo.extent)
        vehicles = make_vehicles(rng, place)
        image = demo.write_image(folder, name, place, rng, number, also=partial(paint_vehicles, vehicles=vehicles))
        labels, told = demo.write_labels(folder, name, _features(place, vehicles), number, classes=_CLASSES)
        assets = (Asset(image, demo.bands, (1, 2, 3, 4), "uint16", 0.0),)
        return Scene(name, demo.grid(number), assets, labels, _FIRST_DAY + timedelta(days=number), {"geohydra:labels": told})


def _features(place: Place, vehicles: Sequence[Vehicle]) -> Iterator[tuple[str, BaseGeometry]]:
    from geohydra.sources.vehicles import vehicle_areas

    yield from (found for found in place.features() if found[0] == "building")
    yield from vehicle_areas(vehicles, place)
