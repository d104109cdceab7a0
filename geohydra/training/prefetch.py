"""The next batch is made ready while the network works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch

Batch = Mapping[str, torch.Tensor]


class Loader(Protocol):
    """Batches, as a DataLoader with a batch sampler of its own gives them."""

    @property
    def batch_sampler(self) -> Any:
        """What decides the order of chips: it has `set_epoch(n)`, for the round that comes next."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Prefetched:
    """A loader read by a thread, a few batches ahead, with images in the memory order that convolutions are fastest in.

    `pin` puts batches where a GPU can fetch them by itself.
    """

    def __init__(self, loader: Loader, *, ahead: int = 2, pin: bool = False) -> None:
        self._loader, self._ahead, self._pin = loader, ahead, pin

    @property
    def batch_sampler(self) -> Prefetched:
        """For trainers that tell the sampler which epoch it is."""
        return self

    sampler = batch_sampler

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next round is."""
        self._loader.batch_sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._loader)

    def read(self) -> Iterator[Batch]:
        """Batches as they are to be, read by whoever asks."""
        for batch in self._loader:
            ordered = channels_last(batch)
            yield {name: values.pin_memory() for name, values in ordered.items()} if self._pin else ordered

    def __iter__(self) -> Iterator[Batch]:
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(self._ahead)
        stop = threading.Event()
        thread = threading.Thread(target=_fill, args=(self, ready, stop), name="chips", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            _drain(ready)
            thread.join()


def _fill(batches: Prefetched, ready: queue.Queue[Batch | BaseException | None], stop: threading.Event) -> None:
    put = _putter(ready, stop)
    try:
        for batch in batches.read():
            if not put(batch):
                return
        put(None)
    except BaseException as error:  # told to whoever waits for the batch
        put(error)


def _putter(ready: queue.Queue[Batch | BaseException | None], stop: threading.Event) -> Callable[[Batch | BaseException | None], bool]:
    def put(item: Batch | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    return put


def _drain(ready: queue.Queue[Batch | BaseException | None]) -> None:
    while not ready.empty():
        ready.get_nowait()


def channels_last(batch: Batch) -> Batch:
    """The same batch with its image's bands beside each other in memory; series stay as they are."""
    if batch["image"].ndim != 4:
        return batch
    return dict(batch) | {"image": batch["image"].contiguous(memory_format=torch.channels_last)}
