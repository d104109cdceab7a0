"""Sampling a million windows: dividing the ground, drawing candidates, choosing by quotas, writing the index; time and memory."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import small
from numpy.typing import NDArray

from geohydra.chips.candidates import Candidates
from geohydra.chips.index import Chip, write_index
from geohydra.chips.label_centred import LabelCentred
from geohydra.chips.sampling import Keep, Random, Sampling, Sliding
from geohydra.chips.selection import select
from geohydra.chips.shared_ground import shared_ground
from geohydra.chips.splits import Blocks
from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape, Window

CLASSES = ("building", "road")
LIMIT = 30.0
"""Seconds for a million windows."""


class Even:
    """Labels that lie everywhere alike."""

    def weights(self, _scene: str, window: Window) -> NDArray[np.float64]:
        """Of a window."""
        return np.array([1.0, 0.2, 0.1]) * window.shape.size


def main() -> None:
    """Print one line a figure."""
    windows, scenes = (10_000, 4) if small(__doc__ or "") else (1_000_000, 16)
    each = windows // scenes
    with tempfile.TemporaryDirectory() as name:
        places = make_scenes(Path(name), scenes, round(each**0.5) * 64)
        split = Blocks(size=64 * 16, unit="px")
        ways: dict[str, Sampling] = {
            "sliding": Sliding(size=64, split=split),
            "random": Random(size=64, count=each, split=split),
            "label-centred": LabelCentred(size=64, count=each // 6, negatives=0.25, split=split),
        }
        for way, sampling in ways.items():
            timed(f"sampling, {way}", windows, partial(sampled, sampling, places))
        found = sampled(ways["sliding"], places)
        timed(
            "sampling, sliding, to chips in an index, by quotas, no ground in two splits",
            windows,
            lambda: indexed(found, places, Path(name)),
        )


def sampled(sampling: Sampling, scenes: Sequence[Scene]) -> tuple[list[Any], list[Candidates]]:
    """Regions, and the candidates of every scene."""
    content: Any = Even()
    regions = sampling.split.divide(scenes, chip=Shape(sampling.size, sampling.size), content=content, seed=0).regions
    known = [[region for region in regions if region.scene == scene.id] for scene in scenes]
    windows = [sampling.windows(scene, here, seed=0, classes=CLASSES) for scene, here in zip(scenes, known, strict=True)]
    return list(regions), [Candidates.of(found) for found in windows]


def indexed(found: tuple[list[Any], list[Candidates]], scenes: Sequence[Scene], folder: Path) -> tuple[list[Any], list[Candidates]]:
    """What the chip step does with them, pixels aside: quotas, no ground in two splits, an index."""
    regions, candidates = found
    rng = np.random.default_rng(0)
    chips = [
        Chip(one.scene, one.window, one.split, 1.0, {"building": max(0.0, share), "road": max(0.0, share - 0.5)})
        for part in candidates
        for one, share in zip(part, rng.uniform(-0.5, 1, len(part)), strict=True)
    ]
    luck = np.concatenate([part.luck for part in candidates])
    chosen = select(chips, luck, Keep(negatives=0.25, quotas={"building": len(chips) // 4, "road": len(chips) // 8}))
    if shared_ground(chips, regions, scenes) is not None:
        raise RuntimeError("two splits share ground")
    write_index(folder / "index.parquet", [chips[place] for place in chosen.places], scenes, CLASSES)
    return found


def timed(name: str, windows: int, call: Callable[[], tuple[list[Any], list[Candidates]]]) -> None:
    """Run once and print."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    count = sum(len(part) for part in call()[1])
    seconds = time.perf_counter() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    limit = LIMIT * windows / 1_000_000
    print(
        f"{name}: {count} windows in {seconds:.2f} s, ratio {seconds / limit:.3f} to {limit:g} s{'' if seconds <= limit else ' MISSED'};",
        end=" ",
    )
    print(f"peak memory grew by {grown:.0f} MB", flush=True)


def make_scenes(folder: Path, count: int, side: int) -> list[Scene]:
    """Scenes beside each other, with 20,000 boxes of each class in all; there are no pixels behind them."""
    import geopandas
    import shapely

    rng = np.random.default_rng(0)
    scenes = []
    for place in range(count):
        grid = Grid("EPSG:32633", (1.0, 0.0, 500_000.0 + place * side, 0.0, -1.0, 5_000_000.0), Shape(side, side))
        corners = rng.uniform(0, side - 40, (20_000 * len(CLASSES) // count, 2)) + np.array(grid.bounds[:2])
        shapes = shapely.box(*corners.T, *(corners + 40).T)
        path = folder / f"{place}.parquet"
        geopandas.GeoDataFrame({"class": rng.choice(CLASSES, len(shapes))}, geometry=shapes, crs=grid.crs).to_parquet(path)
        labels = LabelAsset(str(path), "vector", classes=CLASSES)
        scenes.append(Scene(f"scene-{place:02}", grid, (Asset("none.tif", ("red",), (1,), "uint8"),), labels))
    return scenes


if __name__ == "__main__":
    main()
