"""The built-in world seen from nearer, with houses that stand wall to wall: neighbours differ in their roofs alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from geohydra.sources.demo import Demo
from geohydra.sources.inspection import Inspection
from geohydra.types import Asset, LockEntry, Scene

if TYPE_CHECKING:
    import numpy as np

    from geohydra.sources.world import Building

_FIRST_DAY = datetime(2024, 6, 1, 10, 30, tzinfo=UTC)
_CLASSES = ("building",)
_WIDTHS = (5.5, 8.5)
"""Metres of a house in a row, from wall to wall."""


class DemoTerraces:
    """The scenes of `Demo` in finer pixels, in which most buildings are rows of houses, each with a roof of its own. Labels are the
    outlines of the houses, which touch."""

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
        """One, always the same."""
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

        from geohydra.sources.world import make_place

        demo = self._demo
        rng = np.random.default_rng([demo.seed, number])
        found = make_place(rng, demo.extent)
        place = replace(found, buildings=tuple(house for one in found.buildings for house in terrace(rng, one)))
        image = demo.write_image(folder, name, place, rng, number)
        houses = (feature for feature in place.features() if feature[0] == "building")
        labels, told = demo.write_labels(folder, name, houses, number, classes=_CLASSES)
        assets = (Asset(image, demo.bands, (1, 2, 3, 4), "uint16", 0.0),)
        return Scene(name, demo.grid(number), assets, labels, _FIRST_DAY + timedelta(days=number), {"geohydra:labels": told})


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
