"""Pixels as a network sees them: float32, each band less its mean and over its deviation, 0 where not valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import DataError
from geohydra.raster.planes import planes
from geohydra.types import Image, Series


class Normalise:
    """One mean and one standard deviation a band, in the units of the pixels."""

    def __init__(self, mean: NDArray[Any] | Sequence[float], std: NDArray[Any] | Sequence[float]) -> None:
        self.mean = np.asarray(mean, np.float32)
        self.std = np.asarray(std, np.float32)
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape:
            raise ValueError(f"{self.mean.shape} means do not go with {self.std.shape} deviations")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()):
            raise ValueError("means and deviations must be finite numbers")
        self.scale = (1 / np.where(self.std > 0, self.std, 1)).astype(np.float32)

    @classmethod
    def from_statistics(cls, statistics: Any, bands: Sequence[str]) -> Normalise:
        """From what analyze measured: a `Statistics`, its dict, or `{band: {"mean": .., "std": ..}}`."""
        known = _by_band(statistics)
        for band in bands:
            if band not in known:
                raise DataError("statistics", f"there are none of the band {band!r}", f"there are {', '.join(known)}")
        return cls([known[band]["mean"] for band in bands], [known[band]["std"] for band in bands])

    def __call__(self, image: Image | Series) -> NDArray[np.float32]:
        """Float32 `(band, row, col)`, 0 where not valid; of a series its planes, see `geohydra.raster.planes`."""
        found: NDArray[np.float32] = self.batch(image.pixels[None], image.valid[None])[0]
        return planes(found, image.valid, image.days) if isinstance(image, Series) else found

    def batch(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The same for pixels `(n, [time,] band, row, col)` of any dtype and their validity `(n, [time,] row, col)`."""
        out = np.empty(pixels.shape, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(pixels, self.mean[:, None, None], out=out, casting="unsafe")
            np.multiply(out, self.scale[:, None, None], out=out)
        return blank(out, valid)


def blank(pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Put 0 in place, in every band, where a pixel `(..., band, row, col)` is not valid `(..., row, col)`."""
    if not valid.all():
        np.copyto(pixels, 0, where=~valid[..., None, :, :])
    return pixels


def _by_band(statistics: Any) -> Mapping[str, Mapping[str, Any]]:
    plain = statistics if isinstance(statistics, Mapping) else statistics.as_dict()
    bands = plain.get("bands", plain)
    if isinstance(bands, Mapping):
        return bands
    return {band["name"]: band for band in bands}
