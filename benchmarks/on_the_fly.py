"""Chips read on the fly from a COG and burnt from polygons, against a bare read and burn of polygons that were picked before."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _measure import measure_in_turn, small
from chip import CLASSES, write_image, write_labels

from geohydra.chips.gathering import SceneChips
from geohydra.chips.index import Chip
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape, Window

SIZE = 256
ALLOWED = 5.0
"""Milliseconds of CPU a chip."""


def main() -> None:
    """Print one line for each number of polygons; the seconds that the first chip waits for parsing are told by themselves."""
    quick = small(__doc__ or "")
    side, numbers, chips, repeats = (1024, (500, 5000), 16, 2) if quick else (10_000, (5_000, 50_000), 200, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid = Grid("EPSG:32633", (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_000_000.0), Shape(side, side))
        write_image(folder / "image.tif", grid, bands=3)
        windows = windows_of(side, chips)
        for count in numbers:
            labels = folder / f"labels-{count}.parquet"
            write_labels(labels, grid, count)
            compare(folder / "image.tif", labels, grid, windows, repeats)


def compare(image: Path, labels: Path, grid: Grid, windows: list[Window], repeats: int) -> None:
    """One number of polygons."""
    ours, bare = on_the_fly(image, labels, grid, windows), read_and_burn(image, labels, grid, windows)
    parsed, mine, limit = measure_in_turn([lambda: on_the_fly(image, labels, grid, windows[:1])(), ours, bare], repeats=repeats)
    each, least = 1000 * mine.cpu / len(windows), 1000 * limit.cpu / len(windows)
    verdict = "" if each <= ALLOWED else " MISSED"
    count = labels.stem.partition("-")[2]
    print(
        f"on the fly, {grid.shape.rows} px, {count} polygons: ours {each:.2f} ms CPU a chip, bare {least:.2f} ms "
        f"(target <= {ALLOWED:.0f} ms){verdict}; first chip {parsed.cpu:.2f} s",
        flush=True,
    )


def on_the_fly(image: Path, labels: Path, grid: Grid, windows: list[Window]) -> Callable[[], None]:
    """As train reads chips that are not stored."""
    asset = Asset(str(image), ("red", "green", "blue"), (1, 2, 3), "uint8")
    scene = Scene("scene", grid, (asset,), LabelAsset(str(labels), "vector", classes=CLASSES))
    index = [Chip("scene", window, "train") for window in windows]
    chips = SceneChips(index, [scene], SemanticSegmentation(classes=list(CLASSES)), None)

    def read() -> None:
        for place in range(len(index)):
            chips([place])

    return read


def read_and_burn(image: Path, labels: Path, grid: Grid, windows: list[Window]) -> Callable[[], None]:
    """rasterio alone: a windowed read, and rasterize of the polygons that touch the window, picked beforehand."""
    import geopandas
    import rasterio
    from affine import Affine
    from rasterio.features import rasterize
    from rasterio.windows import Window as RasterWindow

    frame = geopandas.read_parquet(labels)
    ids = {name: place for place, name in enumerate(CLASSES, start=1)}
    picked: list[list[tuple[Any, int]]] = []
    for window in windows:
        left, bottom, right, top = grid.at(window).bounds
        near = frame.iloc[frame.sindex.intersection((left, bottom, right, top))]
        picked.append(sorted(zip(near.geometry, near["class"].map(ids), strict=True), key=lambda pair: pair[1]))
    file = rasterio.open(image)

    def read() -> None:
        for window, pairs in zip(windows, picked, strict=True):
            file.read(window=RasterWindow(window.col, window.row, SIZE, SIZE))
            out = np.zeros((SIZE, SIZE), np.uint8)
            if pairs:
                rasterize(pairs, out=out, transform=Affine(*grid.at(window).transform))

    return read


def windows_of(side: int, count: int) -> list[Window]:
    """Anywhere in the scene."""
    rng = np.random.default_rng(3)
    return [Window(int(row), int(col), Shape(SIZE, SIZE)) for row, col in rng.integers(0, side - SIZE, (count, 2))]


if __name__ == "__main__":
    main()
