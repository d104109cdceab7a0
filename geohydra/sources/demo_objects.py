"""The built-in world seen from nearer, with cars on its roads and in its yards: buildings and vehicles to find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from geohydra.sources.demo import Demo
from geohydra.types import Scene

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from geohydra.sources.vehicles import Vehicle
    from geohydra.sources.world import Place


class DemoObjects(Demo):
    """The scenes of `Demo` in finer pixels, with vehicles. Labels are the outlines of buildings and of vehicles, one each."""

    labelled = ("building", "vehicle")

    def __init__(
        self,
        *,
        scenes: Annotated[int, Field(ge=1, le=1000)] = 6,
        size: Annotated[int, Field(ge=64, le=8192)] = 768,
        resolution: Annotated[float, Field(ge=0.1, le=5.0)] = 0.5,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(scenes=scenes, size=size, resolution=resolution, seed=seed)

    def _scene(self, number: int, name: str, folder: Path) -> Scene:
        import numpy as np

        from geohydra.sources.vehicles import make_vehicles, paint_vehicles
        from geohydra.sources.world import make_place

        rng = np.random.default_rng([self.seed, number])
        place = make_place(rng, self.extent)
        vehicles = make_vehicles(rng, place)
        image = self.write_image(folder, name, place, rng, number, also=partial(paint_vehicles, vehicles=vehicles))
        return self.written(folder, name, number, image, _features(place, vehicles))


def _features(place: Place, vehicles: Sequence[Vehicle]) -> Iterator[tuple[str, BaseGeometry]]:
    from geohydra.sources.vehicles import vehicle_areas

    yield from (found for found in place.features() if found[0] == "building")
    yield from vehicle_areas(vehicles, place)
