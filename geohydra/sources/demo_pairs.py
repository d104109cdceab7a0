"""The built-in world at two times: houses come and go, other crops grow, the light is another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from geohydra.sources.demo import Demo
from geohydra.sources.inspection import Inspection
from geohydra.types import Asset, LockEntry, Scene

_TIMES = (datetime(2022, 6, 5, 10, 30, tzinfo=UTC), datetime(2024, 6, 9, 10, 30, tzinfo=UTC))


class DemoPairs(Demo):
    """The scenes of `Demo`, each with two acquisitions. Labels are the houses that were `built` or `demolished` between them; crops,
    textures, haze and noise change as well, and are no change to find."""

    labelled = ("built", "demolished")

    def __init__(
        self,
        *,
        scenes: Annotated[int, Field(ge=1, le=1000)] = 6,
        size: Annotated[int, Field(ge=64, le=8192)] = 768,
        resolution: Annotated[float, Field(ge=0.25, le=5.0)] = 1.0,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(scenes=scenes, size=size, resolution=resolution, seed=seed)

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What would be made."""
        found = super().inspect(lock)
        times = " and ".join(f"{time:%Y-%m-%d}" for time in _TIMES)
        return replace(found, rows=[{**row, "times": times} for row in found.rows])

    def _scene(self, number: int, name: str, folder: Path) -> Scene:
        import numpy as np

        from geohydra.sources.later import later
        from geohydra.sources.world import make_place

        rng = np.random.default_rng([self.seed, number])
        before = make_place(rng, self.extent)
        after, changes = later(before, rng)
        assets = tuple(
            Asset(self.write_image(folder, f"{name}-{time:%Y}", place, rng, number), self.bands, (1, 2, 3, 4), "uint16", 0.0, time)
            for time, place in zip(_TIMES, (before, after), strict=True)
        )
        labels, told = self.write_labels(folder, name, changes, number, classes=self.labelled)
        return Scene(name, self.grid(number), assets, labels, properties={"geohydra:labels": told})
