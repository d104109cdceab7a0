"""Chips on disk for fast random access: one plain file an array, read through memory maps.

store.json         count, size, bands, dtype, and dtype and shape of each target; written last
image.raw          pixels (chip, band, row, col) in the dtype of the scenes
valid.raw          validity (chip, bits), packed
target.NAME.raw    targets (chip, ...); of those with a row for each object, the rows of all chips
target.NAME.stops.raw   of these, where the rows of each chip end, int64

Where chips are series, image and valid hold the dates of all chips one after the other, and
days.raw           days since 1970-01-01 of each date, int32
dates.stops.raw    where the dates of each chip end, int64
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.dates import level
from geohydra.chips.rows import padded
from geohydra.errors import StoreError
from geohydra.task import Rows, Target
from geohydra.types import Image, Series, Shape

Array = NDArray[Any]
_Form = tuple[np.dtype[Any], tuple[int, ...], str | None]
"""Dtype, shape and, of targets with rows, their kind: the shape is then that of a row."""


class ChipWriter:
    """Appends chips to a new store; a store that was not closed without an error cannot be opened."""

    def __init__(self, folder: Path, *, bands: Sequence[str], shape: Shape, dtype: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.count = 0
        self._head: dict[str, Any] = {"bands": list(bands), "shape": [shape.rows, shape.cols], "dtype": np.dtype(dtype).str}
        self._targets: dict[str, _Form] | None = None
        self._stops: dict[str, int] = {}
        self._dates: int | None = None
        self._streams: dict[str, BinaryIO] = {}

    def add(self, image: Image | Series, target: Target) -> int:
        """Keep one chip; returns its place. The arrays may be views and may change afterwards."""
        self._agree(image, target)
        self._append("image", np.ascontiguousarray(image.pixels, self._head["dtype"]))
        if isinstance(image, Series):
            self._dates = (self._dates or 0) + len(image.times)
            self._append("valid", np.packbits(image.valid.reshape(len(image.valid), -1), axis=1))
            self._append("days", image.days)
            self._append("dates.stops", np.array([self._dates], np.int64))
        else:
            self._append("valid", np.packbits(image.valid))
        for name, values in target.items():
            self._append(f"target.{name}", np.ascontiguousarray(values.values if isinstance(values, Rows) else values))
            if isinstance(values, Rows):
                self._stops[name] = self._stops.get(name, 0) + len(values.values)
                self._append(f"target.{name}.stops", np.array([self._stops[name]], np.int64))
        self.count += 1
        return self.count - 1

    def copy(self, store: ChipStore, start: int, stop: int) -> None:
        """Keep the chips of another store from one place to another, as they stand there."""
        self._same(store)
        self._append("image", store.part("image", start, stop))
        self._append("valid", store.part("valid", start, stop))
        if store.dates is not None:
            ends = store.ends(None, start, stop) + (self._dates or 0)
            self._append("days", store.part("days", start, stop))
            self._append("dates.stops", ends)
            self._dates = int(ends[-1])
        for name in store.targets:
            self._append(f"target.{name}", store.part(f"target.{name}", start, stop))
            if name in store.rows:
                ends = store.ends(name, start, stop) + self._stops.get(name, 0)
                self._append(f"target.{name}.stops", ends)
                self._stops[name] = int(ends[-1])
        self.count += stop - start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for stream in self._streams.values():
            stream.close()
        if kind is None:
            forms = (self._targets or {}).items()
            targets = {name: {"dtype": dtype.str, "shape": shape, "rows": rows} for name, (dtype, shape, rows) in forms}
            dates = {} if self._dates is None else {"dates": self._dates}
            (self.folder / "store.json").write_text(json.dumps(self._head | {"count": self.count, "targets": targets} | dates, indent=1))

    def _append(self, name: str, values: Array) -> None:
        if name not in self._streams:
            self._streams[name] = (self.folder / f"{name}.raw").open("wb", buffering=0)
        view = values.reshape(-1).view(np.uint8).data if values.size else b""
        while len(view):
            view = view[self._streams[name].write(view) :]

    def _agree(self, image: Image | Series, target: Target) -> None:
        """Every chip must look like the first: a reader computes where each lies."""
        expected = (len(self._head["bands"]), *self._head["shape"])
        if image.pixels.shape[-3:] != expected:
            raise ValueError(f"a chip of shape {image.pixels.shape} in a store of {expected}")
        self._alike({name: _form(values) for name, values in target.items()})

    def _same(self, store: ChipStore) -> None:
        head = {"bands": list(store.bands), "shape": [store.shape.rows, store.shape.cols], "dtype": store.dtype.str}
        if head != self._head:
            raise ValueError(f"chips of {head} in a store of {self._head}")
        self._alike(store.forms)

    def _alike(self, found: dict[str, _Form]) -> None:
        if self._targets is None:
            self._targets = found
        if found != self._targets:
            raise ValueError(f"targets {found} in a store of {self._targets}")


def _form(values: Array | Rows) -> _Form:
    if isinstance(values, Rows):
        return values.values.dtype, values.values.shape[1:], values.kind
    return values.dtype, values.shape, None


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
        self.dates: int | None = head.get("dates")
        self._image = self._map("image", self.dtype, (len(self.bands), rows, cols), self.dates)
        self._valid = self._map("valid", np.dtype(np.uint8), ((rows * cols + 7) // 8,), self.dates)
        if self.dates is not None:
            self._days = self._map("days", np.dtype(np.int32), (), self.dates)
            self._ends = self._map("dates.stops", np.dtype(np.int64), ())
        self.rows: dict[str, str] = {name: what["rows"] for name, what in head["targets"].items() if what.get("rows")}
        self.forms: dict[str, _Form] = {
            name: (np.dtype(what["dtype"]), tuple(what["shape"]), what.get("rows")) for name, what in head["targets"].items()
        }
        self._stops = {name: self._map(f"target.{name}.stops", np.dtype(np.int64), ()) for name in self.rows}
        self._targets = {
            name: self._map(f"target.{name}", np.dtype(what["dtype"]), tuple(what["shape"]), self._length(name))
            for name, what in head["targets"].items()
        }

    def __len__(self) -> int:
        return self.count

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(self._targets)

    def pixels(self, places: Sequence[int]) -> Array:
        """`(n, band, row, col)` in the stored dtype: a copy; of series `(n, time, band, row, col)`, as long as the longest."""
        return self._image[list(places)] if self.dates is None else level([self._image[part] for part in self._parts(places)])

    def valid(self, places: Sequence[int]) -> NDArray[np.bool_]:
        """`(n, row, col)`; of series `(n, time, row, col)`."""
        rows, cols = self.shape.rows, self.shape.cols
        packed = self._valid[list(places)] if self.dates is None else level([self._valid[part] for part in self._parts(places)])
        bits = np.unpackbits(packed, axis=-1, count=rows * cols)
        return bits.view(np.bool_).reshape(*packed.shape[:-1], rows, cols)

    def days(self, places: Sequence[int]) -> NDArray[np.int32] | None:
        """Of series `(n, time)`."""
        return None if self.dates is None else level([self._days[part] for part in self._parts(places)])

    def target(self, name: str, places: Sequence[int]) -> Array:
        """`(n, ...)`: a copy; rows are padded, see geohydra.chips.rows."""
        if name not in self.rows:
            return self._targets[name][list(places)]
        stops = self._stops[name]
        return padded([self._targets[name][stops[place - 1] if place else 0 : stops[place]] for place in places])

    def part(self, name: str, start: int, stop: int) -> Array:
        """What an array holds of the chips from one place to another, as it is stored."""
        arrays = {"image": self._image, "valid": self._valid} | {f"target.{key}": values for key, values in self._targets.items()}
        if self.dates is not None:
            arrays["days"] = self._days
        rows = name.removeprefix("target.") if name.startswith("target.") else None
        whose = self._stops.get(rows) if rows else (self._ends if self.dates is not None else None)
        if whose is not None:
            start, stop = (int(whose[place - 1]) if place else 0 for place in (start, stop))
        return arrays[name][start:stop]

    def ends(self, name: str | None, start: int, stop: int) -> NDArray[np.int64]:
        """Where the rows of a target, or the dates, of each of these chips end, counted from the first of them."""
        stops = self._ends if name is None else self._stops[name]
        return np.asarray(stops[start:stop] - (stops[start - 1] if start else 0))

    def _parts(self, places: Sequence[int]) -> list[slice]:
        """The dates of some chips."""
        return [slice(int(self._ends[place - 1]) if place else 0, int(self._ends[place])) for place in places]

    def _length(self, name: str) -> int:
        """How many rows of a target are stored in all; of most targets there is one a chip."""
        if name not in self.rows:
            return self.count
        return int(self._stops[name][-1]) if self.count else 0

    def _map(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], length: int | None = None) -> Array:
        path = self.folder / f"{name}.raw"
        whole = (self.count if length is None else length, *shape)
        if 0 in whole:
            return np.zeros(whole, dtype)
        expected = int(np.prod(whole)) * dtype.itemsize
        found = path.stat().st_size if path.exists() else 0
        if found != expected:
            raise StoreError(str(path), f"{found} bytes where {expected} were written", "delete this output and run the chip step again")
        return np.asarray(np.memmap(path, dtype, mode="r", shape=whole))
