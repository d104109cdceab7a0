"""The learning rate of every step: a pure function of where training stands, so that there is no state to lose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from geohydra.training.settings import Schedule

LEAST = 0.01
"""What a falling schedule ends at, as a part of the full rate."""


def rate(schedule: Schedule, part: float, *, warmup: float) -> float:
    """The learning rate as a part of the full one, where `part` (0 to 1) of all steps are done."""
    if schedule == "one_cycle":
        warmup = max(warmup, 0.25)
    if part < warmup:
        return LEAST + (1 - LEAST) * part / warmup
    rest = min(1.0, (part - warmup) / (1 - warmup))
    return _SHAPES[schedule](rest)


def plateau(scores: Sequence[float], wait: int) -> float:
    """What to divide the learning rate by, given the scores of all epochs (higher is better): tenfold after every `wait`
    epochs that did not improve on the best."""
    best, waited, cut = -math.inf, 0, 1.0
    for score in scores:
        best, waited = (score, 0) if score > best else (best, waited + 1)
        if waited >= wait:
            cut, waited = cut / 10, 0
    return max(cut, 1e-4)


def _cosine(rest: float) -> float:
    return LEAST + (1 - LEAST) * (1 + math.cos(math.pi * rest)) / 2


def _full(rest: float) -> float:
    return 1.0 + 0.0 * rest


_SHAPES: dict[Schedule, Callable[[float], float]] = {
    "cosine": _cosine,
    "one_cycle": _cosine,
    "plateau": _full,
    "constant": _full,
}
