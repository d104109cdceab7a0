"""Sharing parts out to splits by fractions, so that every class stands in every split where that can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORTH = 0.1
"""A part brings a class when it has at least this share of what parts with the class have on average."""

_TRIES = 40


def share_out(weights: NDArray[np.float64], fractions: Mapping[str, float], *, seed: int) -> list[str]:
    """A split for each part, given `(part, class)` weights, the first column being area.

    First every split is given a part of each class, the rarest class first; then every part goes where the
    least has been received of what it brings. Of some such drafts, more where parts are few, the fairest is taken. The
    same seed gives the same answer.
    """
    rng = np.random.default_rng(seed)
    splits = [split for split, fraction in fractions.items() if fraction > 0]
    wanted = np.array([fractions[split] for split in splits])
    tries = min(_TRIES, max(1, 1024 // max(len(weights), 1)))
    best = min((_drafted(weights, wanted, rng) for _ in range(tries)), key=lambda draft: draft.unfairness)
    return [splits[place] for place in best.taken]


def _drafted(weights: NDArray[np.float64], fractions: NDArray[np.float64], rng: np.random.Generator) -> _Draft:
    draft = _Draft(weights, fractions, rng)
    draft.give_each_its_classes()
    for part in rng.permutation(len(weights)):
        if draft.taken[part] < 0:
            draft.give(int(part), draft.neediest(int(part)))
    return draft


class _Draft:
    def __init__(self, weights: NDArray[np.float64], fractions: NDArray[np.float64], rng: np.random.Generator) -> None:
        self.weights = weights
        self.rng = rng
        self.wanted = fractions[:, None] * np.maximum(weights.sum(axis=0), 1e-12)
        self.got = np.zeros_like(self.wanted)
        self.taken = np.full(len(weights), -1)
        counts = (weights > 0).sum(axis=0)
        typical = weights.sum(axis=0) / np.maximum(counts, 1)
        self.brings: NDArray[np.bool_] = (weights > 0) & (weights >= _WORTH * typical)

    @property
    def unfairness(self) -> float:
        """How far, on the whole, splits are from what they should have of the area and of each class."""
        present = self.weights.sum(axis=0) > 0
        return float(np.abs(self.got / self.wanted - 1)[:, present].sum())

    def give(self, part: int, split: int) -> None:
        self.taken[part] = split
        self.got[split] += self.weights[part]

    def give_each_its_classes(self) -> None:
        order = np.argsort(self.brings.sum(axis=0), kind="stable")
        for name in order:
            for split in range(len(self.wanted)):
                self._give_one(int(name), split)

    def neediest(self, part: int) -> int:
        """The split that, with this part, would stand lowest against what it should have."""
        share = self.weights[part] / np.maximum(self.weights.sum(axis=0), 1e-12)
        fill = (self.got + self.weights[part] / 2) / self.wanted
        return int(np.argmin((fill * share).sum(axis=1)))

    def _give_one(self, name: int, split: int) -> None:
        has = self.brings[self.taken == split].any(axis=0)
        free: NDArray[Any] = np.flatnonzero((self.taken < 0) & self.brings[:, name])
        if has[name] or not len(free):
            return
        lacking = (self.brings[free] & ~has).sum(axis=1)
        best = free[lacking == lacking.max()]
        self.give(int(self.rng.choice(best)), split)
