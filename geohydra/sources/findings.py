"""What comes out while files are looked at, several at a time: errors, notes, classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from geohydra.errors import GeohydraError, Problems

_AT_ONCE = 8
"""Files looked at at the same time: they mostly wait for disks and networks."""

Progress = Callable[[int, int, str], None]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Findings:
    """What came out so far: what is wrong, what is worth a sentence, and which classes were seen."""

    errors: list[GeohydraError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)

    def settle(self) -> None:
        """Raise what is wrong, all at once."""
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else Problems(self.errors)


def in_parallel(call: Callable[[Item], Answer], items: Sequence[Item], progress: Progress, name: Callable[[Item], str]) -> list[Answer]:
    """The answers in order, several at a time."""
    answers: list[Answer] = []
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(items)))) as pool:
        for item, answer in zip(items, pool.map(call, items), strict=True):
            answers.append(answer)
            progress(len(answers), len(items), name(item))
    return answers


def unheard(done: int, total: int, text: str) -> None:
    """Progress that nobody watches."""
