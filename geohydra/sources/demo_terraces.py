"""The built-in world seen from nearer, with houses that stand wall to wall: neighbours differ in their roofs alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from geohydra.sources.demo import Demo
from geohydra.types import Scene

if TYPE_CHECKING:
    import numpy as np

    from geohydra.sources.world import Building

_WIDTHS = (5.5, 8.5)
"""Metres of a house in a row, from wall to wall."""


class DemoTerraces(Demo):
    """The scenes of `Demo` in finer pixels, in which most buildings are rows of houses, each with a roof of its own. Labels are the
    outlines of the houses, which touch."""

    labelled = ("building",)

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

        from geohydra.sources.world import make_place

        rng = np.random.default_rng([self.seed, number])
        found = make_place(rng, self.extent)
        place = replace(found, buildings=tuple(house for one in found.buildings for house in terrace(rng, one)))
        image = self.write_image(folder, name, place, rng, number)
        houses = (feature for feature in place.features() if feature[0] == "building")
        return self.written(folder, name, number, image, houses)


def terrace(rng: np.random.Generator, building: Building) -> Iterator[Building]:
    """The houses of a row that stands where a building does, wall to wall along its ridge; or the building."""
    import shapely
    from shapely import affinity

    from geohydra.sources.world import ROOFS

    middle = building.area.centroid
    lying = affinity.rotate(building.area, -building.angle, origin=middle, use_radians=True)
    left, bottom, right, top = lying.bounds
    count = int((right - left) / rng.uniform(*_WIDTHS))
    if count < 2 or rng.random() < 0.25:
        yield building
        return
    width = (right - left) / count
    first = int(rng.integers(len(ROOFS)))
    for place in range(count):
        part = lying.intersection(shapely.box(left + place * width, bottom, left + (place + 1) * width, top - rng.uniform(0, 1.5)))
        area = affinity.rotate(part, building.angle, origin=middle, use_radians=True)
        roof = ROOFS[(first + place * (1 + first % 2)) % len(ROOFS)]
        yield replace(building, area=area, height=building.height + rng.uniform(-1, 1), roof=roof)
