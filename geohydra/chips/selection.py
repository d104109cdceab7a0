"""Which training chips stay, once all of them are known: quotas for classes, and how many show nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geohydra.chips.index import Chip
from geohydra.chips.sampling import Keep

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Selection:
    """The places of the chips that stay, in order; how many were dropped and why; sentences for the report."""

    places: tuple[int, ...]
    dropped: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()


def select(chips: Sequence[Chip], luck: Sequence[float] | NDArray[np.float64], keep: Keep) -> Selection:
    """Chips for choosing and testing all stay. Which others do depends on their luck, not on the order of the chips."""
    order = _by_luck(chips, luck)
    train = np.array([chip.split == "train" for chip in chips], bool)
    labelled = np.array([any(chip.shares.values()) for chip in chips], bool)
    shows = {name: train & np.array([chip.shares.get(name, 0.0) > 0 for chip in chips], bool) for name in keep.quotas}
    wanted = _within_quotas(order, shows, keep.quotas)
    sated = train & ~wanted
    kept = ~sated
    bare = np.zeros(len(chips), bool)
    if keep.negatives is not None:
        enough = round(keep.negatives * int((kept & train & labelled).sum()))
        empty = order[(kept & train & ~labelled)[order]]
        bare[empty[enough:]] = True
    dropped = Counter({"classes of which there are enough": int(sated.sum()), "no label (there are enough such chips)": int(bare.sum())})
    return Selection(tuple(np.flatnonzero(kept & ~bare).tolist()), +dropped, tuple(_notes(shows, keep.quotas)))


def _by_luck(chips: Sequence[Chip], luck: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    scenes = np.array([chip.scene for chip in chips])
    rows, cols = np.array([chip.window.row for chip in chips]), np.array([chip.window.col for chip in chips])
    return np.lexsort((cols, rows, scenes, np.asarray(luck)))


def _within_quotas(order: NDArray[np.int64], shows: Mapping[str, Flags], quotas: Mapping[str, int]) -> Flags:
    """Chips without a class that has a quota, and for each class enough of the others, rare classes first."""
    wanted = np.ones(len(order), bool)
    for flags in shows.values():
        wanted &= ~flags
    for name in sorted(quotas, key=lambda name: (int(shows[name].sum()), name)):
        lacking = max(0, quotas[name] - int((wanted & shows[name]).sum()))
        free = order[(shows[name] & ~wanted)[order]]
        wanted[free[:lacking]] = True
    return wanted


def _notes(shows: Mapping[str, Flags], quotas: Mapping[str, int]) -> list[str]:
    found = {name: int(flags.sum()) for name, flags in shows.items()}
    return [
        f"Only {found[name]} training chips show {name!r}, where {quotas[name]} are asked for."
        for name in quotas
        if found[name] < quotas[name]
    ]
