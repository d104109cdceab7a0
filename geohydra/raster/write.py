"""Writing a raster row by row: a cloud-optimised GeoTIFF (COG) that exists whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow

from geohydra import storage
from geohydra.errors import DataError, StoreError
from geohydra.raster.files import gdal_env
from geohydra.raster.read import probe
from geohydra.types import Grid, Shape

Color = tuple[int, int, int, int]
"""Red, green, blue and opacity, 0 to 255."""


class CogWriter:
    """Takes strips of rows from the top; on leaving without an error `path` is a valid COG, else it is not touched.

    Memory: one row of blocks. Names of classes stand in the tags `CLASS_<id>` and, for QGIS, in `<path>.aux.xml`. Overviews
    take the commonest pixel where there are colours or names, else the mean, unless `overviews` says otherwise. `scale` tells
    readers what to multiply with.
    """

    def __init__(
        self,
        path: Path,
        *,
        grid: Grid,
        bands: int,
        dtype: str,
        nodata: float | None = None,
        colors: Mapping[int, Color] | None = None,
        names: Mapping[int, str] | None = None,
        descriptions: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        scale: float | None = None,
        overviews: Literal["average", "mode", "nearest"] | None = None,
        compress: str = "deflate",
        block: int = 512,
    ) -> None:
        self.path = path
        self._grid = grid
        self._dtype = np.dtype(dtype)
        self._nodata = nodata
        self._colors = dict(colors or {})
        self._names = dict(names or {})
        self._descriptions = tuple(descriptions)
        self._tags = dict(tags or {}) | {f"CLASS_{key}": name for key, name in self._names.items()}
        self._scale = scale
        self._overviews = overviews
        self._compress = compress
        self._block = block
        self._next = 0
        self._strip = np.zeros((bands, min(block, grid.shape.rows), grid.shape.cols), self._dtype)
        self._file: Any = None
        self._scratch = Path()

    def __enter__(self) -> CogWriter:
        with storage.writing(str(self.path)):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._scratch = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=f".{self.path.name}."))
        try:
            with self._writing():
                self._file = rasterio.open(self._scratch / "rows.tif", "w", **self._profile())
                self._describe()
        except BaseException:
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._file.close()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def write(self, row: int, pixels: NDArray[Any]) -> None:
        """The next rows `(band, row, col)`, as wide as the raster; `row` is the first of them."""
        if row != self._next or pixels.shape[0] != self._strip.shape[0] or pixels.shape[2] != self._strip.shape[2]:
            raise ValueError(f"row {self._next} of shape {self._strip.shape} is next, not row {row} of shape {pixels.shape}")
        if row + pixels.shape[1] > self._grid.shape.rows:
            raise ValueError(f"rows {row} to {row + pixels.shape[1]} do not fit into {self._grid.shape.rows}")
        while pixels.shape[1]:
            pixels = self._take(pixels)

    def _take(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Use what fits into the current row of blocks, and write that once it is full; return the rest."""
        begun = self._next % self._block
        rows = min(self._block - begun, pixels.shape[1])
        whole = rows == self._block
        if not whole:
            self._strip[:, begun : begun + rows] = pixels[:, :rows]
        self._next += rows
        if self._next % self._block == 0 or self._next == self._grid.shape.rows:
            full = pixels[:, :rows] if whole else self._strip[:, : begun + rows]
            self._flush(np.ascontiguousarray(full, self._dtype))
        return pixels[:, rows:]

    def _flush(self, strip: NDArray[Any]) -> None:
        rows = strip.shape[1]
        with self._writing():
            self._file.write(strip, window=RasterWindow(0, self._next - rows, self._grid.shape.cols, rows))

    def _profile(self) -> dict[str, Any]:
        return {
            "driver": "GTiff",
            "height": self._grid.shape.rows,
            "width": self._grid.shape.cols,
            "count": self._strip.shape[0],
            "dtype": self._dtype.name,
            "crs": self._grid.crs or None,
            "transform": Affine(*self._grid.transform),
            "nodata": self._nodata,
            "tiled": True,
            "blockxsize": self._block,
            "blockysize": self._block,
            "compress": "zstd",
            "zstd_level": 1,
            "bigtiff": "if_safer",
            "photometric": "minisblack",
            "alpha": "no",
        }

    def _describe(self) -> None:
        self._file.update_tags(**self._tags)
        for index, text in enumerate(self._descriptions, start=1):
            self._file.set_band_description(index, text)
        if self._scale is not None:
            self._file.scales = (self._scale,) * self._strip.shape[0]
        if not self._colors:
            self._file.colorinterp = [_interpretation(name) for name in self._descriptions or [""] * self._strip.shape[0]]
        else:
            clear = {} if self._nodata is None else {int(self._nodata): (0, 0, 0, 0)}
            self._file.write_colormap(1, clear | self._colors)

    def _finish(self) -> None:
        if self._next != self._grid.shape.rows:
            raise ValueError(f"{self.path.name}: rows {self._next} to {self._grid.shape.rows} were not written")
        done = self._scratch / "done.tif"
        with self._writing(), rasterio.Env(GDAL_CACHEMAX=_COPY_CACHE):
            self._file.close()
            rasterio.shutil.copy(str(self._scratch / "rows.tif"), str(done), driver="COG", **self._layout())
        try:
            probe(str(done), allow_no_crs=True)
        except DataError as cause:
            raise _unwritten(self.path, cause.problem) from cause
        with storage.writing(str(self.path)):
            self._publish(done)

    def _layout(self) -> dict[str, Any]:
        """The COG driver's options."""
        classes = bool(self._colors or self._names)
        smooth = self._dtype.itemsize > 1 and not classes
        return {
            "blocksize": self._block,
            "compress": self._compress,
            "predictor": "yes" if smooth else "no",
            "overview_resampling": self._overviews or ("mode" if classes else "average"),
            "bigtiff": "if_safer",
            "num_threads": "2",
        }

    def _publish(self, done: Path) -> None:
        """Both files under their names, the raster last: names without a raster do no harm."""
        notes = self.path.with_name(f"{self.path.name}.aux.xml")
        if self._names:
            (self._scratch / "notes.xml").write_text(_category_names(self._names))
            os.replace(self._scratch / "notes.xml", notes)
        else:
            notes.unlink(missing_ok=True)
        os.replace(done, self.path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with gdal_env(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            try:
                yield
            except (RasterioError, OSError) as cause:
                raise _unwritten(self.path, str(cause.__cause__ or cause)) from cause


def _interpretation(name: str) -> ColorInterp:
    """Red, green and blue where a band is called so. Left alone, GDAL would take a fourth band of bytes for opacity."""
    return ColorInterp[name] if name in ("red", "green", "blue") else ColorInterp.undefined


_COPY_CACHE = 32 << 20
"""Bytes of GDAL's block cache while a finished raster is copied: it reads every block once, so that more is of no use."""

_ROOM = 1 << 20


def _unwritten(path: Path, fact: str) -> StoreError:
    free = shutil.disk_usage(path.parent).free
    if free < _ROOM:
        return StoreError(str(path), "the disk is full", "free some space or choose another place; a second run goes on from here")
    return StoreError(str(path), f"cannot be written ({fact.splitlines()[0]})", "check the disk, its quota and the permissions")


def _category_names(names: Mapping[int, str]) -> str:
    """GDAL's side file with the name of every class; ids without a name are empty."""
    known = (escape(names.get(key, "")) for key in range(max(names) + 1))
    lines = "".join(f"<Category>{name}</Category>\n" for name in known)
    return f'<PAMDataset>\n<PAMRasterBand band="1">\n<CategoryNames>\n{lines}</CategoryNames>\n</PAMRasterBand>\n</PAMDataset>\n'


def write_image(path: Path, pixels: NDArray[Any], *, grid: Grid, nodata: float | None = None, descriptions: Sequence[str] = ()) -> None:
    """A whole small image `(band, row, col)` as a COG."""
    shape = Shape(*pixels.shape[1:])
    if shape != grid.shape:
        raise ValueError(f"pixels {shape} do not fit the grid {grid.shape}")
    with CogWriter(path, grid=grid, bands=len(pixels), dtype=pixels.dtype.name, nodata=nodata, descriptions=descriptions) as writer:
        writer.write(0, pixels)
