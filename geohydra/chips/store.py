"""Chips on disk for fast random access: one plain file an array, read through memory maps.

store.json         count, size, bands, dtype, and dtype and shape of each target; written last
image.raw          pixels (chip, band, row, col) in the dtype of the scenes
valid.raw          validity (chip, bits), packed
target.NAME.raw    targets (chip, ...)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import StoreError
from geohydra.task import Target
from geohydra.types import Image, Shape

Array = NDArray[Any]


class ChipWriter:
    """Appends chips to a new store; a store that was not closed without an error cannot be opened."""

    def __init__(self, folder: Path, *, bands: Sequence[str], shape: Shape, dtype: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.count = 0
        self._head: dict[str, Any] = {"bands": list(bands), "shape": [shape.rows, shape.cols], "dtype": np.dtype(dtype).str}
        self._targets: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] | None = None
        self._streams: dict[str, BinaryIO] = {}

    def add(self, image: Image, target: Target) -> int:
        """Keep one chip; returns its place. The arrays may be views and may change afterwards."""
        self._agree(image, target)
        self._append("image", np.ascontiguousarray(image.pixels, self._head["dtype"]))
        self._append("valid", np.packbits(image.valid))
        for name, values in target.items():
            self._append(f"target.{name}", np.ascontiguousarray(values))
        self.count += 1
        return self.count - 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for stream in self._streams.values():
            stream.close()
        if kind is None:
            targets = {name: {"dtype": dtype.str, "shape": shape} for name, (dtype, shape) in (self._targets or {}).items()}
            (self.folder / "store.json").write_text(json.dumps(self._head | {"count": self.count, "targets": targets}, indent=1))

    def _append(self, name: str, values: Array) -> None:
        if name not in self._streams:
            self._streams[name] = (self.folder / f"{name}.raw").open("wb", buffering=0)
        view = values.reshape(-1).view(np.uint8).data
        while len(view):
            view = view[self._streams[name].write(view) :]

    def _agree(self, image: Image, target: Target) -> None:
        """Every chip must look like the first: a reader computes where each lies."""
        expected = (len(self._head["bands"]), *self._head["shape"])
        if image.pixels.shape != expected:
            raise ValueError(f"a chip of shape {image.pixels.shape} in a store of {expected}")
        found = {name: (values.dtype, values.shape) for name, values in target.items()}
        if self._targets is None:
            self._targets = found
        if found != self._targets:
            raise ValueError(f"targets {found} in a store of {self._targets}")


class ChipStore:
    """Reads chips by their places in any order; opened files are maps, so that memory holds only what is in use."""

    def __init__(self, folder: Path) -> None:
        try:
            head = json.loads((folder / "store.json").read_text())
        except FileNotFoundError as cause:
            raise StoreError(str(folder), "no chips are stored here", "run the chip step again") from cause
        self.folder = folder
        self.count: int = head["count"]
        self.bands: tuple[str, ...] = tuple(head["bands"])
        self.shape = Shape(*head["shape"])
        self.dtype = np.dtype(head["dtype"])
        rows, cols = self.shape.rows, self.shape.cols
        self._image = self._map("image", self.dtype, (len(self.bands), rows, cols))
        self._valid = self._map("valid", np.dtype(np.uint8), ((rows * cols + 7) // 8,))
        self._targets = {
            name: self._map(f"target.{name}", np.dtype(what["dtype"]), tuple(what["shape"])) for name, what in head["targets"].items()
        }

    def __len__(self) -> int:
        return self.count

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(self._targets)

    def pixels(self, places: Sequence[int]) -> Array:
        """`(n, band, row, col)` in the stored dtype: a copy."""
        return self._image[list(places)]

    def valid(self, places: Sequence[int]) -> NDArray[np.bool_]:
        """`(n, row, col)`."""
        rows, cols = self.shape.rows, self.shape.cols
        bits = np.unpackbits(self._valid[list(places)], axis=1, count=rows * cols)
        return bits.view(np.bool_).reshape(-1, rows, cols)

    def target(self, name: str, places: Sequence[int]) -> Array:
        """`(n, ...)`: a copy."""
        return self._targets[name][list(places)]

    def _map(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        path = self.folder / f"{name}.raw"
        whole = (self.count, *shape)
        if self.count == 0 or 0 in shape:
            return np.zeros(whole, dtype)
        expected = int(np.prod(whole)) * dtype.itemsize
        found = path.stat().st_size if path.exists() else 0
        if found != expected:
            raise StoreError(str(path), f"{found} bytes where {expected} were written", "delete this output and run the chip step again")
        return np.asarray(np.memmap(path, dtype, mode="r", shape=whole))
