"""Reading ahead, answering side by side and writing behind: threads that are never further than a few items away."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_PATIENCE = 0.1


class _End:
    """After the last item; `error` is what went wrong, if anything did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


_END = _End()


def ahead(items: Iterator[Item], *, depth: int) -> Generator[Item, None, None]:
    """The same items, made in a thread that is at most `depth` of them ahead. Its errors are raised here."""
    line: queue.Queue[Item | _End] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(line, items, stop), name="reader", daemon=True)
    thread.start()
    try:
        while not isinstance(item := line.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()


def _fill(line: queue.Queue[Item | _End], items: Iterator[Item], stop: threading.Event) -> None:
    end = _End()
    try:
        for item in items:
            if not _put(line, item, stop):
                break
    except BaseException as error:
        end = _End(error)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
    _put(line, end, stop)


def _put(line: queue.Queue[Item | _End], item: Item | _End, stop: threading.Event) -> bool:
    """Whether somebody still wants it."""
    while not stop.is_set():
        try:
            line.put(item, timeout=_PATIENCE)
        except queue.Full:
            continue
        return True
    return False


def one_ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The same items; while one is used the next is made in a thread, and none beyond that one: for large items."""
    with closing(items), ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming: Future[Item | _End] = pool.submit(next, items, _END)
        while not isinstance(item := coming.result(), _End):
            coming = pool.submit(next, items, _END)
            yield item


def side_by_side(call: Callable[[Item], Answer], items: Iterable[Item], *, workers: int) -> Generator[tuple[Item, Answer], None, None]:
    """Each item with what the call makes of it, in order; so many calls run at a time, and one item more waits."""
    with ThreadPoolExecutor(workers, thread_name_prefix="network") as pool:
        waiting: deque[tuple[Item, Future[Answer]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(call, item)))
                if len(waiting) > workers:
                    first, answer = waiting.popleft()
                    yield first, answer.result()
            while waiting:
                first, answer = waiting.popleft()
                yield first, answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()


class Behind(Generic[Item]):
    """Calls something for each item in a thread, in order; at most `depth` items wait.

    An error of the call is raised by the next `put`, or at the end of the `with` block, which waits for the last item; a block
    that ends with an error drops what waits.
    """

    def __init__(self, call: Callable[[Item], None], *, depth: int) -> None:
        self._call = call
        self._line: queue.Queue[Item | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def __enter__(self) -> Behind[Item]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self._stop.set()
        _put(self._line, _End(), self._stop)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def put(self, item: Item) -> None:
        """Hand over an item; waits where too many wait already."""
        if not _put(self._line, item, self._stop) and self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                item = self._line.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            try:
                self._call(item)
            except BaseException as error:
                self._error = error
                self._stop.set()
