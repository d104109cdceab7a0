"""Seconds of a call, and one line for each figure: what geohydra takes against what a bare script takes.

As in the processes of steps, what was imported before is left alone by the garbage collector.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians of several runs, in seconds; `cpu` is of this process and of its children that have ended."""

    cpu: float
    wall: float


def measure(call: Callable[[], object], *, repeats: int) -> Measured:
    """Run a call several times; what it does first only once (caches, imports) is left out by a run before."""
    return measure_in_turn([call], repeats=repeats)[0]


def measure_once(call: Callable[[], object]) -> Measured:
    """A single run, with all that it does first: what a user waits for."""
    return _once(call)


def measure_in_turn(calls: Sequence[Callable[[], object]], *, repeats: int) -> list[Measured]:
    """Several calls, run in turn so that whatever else the machine does falls on all of them alike."""
    for call in calls:
        call()
    gc.collect()
    gc.freeze()
    try:
        rounds = [[_once(call) for call in calls] for _ in range(repeats)]
    finally:
        gc.unfreeze()
    return [_median(runs) for runs in zip(*rounds, strict=True)]


def report(name: str, ours: Measured, limit: Measured, target: float, *, by: Literal["cpu", "wall"] = "cpu") -> float:
    """Print a figure and return its ratio."""
    ratio = getattr(ours, by) / getattr(limit, by)
    print(
        f"{name}: ours {ours.cpu:.3f} s CPU, {ours.wall:.3f} s wall; limit {limit.cpu:.3f} s CPU, {limit.wall:.3f} s wall; "
        f"ratio {ratio:.2f} by {by} (target <= {target:.2f}){'' if ratio <= target else ' MISSED'}",
        flush=True,
    )
    return float(ratio)


def small(description: str) -> bool:
    """Whether the command line asks for a quick run with small data."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--small", action="store_true", help="small data and few runs: shows that the benchmark works")
    return bool(parser.parse_args().small)


def _once(call: Callable[[], object]) -> Measured:
    gc.collect()
    before, started = _cpu(), time.perf_counter()
    call()
    return Measured(_cpu() - before, time.perf_counter() - started)


def _cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def _median(runs: Sequence[Measured]) -> Measured:
    return Measured(statistics.median(run.cpu for run in runs), statistics.median(run.wall for run in runs))
