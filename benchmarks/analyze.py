"""Statistics of a COG in one pass, against one bare windowed read of the same file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from _measure import measure_in_turn, report, small
from rasterio.windows import Window as RasterWindow

from geohydra.chips.analysis import measure_scene
from geohydra.raster.read import probe
from geohydra.raster.write import CogWriter
from geohydra.types import Asset, Grid, Scene, Shape

BLOCK = 512


def write_scene(path: Path, *, size: int, dtype: str) -> None:
    """Four bands of smooth ground with noise, as sensors see it; a corner is nodata."""
    random = np.random.default_rng(0)
    level, spread = (110, 25) if dtype == "uint8" else (3000, 700)
    grid = Grid("EPSG:32618", (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0), Shape(size, size))
    with CogWriter(path, grid=grid, bands=4, dtype=dtype, nodata=0, block=BLOCK) as writer:
        for row in range(0, size, BLOCK):
            ground = np.kron(random.normal(level, spread, (4, BLOCK // 32, size // 32)), np.ones((32, 32)))
            strip = (ground + random.normal(0, spread / 4, ground.shape)).clip(1, 60000 if dtype == "uint16" else 255)
            strip[:, :, : max(0, size // 4 - row)] = 0
            writer.write(row, strip.astype(dtype))


def scene_of(path: Path) -> Scene:
    header = probe(str(path))
    return Scene("s", header.grid, (Asset(header.uri, ("a", "b", "c", "d"), header.indexes, header.dtypes[0]),))


def bare(path: Path) -> Callable[[], object]:
    """Read strips along the blocks, do nothing with them."""

    def run() -> None:
        with rasterio.Env(GDAL_CACHEMAX=128 << 20), rasterio.open(path) as file:
            for row in range(0, file.height, BLOCK):
                file.read(window=RasterWindow(0, row, file.width, min(BLOCK, file.height - row)))

    return run


def ours(path: Path) -> Callable[[], object]:
    """What the analyze step does with each scene."""

    def run() -> object:
        scene = scene_of(path)
        return measure_scene(scene, scene.bands, scene.assets[0].dtype, ()).as_dict()

    return run


def main() -> None:
    """Print the figures."""
    quick = small(__doc__ or "")
    size, repeats = (1024, 3) if quick else (4096, 5)
    with tempfile.TemporaryDirectory() as name:
        for dtype in ("uint8", "uint16"):
            path = Path(name) / f"{dtype}.tif"
            write_scene(path, size=size, dtype=dtype)
            one, limit = measure_in_turn([ours(path), bare(path)], repeats=repeats)
            report(f"analyze {size * size / 1e6:.0f} Mpx, 4 bands {dtype}, deflate COG", one, limit, 1.5)


if __name__ == "__main__":
    main()
