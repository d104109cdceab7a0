"""Burning windows of a scene with a million polygons, against rasterize of the polygons of each window, picked beforehand."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _measure import measure_in_turn, report, small

from geohydra.types import Grid, Shape, Window
from geohydra.vector.labels import VectorGround
from geohydra.vector.polygons import Polygons

CLASSES = ("building", "road", "water")
IDS = {name: place for place, name in enumerate(CLASSES, start=1)}
ALLOWED = 1.5
DENSITY = 2500
"""Polygons in a square kilometre."""


def main() -> None:
    """Print one line a figure."""
    quick = small(__doc__ or "")
    count, windows, repeats = (20_000, 20, 2) if quick else (1_000_000, 200, 3)
    side = int(2000 * np.sqrt(count / DENSITY))
    grid = Grid("EPSG:32633", (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_000_000.0), Shape(side, side))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "labels.parquet")
        write_polygons(path, grid, count)
        ground = parse(path, grid, count)
        for size in (256, 1024):
            compare(ground, path, windows_of(side, size, windows * 256 // size), repeats, count)
        memory_of_windows(ground, windows_of(side, 512, windows))


def parse(path: Path, grid: Grid, count: int) -> VectorGround:
    """What the first window waits for, and what stays in memory."""
    started = time.process_time()
    ground = VectorGround(str(path), grid)
    ground.mask(Window(0, 0, Shape(1, 1)), ids=IDS, background=0)
    spent = time.process_time() - started
    size = Polygons(str(path), grid).size
    print(
        f"burn, {count} polygons: parsed and indexed in {spent:.2f} s CPU; {size / count:.0f} bytes a polygon, {size / 1e6:.0f} MB in all",
        flush=True,
    )
    return ground


def compare(ground: VectorGround, path: Path, windows: list[Window], repeats: int, count: int) -> None:
    """Windows of one size."""

    def ours() -> None:
        for window in windows:
            ground.mask(window, ids=IDS, background=0)

    mine, limit = measure_in_turn([ours, rasterized(path, ground.grid, windows)], repeats=repeats)
    touching = np.mean([len(ground.touching(window)) for window in windows])
    size = windows[0].shape.rows
    report(f"burn, {count} polygons, {len(windows)} windows of {size} px with {touching:.0f} polygons each", mine, limit, ALLOWED)


def rasterized(path: Path, grid: Grid, windows: list[Window]) -> Callable[[], None]:
    """GDAL through rasterio, of polygons that are in memory as shapely objects, lower classes first."""
    import geopandas
    from affine import Affine
    from rasterio.features import rasterize

    frame = geopandas.read_parquet(path)
    numbers = frame["class"].map(IDS).to_numpy()
    picked: list[list[tuple[Any, int]]] = []
    for window in windows:
        near = np.sort(frame.sindex.intersection(grid.at(window).bounds))
        near = near[np.argsort(numbers[near], kind="stable")]
        picked.append([(frame.geometry.iloc[place], int(numbers[place])) for place in near])

    def burn() -> None:
        for window, pairs in zip(windows, picked, strict=True):
            out = np.zeros((window.shape.rows, window.shape.cols), np.uint8)
            if pairs:
                rasterize(pairs, out=out, transform=Affine(*grid.at(window).transform))

    return burn


def memory_of_windows(ground: VectorGround, windows: list[Window]) -> None:
    """What burning adds to the memory."""
    for window in windows[:5]:
        ground.mask(window, ids=IDS, background=0)
    before = resident()
    for window in windows:
        ground.mask(window, ids=IDS, background=0)
    print(f"burn: {len(windows)} further windows of 512 px added {max(resident() - before, 0) / 1e6:.1f} MB", flush=True)


def write_polygons(path: Path, grid: Grid, count: int) -> None:
    """Turned rectangles of 5 to 20 m."""
    import geopandas
    import shapely

    rng = np.random.default_rng(1)
    left, bottom, right, top = grid.bounds
    middle = np.column_stack([rng.uniform(left, right, count), rng.uniform(bottom, top, count)])
    turn, half = rng.uniform(0, np.pi, count), rng.uniform(2.5, 10, (2, count))
    along = np.column_stack([np.cos(turn), np.sin(turn)]) * half[0][:, None]
    across = np.column_stack([-np.sin(turn), np.cos(turn)]) * half[1][:, None]
    corners = [middle + one * along + other * across for one, other in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]
    shapes = shapely.polygons(np.stack(corners, axis=1))
    geopandas.GeoDataFrame({"class": rng.choice(CLASSES, count)}, geometry=shapes, crs=grid.crs).to_parquet(path)


def windows_of(side: int, size: int, count: int) -> list[Window]:
    """Anywhere in the scene."""
    rng = np.random.default_rng(3)
    return [Window(int(row), int(col), Shape(size, size)) for row, col in rng.integers(0, side - size, (max(count, 4), 2))]


def resident() -> int:
    """Bytes of this process in memory."""
    return psutil.Process(os.getpid()).memory_info().rss


if __name__ == "__main__":
    main()
