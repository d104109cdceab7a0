"""Polygons of a class raster by strips with seams united, against `rasterio.features.shapes` over the whole array."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _measure import measure_in_turn, report, small
from rasterio.features import shapes

from geohydra.raster.write import CogWriter
from geohydra.types import Grid, Shape
from geohydra.vector.polygonize import polygonize

NAMES = {0: "background", 1: "building", 2: "road", 3: "water"}


def patches(size: int, *, scale: int, seed: int = 0) -> np.ndarray:
    """A smooth random map of four classes, with patches of about `scale` pixels, and one pixel in a thousand astray."""
    random = np.random.default_rng(seed)
    rows, cols = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    blur = np.exp(-np.square(np.hypot(rows, cols) * scale))
    fields = np.stack([np.fft.irfft2(np.fft.rfft2(random.normal(size=(size, size))) * blur, s=(size, size)) for _ in NAMES])
    classes = fields.argmax(axis=0).astype(np.uint8)
    astray = random.random((size, size)) < 0.001
    classes[astray] = random.integers(0, len(NAMES), int(astray.sum()))
    return classes


def bare(pixels: np.ndarray) -> Callable[[], object]:
    """Only trace, keep nothing."""
    return lambda: deque(shapes(pixels, mask=pixels > 0), maxlen=0)


def main() -> None:
    """Print the figures."""
    quick = small(__doc__ or "")
    size, repeats = (1024, 3) if quick else (4096, 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for scale in (20, 60):
            pixels = patches(size, scale=scale)
            raster = folder / f"classes-{scale}.tif"
            grid = Grid("EPSG:32618", (10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0), Shape(size, size))
            with CogWriter(raster, grid=grid, bands=1, dtype="uint8", nodata=255, names=NAMES) as writer:
                writer.write(0, pixels[None])

            def ours(raster: Path = raster) -> object:
                return polygonize(raster, folder / "p.parquet", names=NAMES, skip=["background"])

            def both(raster: Path = raster) -> object:
                return polygonize(raster, folder / "p.parquet", folder / "p.geojson", names=NAMES, skip=["background"])

            one, two, limit = measure_in_turn([ours, both, bare(pixels)], repeats=repeats)
            megapixels = size * size / 1e6
            report(f"vectorise {megapixels:.0f} Mpx, patches of {scale} px, GeoParquet", one, limit, 2.5)
            report(f"vectorise {megapixels:.0f} Mpx, patches of {scale} px, GeoParquet and GeoJSON", two, limit, 2.5)


if __name__ == "__main__":
    main()
