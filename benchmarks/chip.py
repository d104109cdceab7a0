"""Cutting chips with rasterised labels, against reading every pixel once and writing the same bytes raw."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from _measure import measure, report

from geohydra.chips.cutting import Cutting, cut_chips
from geohydra.chips.sampling import Sliding
from geohydra.chips.splits import Blocks
from geohydra.raster.write import CogWriter
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape

CLASSES = ("building", "road", "water")


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    small = parser.parse_args().small
    side, polygons, repeats = (1024, 400, 1) if small else (10_240, 5000, 3)
    with tempfile.TemporaryDirectory() as name:
        scene = make_scene(Path(name), side, polygons)
        task = SemanticSegmentation(classes=list(CLASSES))
        chips: list[int] = []

        def ours() -> None:
            shutil.rmtree(Path(name, "out"), ignore_errors=True)
            chips.append(len(cut(scene, task, Path(name, "out")).chips))

        def bare() -> None:
            shutil.rmtree(Path(name, "bare"), ignore_errors=True)
            read_and_write(scene, Path(name, "bare"))

        ours()
        bare()
        measured, limit = measure(ours, repeats=repeats), measure(bare, repeats=repeats)
        report(f"chip, {side} px, {polygons} polygons", measured, limit, 1.5)
        print(f"chip: {chips[-1]} chips, {chips[-1] / measured.wall:.0f} a second")


def cut(scene: Scene, task: SemanticSegmentation, out: Path) -> Cutting:
    """As the chip step does."""
    return cut_chips([scene], task, Sliding(size=256, split=Blocks(size=256, unit="px")), out, seed=0, progress=lambda *_: None)


def read_and_write(scene: Scene, out: Path) -> None:
    """The bare job: a windowed read of every chip in turn, and its bytes, validity bits and as many for labels to disk."""
    import rasterio
    from rasterio.windows import Window

    out.mkdir()
    labels, bits = np.zeros((256, 256), np.uint8), np.zeros(256 * 32, np.uint8)
    with rasterio.open(scene.assets[0].uri) as file, (out / "pixels.raw").open("wb") as pixels, (out / "labels.raw").open("wb") as rest:
        for row in range(0, scene.grid.shape.rows, 256):
            for col in range(0, scene.grid.shape.cols, 256):
                pixels.write(file.read(window=Window(col, row, 256, 256)))
                rest.write(labels)
                rest.write(bits)


def make_scene(folder: Path, side: int, polygons: int) -> Scene:
    """A tiled, compressed image of four bands, and polygons of three classes."""
    grid = Grid("EPSG:32633", (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_000_000.0), Shape(side, side))
    write_image(folder / "image.tif", grid)
    write_labels(folder / "labels.parquet", grid, polygons)
    asset = Asset(str(folder / "image.tif"), ("red", "green", "blue", "nir"), (1, 2, 3, 4), "uint8")
    return Scene("scene", grid, (asset,), LabelAsset(str(folder / "labels.parquet"), "vector", classes=CLASSES))


def write_image(path: Path, grid: Grid, *, bands: int = 4) -> None:
    """A COG as geohydra writes it, of ground with structure at every scale: about as hard to decode as aerial imagery."""
    rng = np.random.default_rng(0)
    side = grid.shape.rows
    pixels = np.full((bands, side, side), 110, np.float32)
    for factor in (256, 64, 16, 4, 1):
        few = -(-side // factor)
        pixels += rng.normal(0, 8, (bands, few, few)).astype(np.float32).repeat(factor, axis=1).repeat(factor, axis=2)[:, :side, :side]
    with CogWriter(path, grid=grid, bands=bands, dtype="uint8") as writer:
        writer.write(0, pixels.clip(0, 255).astype(np.uint8))


def write_labels(path: Path, grid: Grid, count: int) -> None:
    """Turned rectangles of 5 to 40 m."""
    import geopandas
    import shapely
    from shapely import affinity

    rng = np.random.default_rng(1)
    left, bottom, right, top = grid.bounds
    shapes = []
    for _ in range(count):
        x, y = rng.uniform(left, right), rng.uniform(bottom, top)
        high, wide = rng.uniform(5, 40, 2)
        shapes.append(affinity.rotate(shapely.box(x, y, x + wide, y + high), rng.uniform(0, 90)))
    frame = geopandas.GeoDataFrame({"class": rng.choice(CLASSES, count)}, geometry=shapes, crs=grid.crs)
    frame.to_parquet(path)


if __name__ == "__main__":
    main()
