"""Tracks held against true tracks: CLEAR (MOTA, MOTP, switches), identity (IDF1) and HOTA, as MOTChallenge counts them.

All counts are sums, so that sequences add up: `Counts.of` counts one sequence, `sum` joins them, `Counts.scores` tells the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.vector.pairs import Pairs, assigned, overlapping

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""Overlaps at which HOTA is computed, and averaged."""
_EPS = float(np.finfo("float").eps)
_HALF = 0.5
"""The overlap from which on CLEAR and identity take two boxes for one object."""


@dataclass(frozen=True, slots=True)
class FramePair:
    """True and found objects of one frame: identities (n) and (m), and the pairs of them that overlap at all."""

    truth: Ints
    found: Ints
    pairs: Pairs

    @classmethod
    def of(cls, truth: Ints, truth_boxes: Floats, found: Ints, found_boxes: Floats) -> FramePair:
        """From boxes `(top, left, bottom, right)`; the identities of one frame differ."""
        return cls(truth, found, overlapping(truth_boxes, found_boxes))


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted of sequences. `clear`, `identity`: numbers by name; `hota` (4, alpha): hits, misses, false ones, and the sum of the
    association scores of all hits."""

    clear: dict[str, float]
    identity: dict[str, float]
    hota: Floats

    @classmethod
    def none(cls) -> Counts:
        """Nothing yet."""
        return cls({}, {}, np.zeros((4, len(ALPHAS))))

    @classmethod
    def of(cls, frames: Sequence[FramePair]) -> Counts:
        """One sequence, whose frames come in order."""
        known = _numbered(frames)
        return cls(_clear(known), _identity(known), _hota(known))

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Counts:
        """From what `arrays` gave."""
        told = {name: dict(zip(arrays[f"{name}_names"].tolist(), arrays[name].tolist(), strict=True)) for name in ("clear", "identity")}
        return cls(told["clear"], told["identity"], arrays["hota"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, to be kept."""
        found: dict[str, NDArray[Any]] = {"hota": self.hota}
        for name, told in (("clear", self.clear), ("identity", self.identity)):
            found |= {name: np.array(list(told.values()), np.float64), f"{name}_names": np.array(list(told), dtype=str)}
        return found

    def __add__(self, other: Counts) -> Counts:
        return Counts(_added(self.clear, other.clear), _added(self.identity, other.identity), self.hota + other.hota)

    def scores(self) -> dict[str, float]:
        """Scores by short names; NaN where nothing is there to be counted."""
        return {"objects": self.clear.get("truth", 0.0)} | _hota_scores(self.hota) | _clear_scores(self.clear) | _id_scores(self.identity)


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Frames whose identities are numbers from 0, and how many frames show each of them."""

    frames: tuple[FramePair, ...]
    truth: Ints
    found: Ints

    @property
    def totals(self) -> tuple[int, int]:
        return int(self.truth.sum()), int(self.found.sum())


def _numbered(frames: Sequence[FramePair]) -> _Sequence:
    truth, mine = _numbers([frame.truth for frame in frames])
    found, theirs = _numbers([frame.found for frame in frames])
    told = [FramePair(one, other, frame.pairs) for one, other, frame in zip(mine, theirs, frames, strict=True)]
    return _Sequence(tuple(told), truth, found)


def _numbers(parts: Sequence[Ints]) -> tuple[Ints, list[Ints]]:
    """How often each identity occurs, and the identities counted from 0."""
    flat = np.concatenate([np.empty(0, np.int64), *parts])
    known, codes, counts = np.unique(flat, return_inverse=True, return_counts=True)
    stops = np.cumsum([len(part) for part in parts])[:-1]
    return counts.astype(np.int64), np.split(codes.astype(np.int64), stops) if len(parts) else [known]


def _joint(told: _Sequence, weights: Sequence[Floats], chosen: Sequence[NDArray[np.bool_]]) -> Pairs:
    """Identities that meet, true and found, with the sum of weights over all frames in which they do."""
    ones = [frame.truth[frame.pairs.ones[here]] for frame, here in zip(told.frames, chosen, strict=True)]
    others = [frame.found[frame.pairs.others[here]] for frame, here in zip(told.frames, chosen, strict=True)]
    values = np.concatenate([np.empty(0), *(weight[here] for weight, here in zip(weights, chosen, strict=True))])
    width = max(len(told.found), 1)
    keys = np.concatenate([np.empty(0, np.int64), *ones]) * width + np.concatenate([np.empty(0, np.int64), *others])
    known, places = np.unique(keys, return_inverse=True)
    sums = np.bincount(places, values, minlength=len(known)).astype(np.float64)
    return Pairs(known // width, known % width, sums)


def _identity(told: _Sequence) -> dict[str, float]:
    """Each true identity goes with one found identity over the whole sequence, so that most boxes agree."""
    close = [frame.pairs.weights >= _HALF for frame in told.frames]
    hits = float(assigned(_joint(told, [here.astype(float) for here in close], close)).weights.sum())
    truth, found = told.totals
    return {"hits": hits, "misses": truth - hits, "false": found - hits}


def _clear(told: _Sequence) -> dict[str, float]:
    """Frame by frame; who was together in the frame before stays together while the boxes overlap enough."""
    before = np.full(len(told.truth), -1)
    ever = np.full(len(told.truth), -1)
    seen, fragments = np.zeros(len(told.truth), np.int64), np.zeros(len(told.truth), np.int64)
    hits, overlap, switches = 0, 0.0, 0
    for frame in told.frames:
        if not len(frame.truth) or not len(frame.found):
            continue
        pairs = frame.pairs.take(frame.pairs.weights >= _HALF - _EPS)
        stay = before[frame.truth[pairs.ones]] == frame.found[pairs.others]
        best = assigned(Pairs(pairs.ones, pairs.others, 1000.0 * stay + pairs.weights))
        truth, found = frame.truth[best.ones], frame.found[best.others]
        switches += int(((ever[truth] >= 0) & (ever[truth] != found)).sum())
        fragments[truth[before[truth] < 0]] += 1
        before[:] = -1
        before[truth], ever[truth] = found, found
        seen[truth] += 1
        hits += len(best)
        overlap += float((best.weights - 1000.0 * (best.weights > 500)).sum())
    truth_total, found_total = told.totals
    share = seen / np.maximum(told.truth, 1)
    return {
        "truth": truth_total,
        "found": found_total,
        "hits": hits,
        "overlap": overlap,
        "switches": switches,
        "fragments": int(np.maximum(fragments - 1, 0).sum()),
        "tracks": len(share),
        "mostly_tracked": int((share > 0.8).sum()),
        "mostly_lost": int((share < 0.2).sum()),
    }


def _hota(told: _Sequence) -> Floats:
    """Hits, misses, false ones and summed association scores at each alpha."""
    counts = np.zeros((4, len(ALPHAS)))
    truth, found = told.totals
    potential = _joint(told, [_shared(frame) for frame in told.frames], [np.ones(len(frame.pairs), np.bool_) for frame in told.frames])
    bond = potential.weights / (told.truth[potential.ones] + told.found[potential.others] - potential.weights)
    keys, width = potential.ones * max(len(told.found), 1) + potential.others, max(len(told.found), 1)
    matched: list[Ints] = []
    overlaps: list[Floats] = []
    for frame in told.frames:
        here = frame.truth[frame.pairs.ones] * width + frame.found[frame.pairs.others]
        best = assigned(Pairs(frame.pairs.ones, frame.pairs.others, bond[np.searchsorted(keys, here)] * frame.pairs.weights))
        kept = np.isin(_key(frame.pairs, len(frame.found)), _key(best, len(frame.found)))
        matched.append(here[kept])
        overlaps.append(frame.pairs.weights[kept])
    codes, weights = np.concatenate([np.empty(0, np.int64), *matched]), np.concatenate([np.empty(0), *overlaps])
    for place, alpha in enumerate(ALPHAS):
        pairs, times = np.unique(codes[weights >= alpha - _EPS], return_counts=True)
        hits = float(times.sum())
        union = np.maximum(1, told.truth[pairs // width] + told.found[pairs % width] - times)
        counts[:, place] = hits, truth - hits, found - hits, float((times * times / union).sum())
    return counts


def _key(pairs: Pairs, width: int) -> Ints:
    found: Ints = pairs.ones * max(width, 1) + pairs.others
    return found


def _shared(frame: FramePair) -> Floats:
    """Of each pair the overlap as a share of all overlaps that both have in this frame."""
    pairs = frame.pairs
    mine = np.bincount(pairs.ones, pairs.weights, minlength=len(frame.truth))
    theirs = np.bincount(pairs.others, pairs.weights, minlength=len(frame.found))
    found: Floats = pairs.weights / (mine[pairs.ones] + theirs[pairs.others] - pairs.weights)
    return found


def _hota_scores(counts: Floats) -> dict[str, float]:
    hits, misses, wrong, sums = counts
    total = hits + misses + wrong
    if not total.any():
        return dict.fromkeys(("hota", "deta", "assa"), float("nan"))
    detection = hits / np.maximum(total, 1)
    association = sums / np.maximum(hits, 1)
    return {"hota": float(np.sqrt(detection * association).mean()), "deta": float(detection.mean()), "assa": float(association.mean())}


def _clear_scores(counts: dict[str, float]) -> dict[str, float]:
    truth, found, hits = (counts.get(key, 0.0) for key in ("truth", "found", "hits"))
    return {
        "mota": _share(hits - (found - hits) - counts.get("switches", 0.0), truth),
        "motp": _share(counts.get("overlap", 0.0), hits),
        "precision": _share(hits, found),
        "recall": _share(hits, truth),
    } | {key: counts.get(key, 0.0) for key in ("switches", "fragments", "mostly_tracked", "mostly_lost", "tracks")}


def _id_scores(counts: dict[str, float]) -> dict[str, float]:
    hits, misses, wrong = (counts.get(key, 0.0) for key in ("hits", "misses", "false"))
    return {
        "idf1": _share(2 * hits, 2 * hits + misses + wrong),
        "id_precision": _share(hits, hits + wrong),
        "id_recall": _share(hits, hits + misses),
    }


def _added(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {key: one.get(key, 0.0) + other.get(key, 0.0) for key in (one or other)}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
