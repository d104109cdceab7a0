"""The built-in world seen by a camera that hovers over a village: sequences of frames with driving vehicles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.source import Share, everything
from geohydra.sources.demo import Demo
from geohydra.sources.inspection import Inspection
from geohydra.types import Asset, Grid, LabelAsset, LockEntry, Scene, Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from geohydra.sources.traffic import Driver
    from geohydra.sources.world import Place

_BANDS = ("red", "green", "blue")
_CLASSES = ("vehicle",)
_KINDS = ("flowing", "jam")
_START = datetime(2024, 6, 1, 10, 30, tzinfo=UTC)
_WIDER = 3
"""A place is so many times as wide as what the camera sees of it."""
_BRIGHTEST = 3800.0
"""Reflectance times 10000 that is white."""


class DemoVideo:
    """Sequences of `frames` frames of `size` pixels, each over another place of the demo world, `fps` of them a second: the same seed gives
    the same bytes. Each sequence is one scene with an acquisition for each frame; bands are red, green and blue (uint8).

    The camera sways by up to `sway` metres: frames lie at slightly different places of one grid. Labels are the outlines of
    vehicles, driving and parked, with the columns `track` and `frame`.
    """

    def __init__(
        self,
        *,
        sequences: Annotated[int, Field(ge=1, le=1000)] = 6,
        frames: Annotated[int, Field(ge=1, le=100_000)] = 20,
        size: Annotated[int, Field(ge=64, le=4096)] = 256,
        resolution: Annotated[float, Field(ge=0.25, le=2.0)] = 0.5,
        fps: Annotated[float, Field(gt=0, le=1000)] = 4.0,
        sway: Annotated[float, Field(ge=0, le=100)] = 4.0,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self._demo = Demo(scenes=sequences, size=_WIDER * size, resolution=resolution, seed=seed)
        self._frames, self._size, self._resolution, self._fps, self._sway = frames, size, float(resolution), fps, sway
        self._seed = seed

    @property
    def bands(self) -> tuple[str, ...]:
        """Three, always the same."""
        return _BANDS

    @property
    def classes(self) -> tuple[str, ...] | None:
        """One, always the same."""
        return _CLASSES

    @property
    def names(self) -> list[str]:
        """Of the sequences, in their order."""
        return [name.replace("place", "flight") for name in self._demo.names]

    def lock(self) -> Sequence[LockEntry]:
        """It stands on no file."""
        return ()

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What would be made."""
        told = {"shape": f"{self._size} x {self._size}", "bands": ", ".join(_BANDS), "dtype": "uint8", "nodata": "none"}
        told |= {"resolution": f"{self._resolution:g}", "frames": f"{self._frames} at {self._fps:g} a second"}
        rows = [{**row, **told, "scene": name} for name, row in zip(self.names, self._demo.inspect(lock).rows, strict=True)]
        return Inspection(rows=rows, classes=frozenset(_CLASSES), bands=_BANDS)

    def scenes(
        self,
        lock: Sequence[LockEntry],  # noqa: ARG002 (it stands on no file)
        folder: Path,
        progress: Callable[[int, int, str], None],
        share: Share = everything,
    ) -> Iterator[Scene]:
        """Make every sequence, with the vehicles of all its frames as GeoParquet."""
        for number, name in share(list(enumerate(self.names))):
            progress(number, len(self.names), name)
            yield self._scene(number, name, folder)
        progress(len(self.names), len(self.names), "")

    def _scene(self, number: int, name: str, folder: Path) -> Scene:
        import numpy as np

        from geohydra.sources.painting import paint
        from geohydra.sources.placing import around
        from geohydra.sources.world import make_place

        rng = np.random.default_rng([self._seed, number])
        place = make_place(rng, _WIDER * self._size * self._resolution)
        ground = paint(place, rng, size=_WIDER * self._size)[:3].astype(np.float32)
        drivers = self._drivers(place, rng, number)
        corners = self._path(np.array(_middle(place)), rng)
        grids = [self._grid(number, corner) for corner in corners]
        times = [_START + timedelta(days=number, seconds=frame / self._fps) for frame in range(self._frames)]
        assets = []
        for frame, (corner, grid) in enumerate(zip(corners, grids, strict=True)):
            pixels = self._frame(ground, drivers, frame / self._fps, corner, rng)
            path = _write(folder / "frames" / name / f"{frame:06d}.tif", pixels, grid)
            assets.append(Asset(str(path), _BANDS, (1, 2, 3), "uint8", time=times[frame]))
        told: dict[str, Any] = {"geohydra:sequence": name, "geohydra:frames": list(range(self._frames)), "geohydra:dated": True}
        scene = Scene(name, around(grids), tuple(assets), time=times[0], properties=told)
        return self._labelled(scene, drivers, grids, number, folder)

    def _drivers(self, place: Place, rng: np.random.Generator, number: int) -> list[Driver]:  # noqa: ARG002 (clips differ by number)
        from geohydra.sources.traffic import traffic

        return traffic(place, rng)

    def _path(self, middle: NDArray[np.float64], rng: np.random.Generator) -> list[tuple[int, int]]:
        """The upper left corner of each frame, rows and columns of the place: a slow sway around the village."""
        import numpy as np

        phase, turns = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.6, 1.4, 2)
        along = np.arange(self._frames)[:, None] / max(self._frames - 1, 1) * 2 * np.pi * turns
        offset = np.round(self._sway / self._resolution * np.sin(along + phase))
        wide = _WIDER * self._size
        row, col = wide - middle[1] / self._resolution, middle[0] / self._resolution
        start = np.round(np.array([row, col]) - self._size / 2)
        corners = np.clip(start + offset, 0, wide - self._size).astype(int)
        return [(int(row), int(col)) for row, col in corners]

    def _grid(self, number: int, corner: tuple[int, int]) -> Grid:
        """Of a frame, from its corner in the place."""
        whole = self._demo.grid(number)
        left, top = whole.transform[2] + corner[1] * self._resolution, whole.transform[5] - corner[0] * self._resolution
        return Grid(whole.crs, (self._resolution, 0.0, left, 0.0, -self._resolution, top), Shape(self._size, self._size))

    def _frame(
        self, ground: NDArray[np.float32], drivers: Sequence[Driver], seconds: float, corner: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """A picture `(band, row, col)` of the ground with what drives on it."""
        import numpy as np

        from geohydra.sources.traffic import draw

        row, col = corner
        pixels = ground[:, row : row + self._size, col : col + self._size].copy()
        top = _WIDER * self._size * self._resolution - row * self._resolution
        here = [vehicle for driver in drivers if (vehicle := driver.at(seconds)) is not None]
        draw(pixels, here, corner=(col * self._resolution, top), pixel=self._resolution)
        pixels += rng.standard_normal(pixels.shape, np.float32) * 25
        shown: NDArray[np.uint8] = np.clip(pixels / _BRIGHTEST * 255, 0, 255).astype(np.uint8)
        return shown

    def _labelled(self, scene: Scene, drivers: Sequence[Driver], grids: Sequence[Grid], number: int, folder: Path) -> Scene:
        """The vehicles that each frame shows, cut off at its edges."""
        from shapely import affinity, box

        from geohydra.sources.marks import Marks, write_marks

        whole = self._demo.grid(number)
        shift = whole.transform[2], whole.transform[5] - _WIDER * self._size * self._resolution
        a, _, c, _, e, f = scene.grid.transform
        marks = Marks(columns={"track": [], "frame": []})
        for frame, grid in enumerate(grids):
            seen = box(*grid.bounds)
            for track, driver in enumerate(drivers, start=1):
                vehicle = driver.at(frame / self._fps)
                part = None if vehicle is None else affinity.translate(vehicle.area, *shift).intersection(seen)
                if part is not None and part.area > _LEAST * self._resolution**2:
                    marks.add(affinity.affine_transform(part, (1 / a, 0, 0, 1 / e, -c / a, -f / e)), _CLASSES[0], _told(track, frame))
        labels = write_marks(marks, scene.grid, folder / "labels" / f"{scene.id}.parquet")
        return replace(scene, labels=labels, properties={**scene.properties, "geohydra:labels": marks.counts()})


class DemoClips(DemoVideo):
    """The same, but in every other sequence traffic is jammed: nobody moves. Each sequence is labelled as a whole: `flowing` or `jam`."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Two, always the same."""
        return _KINDS

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What would be made."""
        return replace(super().inspect(lock), classes=frozenset(_KINDS))

    def _drivers(self, place: Place, rng: np.random.Generator, number: int) -> list[Driver]:
        speed = number % 2 == 0
        return [replace(driver, speed=driver.speed if speed else 0.0) for driver in super()._drivers(place, rng, number)]

    def _labelled(
        self,
        scene: Scene,
        drivers: Sequence[Driver],  # noqa: ARG002 (the whole sequence is labelled)
        grids: Sequence[Grid],  # noqa: ARG002
        number: int,
        folder: Path,  # noqa: ARG002
    ) -> Scene:
        kind = _KINDS[number % 2]
        labels = LabelAsset(scene.assets[0].uri, "whole", classes=(kind,))
        return replace(scene, labels=labels, properties={**scene.properties, "geohydra:labels": {kind: 1}})


def _middle(place: Place) -> tuple[float, float]:
    """Where the camera looks: at the main road, in the village where there is one."""
    from shapely import Point

    line, half = place.roads[0].line, place.extent / 2
    village = Point(half, half) if place.village.is_empty else place.village.centroid
    x, y = line.interpolate(line.project(village)).coords[0]
    return float(x), float(y)


_LEAST = 4
"""Pixels of a vehicle that a frame must show for it to be labelled."""


def _told(track: int, frame: int) -> dict[str, Any]:
    return {"track": str(track), "frame": frame}


def _write(path: Path, pixels: NDArray[np.uint8], grid: Grid) -> Path:
    import rasterio
    from rasterio import Affine

    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": len(pixels), "height": grid.shape.rows, "width": grid.shape.cols, "dtype": "uint8"}
    storing = {"compress": "deflate", "predictor": 2, "photometric": "rgb", "tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(path, "w", crs=grid.crs, transform=Affine(*grid.transform), **profile, **storing) as file:
        file.write(pixels)
        file.descriptions = _BANDS
    return path
