"""What is written of a scene of many dates beside its map: a table of parcels, and curves through the year."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geohydra.prediction.parcels import ParcelCurves, Parcels, PixelSample, class_columns, mapped, parcels_of, write_parcels
from geohydra.types import Image, Scene, Series, Window

if TYPE_CHECKING:
    from geohydra.chips.class_curves import ClassCurves

_MOST = 40_000_000
"""Numbers of curves of parcels that are kept in memory, at most; of more there are none."""


class Onlooker:
    """Watches while a scene is read, and writes afterwards what it has seen: each pixel is read once for everything."""

    def __init__(self, scene: Scene, bands: Sequence[str], *, parcels: str | None, folder: Path) -> None:
        from geohydra.raster.series import read_times

        self._scene, self._bands, times = scene, tuple(bands), read_times(scene)
        self.parcels: Parcels | None = parcels_of(scene, parcels, folder)
        self._sample = PixelSample(scene.grid, times)
        self._curves: ParcelCurves | None = None
        if self.parcels is not None and len(self.parcels) * len(times) * len(bands) <= _MOST:
            self._curves = ParcelCurves(self.parcels, bands, times)

    def __call__(self, window: Window, image: Image | Series) -> None:
        """See `geohydra.prediction.scan.Watch`."""
        self._sample(window, image)
        if self._curves is not None:
            self._curves(window, image)

    def write_classes(self, out: Path, classes: Sequence[str], *, background: str | None) -> dict[str, Any]:
        """A table of parcels from the map, and curves; returns files by key, and numbers."""
        files = self._write_class_curves(out, classes)
        if self.parcels is None:
            return files
        chances, counts = mapped(self.parcels, out, len(classes), self._scene.grid)
        return files | self.write_parcels(out, class_columns(chances, counts, classes, background=background))

    def write_parcels(self, out: Path, columns: dict[str, Any]) -> dict[str, Any]:
        """The table of parcels and their curves."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.parcels is None:
            return {}
        write_parcels(out / "parcels.parquet", self.parcels, {"scene": [self._scene.id] * len(self.parcels)} | columns)
        files = {"parcels": f"{out.name}/parcels.parquet"}
        if self._curves is not None:
            pq.write_table(pa.table(self._curves.table()), out / "parcel_curves.parquet", compression="zstd")
            files["parcel_curves"] = f"{out.name}/parcel_curves.parquet"
        return {**files, "parcel_count": int((np.asarray(columns["pixels"]) > 0).sum())}

    def _write_class_curves(self, out: Path, classes: Sequence[str]) -> dict[str, Any]:
        import pandas

        curves = self._class_curves(out / "classes.tif", classes)
        table = pandas.DataFrame(curves.table())
        table.to_parquet(out / "class_curves.parquet", index=False)
        table.to_csv(out / "class_curves.csv", index=False, float_format="%.6g")
        return {"class_curves": f"{out.name}/class_curves.parquet", "class_curves_csv": f"{out.name}/class_curves.csv"}

    def _class_curves(self, file: Path, classes: Sequence[str]) -> ClassCurves:
        """By the classes of the map, of pixels evenly spread over it."""
        from geohydra.chips.class_curves import ClassCurves
        from geohydra.raster.files import open_raster

        curves = ClassCurves(self._bands, classes)
        series, rows, cols = self._sample.series()
        with open_raster(str(file)) as dataset:
            found = np.concatenate(
                [dataset.read(1, window=((row, row + 1), (0, dataset.width)))[0, cols[rows == row]] for row in np.unique(rows)]
            )
        order = np.argsort(rows, kind="stable")
        shown = Series(series.pixels[..., order], series.valid[..., order], series.times)
        curves.add(shown, found[None])
        return curves
