"""Counts of scenes: made one by one, kept as files, read back when their turn comes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from geohydra import storage
from geohydra.task import Comparison, Counts, Pair

if TYPE_CHECKING:
    from geohydra.work import Work


def evaluate(comparison: Comparison, pairs: Sequence[Pair], *, split: str, settings: Any, work: Work) -> dict[str, Any]:
    """Count every scene here, and conclude."""
    counts = []
    for place, pair in enumerate(pairs):
        work.progress(place, len(pairs), f"{split}: {pair.scene.id}")
        counts.append(comparison.count(pair, settings=settings))
    work.progress(len(pairs), len(pairs), split)
    return comparison.conclude(pairs, counts, split=split, settings=settings, work=work)


class KeptCounts(Sequence[Counts]):
    """Counts in files, in the order of the scenes; none of them stays in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(files)

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, place: int) -> Counts: ...

    @overload
    def __getitem__(self, place: slice) -> KeptCounts: ...

    def __getitem__(self, place: int | slice) -> Counts | KeptCounts:
        return KeptCounts(self._files[place]) if isinstance(place, slice) else read_counts(self._files[place])


def write_counts(path: Path, counts: Counts) -> None:
    """Keep the counts of one scene, whole or not at all."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in counts.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_bytes(str(path), stream.getvalue())


def read_counts(path: Path) -> Counts:
    """The same back."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def led(name: str, counts: Counts) -> Counts:
    """The same counts, each name led by one more."""
    return {f"{name}.{key}": values for key, values in counts.items()}


def below(name: str, counts: Counts) -> Counts:
    """Those whose names are led by this one, without it."""
    return {key.removeprefix(f"{name}."): values for key, values in counts.items() if key.startswith(f"{name}.")}


class Together:
    """Several comparisons of the same scenes as one. The first tells the thresholds; all tell metrics."""

    def __init__(self, parts: Mapping[str, Comparison]) -> None:
        self._parts = dict(parts)

    def count(self, pair: Pair, *, settings: Any) -> Counts:
        """What each of them counts."""
        told = {name: part.count(pair, settings=settings) for name, part in self._parts.items()}
        return {key: values for name, counts in told.items() for key, values in led(name, counts).items()}

    def conclude(self, pairs: Sequence[Pair], counts: Sequence[Counts], *, split: str, settings: Any, work: Work) -> dict[str, Any]:
        """What each of them tells."""
        found = [
            part.conclude(pairs, _Below(name, counts), split=split, settings=settings, work=work) for name, part in self._parts.items()
        ]
        return {"metrics": {key: value for one in found for key, value in one["metrics"].items()}, "thresholds": found[0]["thresholds"]}


class _Below(Sequence[Counts]):
    """Of all counts those of one comparison."""

    def __init__(self, name: str, counts: Sequence[Counts]) -> None:
        self._name, self._counts = name, counts

    def __len__(self) -> int:
        return len(self._counts)

    @overload
    def __getitem__(self, place: int) -> Counts: ...

    @overload
    def __getitem__(self, place: slice) -> _Below: ...

    def __getitem__(self, place: int | slice) -> Counts | _Below:
        if isinstance(place, slice):
            return _Below(self._name, self._counts[place])
        return below(self._name, self._counts[place])
