"""Chips for a network: a dataset that gives whole batches at once, stored or read from the scenes, the same pixels either way."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.augment import Augment, Key
from geohydra.chips.gathering import Gathered, SceneChips, StoredChips
from geohydra.chips.index import Chip, read_index
from geohydra.chips.normalise import Normalise, blank
from geohydra.chips.rows import movable, points_of, rows_from, within
from geohydra.errors import ConfigError, DataError
from geohydra.task import Task
from geohydra.types import Scene

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader

_DEVIATIONS = 4.0
"""Deviations from the mean that 0 and 1 stand for, where imagery that is not uint8 is augmented."""


class Gather(Protocol):
    """Where chips come from, by their places in the index."""

    dtype: np.dtype[Any]

    def __call__(self, places: Sequence[int]) -> Gathered:
        """Fresh arrays, free to change."""


class Chips:
    """The chips of one split, as torch's DataLoader takes them.

    `chips[i]` is one item, `chips.__getitems__([i, j])` a whole batch (use `as_it_is` to collate): `image` float32
    `(n, band, row, col)`, normalised, 0 where not valid; `valid` bool `(n, row, col)`; the targets by their names. Of series
    `(n, time, band, row, col)`, `(n, time, row, col)`, and `days` since 1970-01-01, int32 `(n, time)`.
    An index may also be `(epoch, i)`: augmentation is drawn from seed, epoch and i alone, whoever loads it.
    """

    def __init__(
        self,
        gather: Gather,
        places: Sequence[int],
        chips: Sequence[Chip],
        *,
        normalise: Normalise | None,
        augment: Augment | None,
        seed: int,
    ) -> None:
        self.chips = tuple(chips)
        self.seed = seed
        self._places = tuple(places)
        self._gather = gather
        self._normalise = normalise
        self._augment = augment if augment is not None and augment.transforms else None
        if self._augment is not None and len(self):
            self._try(self._augment)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, torch.Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int | tuple[int, int]]) -> dict[str, torch.Tensor]:
        import torch

        keys = [index if isinstance(index, tuple) else (0, index) for index in indices]
        found = self._gather([self._places[place] for _, place in keys])
        image = self._image(found, [(self.seed, *key) for key in keys])
        days = {} if found.days is None else {"days": found.days}
        arrays = {"image": image, "valid": found.valid} | days | dict(found.targets)
        return {name: torch.from_numpy(values) for name, values in arrays.items()}

    def targets(self) -> Iterator[dict[str, NDArray[Any]]]:
        """The targets of each chip as they are, `(1, ...)` each, in order."""
        for place in self._places:
            yield dict(self._gather([place]).targets)

    def _image(self, found: Gathered, keys: Sequence[Key]) -> NDArray[np.float32]:
        augment = self._augment
        if augment is not None and augment.symmetric:
            for place, key in enumerate(keys):
                _turn(found, place, augment, key)
        elif augment is not None and found.pixels.dtype == np.uint8:
            for place, key in enumerate(keys):
                found.pixels[place] = _changed(found, found.pixels[place], place, augment, key)
        image = self._normalised(found)
        if augment is not None and not augment.symmetric and found.pixels.dtype != np.uint8:
            for place, key in enumerate(keys):
                unit = np.clip(image[place] / (2 * _DEVIATIONS) + 0.5, 0, 1)
                image[place] = (_changed(found, unit, place, augment, key) - 0.5) * (2 * _DEVIATIONS)
            blank(image, found.valid)
        return image

    def _normalised(self, found: Gathered) -> NDArray[np.float32]:
        if self._normalise is not None:
            return self._normalise.batch(found.pixels, found.valid)
        return blank(found.pixels.astype(np.float32), found.valid)

    def _try(self, augment: Augment) -> None:
        """Augment one chip now, so that what cannot work is told before training."""
        first = self._gather(self._places[:1])
        loose = [name for name, values in first.targets.items() if values.ndim > 2 and name not in first.rows and not _flat(first, values)]
        if loose and augment.spatial:
            hint = "take augment=none, or transforms of colour only"
            raise ConfigError("augment.transforms", f"the target {loose[0]!r} cannot be turned or warped", hint)
        if self._normalise is None and not augment.symmetric and first.pixels.dtype != np.uint8:
            raise ConfigError("augment.transforms", f"{first.pixels.dtype} imagery must be normalised to be changed in this way")
        self._image(first, [(self.seed, 0, 0)])


def open_chips(
    chip_folder: Path,
    scenes: Sequence[Scene],
    task: Task,
    *,
    split: str,
    stored: bool,
    bands: Sequence[str] | None = None,
    normalise: Normalise | None = None,
    augment: Augment | None = None,
    seed: int = 0,
) -> Chips:
    """The chips of one split of a chip step's output. Raises DataError where the split has none."""
    index = read_index(chip_folder)
    places = [place for place, chip in enumerate(index) if chip.split == split]
    if not places:
        raise DataError(f"chip.split.{split}", f"no chip is for {split}", "see the report of the chip step for what was dropped")
    gather: Gather = StoredChips(chip_folder / "chips", bands) if stored else SceneChips(index, scenes, task, bands)
    return Chips(gather, places, [index[place] for place in places], normalise=normalise, augment=augment, seed=seed)


class Batches:
    """Batches of `(epoch, index)`, shuffled by seed and epoch alone; a batch sampler, for use as its own sampler too."""

    def __init__(self, count: int, batch_size: int, *, seed: int, shuffle: bool, drop_last: bool = False) -> None:
        self.batch_size, self.drop_last = batch_size, drop_last
        self.epoch = 0
        self._count, self._seed, self._shuffle = count, seed, shuffle

    @property
    def sampler(self) -> Batches:
        """For trainers that tell the sampler which epoch it is."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next round is."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._count // self.batch_size if self.drop_last else -(-self._count // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self._seed, self.epoch]).permutation(self._count) if self._shuffle else np.arange(self._count)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield [(self.epoch, int(index)) for index in order[start : start + self.batch_size]]


def as_it_is(batch: Any) -> Any:
    """Collates nothing: `Chips` gives whole batches."""
    return batch


def loader(
    chips: Chips, *, batch_size: int, shuffle: bool, workers: int = 0, drop_last: bool = False, pin: bool = False
) -> DataLoader[Any]:
    """A DataLoader over whole batches; call `loader.batch_sampler.set_epoch(n)` before each epoch.

    Its processes come from a fork server: a fork of this one, with all its threads, may find a lock taken that nobody gives back.
    """
    from torch.utils.data import DataLoader

    batches: Any = Batches(len(chips), batch_size, seed=chips.seed, shuffle=shuffle, drop_last=drop_last)
    dataset: Any = chips
    apart: dict[str, Any] = {}
    if workers:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, "torch.utils.data"])
        apart = {"multiprocessing_context": context, "persistent_workers": True, "worker_init_fn": _end_with_parent}
    return DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=as_it_is, pin_memory=pin, **apart)


def _end_with_parent(worker: int) -> None:
    """Ends a loader process when the process that it loads for is gone, even killed: its own parent is the fork server."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError(f"loader process {worker} was not started by multiprocessing")

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _flat(found: Gathered, values: NDArray[Any]) -> bool:
    """Whether a target has a value for each pixel, or several in layers `(n, layer, row, col)`."""
    return values.ndim in (3, 4) and values.shape[-2:] == found.valid.shape[-2:]


def _turn(found: Gathered, place: int, augment: Augment, key: Key) -> None:
    masks = [values for name, values in found.targets.items() if name not in found.rows and _flat(found, values)]
    arrays = [found.pixels[place], found.valid[place], *(mask[place] for mask in masks)]
    for array, turned in zip(arrays, augment.turn(arrays, key=key), strict=True):
        if turned is not array:
            array[...] = turned
    side = found.valid.shape[-1]
    for name, kind in movable(found.rows).items():
        values = found.targets[name][place]
        values[...] = rows_from(augment.turn_points(points_of(values, kind), side, key=key), values, kind)


def _changed(found: Gathered, pixels: NDArray[Any], place: int, augment: Augment, key: Key) -> NDArray[Any]:
    """Pixels after augmentation; masks, rows and validity change in place."""
    given = dict(_layers(found, place))
    moving = {name: found.targets[name][place] for name in movable(found.rows)}
    points = [points_of(values, found.rows[name]) for name, values in moving.items()]
    valid = found.valid[place].astype(np.uint8)
    masks = given | {"valid": valid if valid.ndim == 2 else valid.transpose(1, 2, 0)}
    flat = pixels.reshape(-1, *pixels.shape[-2:])
    image, changed, moved = augment.with_points(flat, masks, np.concatenate([np.empty((0, 2)), *points]), key=key)
    for name, values in given.items():
        values[...] = changed[name]
    stops = np.cumsum([len(part) for part in points])
    for (name, values), part in zip(moving.items(), np.split(moved, stops), strict=False):
        kind = found.rows[name]
        values[...] = within(rows_from(part, values, kind), kind, *found.valid.shape[-2:])
    known = changed["valid"].reshape(masks["valid"].shape) == 1
    found.valid[place] = known if valid.ndim == 2 else known.transpose(2, 0, 1)
    return image.reshape(pixels.shape)


def _layers(found: Gathered, place: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """Views `(row, col)` of all that one chip's targets tell by pixel."""
    for name, values in found.targets.items():
        if name not in found.rows and _flat(found, values):
            for layer, view in enumerate(values[place].reshape(-1, *values.shape[-2:])):
                yield f"target.{name}.{layer}", view
