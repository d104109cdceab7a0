"""The built-in world at two times: houses come and go, other crops grow, the light is another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from geohydra.sources.demo import Demo
from geohydra.sources.inspection import Inspection
from geohydra.types import Asset, LockEntry, Scene

_TIMES = (datetime(2022, 6, 5, 10, 30, tzinfo=UTC), datetime(2024, 6, 9, 10, 30, tzinfo=UTC))
_CLASSES = ("built", "demolished")


class DemoPairs:
    """The scenes of `Demo`, each with two acquisitions. Labels are the houses that were `built` or `demolished` between them; crops,
    textures, haze and noise change as well, and are no change to find."""

    def __init__(
        self,
        *,
        scenes: Annotated[int, Field(ge=1, le=1000)] = 6,
        size: Annotated[int, Field(ge=64, le=8192)] = 768,
        resolution: Annotated[float, Field(ge=0.25, le=5.0)] = 1.0,
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
        times = " and ".join(f"{time:%Y-%m-%d}" for time in _TIMES)
        return Inspection(rows=[{**row, "times": times} for row in found.rows], classes=frozenset(_CLASSES), bands=self.bands)

    def scenes(
        self,
        lock: Sequence[LockEntry],  # noqa: ARG002 (it stands on no file)
        folder: Path,
        progress: Callable[[int, int, str], None],
    ) -> Iterator[Scene]:
        """Make both images of every scene, with the labels as GeoJSON (to look at) and as GeoParquet."""
        names = self._demo.names
        for number, name in enumerate(names):
            progress(number, len(names), name)
            yield self._scene(number, name, folder)
        progress(len(names), len(names), "")

    def _scene(self, number: int, name: str, folder: Path) -> Scene:
        import numpy as np

        from geohydra.sources.later import later
        from geohydra.sources.world import make_place

        demo = self._demo
        rng = np.random.default_rng([demo.seed, number])
        before = make_place(rng, demo.extent)
        after, changes = later(before, rng)
        assets = tuple(
            Asset(demo.write_image(folder, f"{name}-{time:%Y}", place, rng, number), demo.bands, (1, 2, 3, 4), "uint16", 0.0, time)
            for time, place in zip(_TIMES, (before, after), strict=True)
        )
        labels, told = demo.write_labels(folder, name, changes, number, classes=_CLASSES)
        return Scene(name, demo.grid(number), assets, labels, properties={"geohydra:labels": told})
