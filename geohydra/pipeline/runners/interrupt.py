"""Ctrl-C and its kin, as something to wait for instead of something that strikes."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """While it is open, SIGINT, SIGTERM and SIGHUP are counted; signals that were ignored before stay so.

    Only the main thread can listen to signals: in any other, nothing is ever counted.
    """

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._seen)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        """Readable once a signal came."""
        return self._reader

    def clear(self) -> None:
        """Forget that it is readable; the count stays. Only when it is readable."""
        os.read(self._reader, 512)

    def _seen(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (as signal.signal wants it)
        self.count += 1
        os.write(self._writer, b"!")
