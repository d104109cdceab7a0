"""Maps of numbers held against the ground: root mean square error, mean absolute error, R2 and bias. Streams tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation.streaming import opened, read_band, tiles
from geohydra.task import Measured
from geohydra.types import Shape

if TYPE_CHECKING:
    import torch

    from geohydra.evaluation.settings import Evaluation
    from geohydra.report import Report
    from geohydra.task import Batch, Pair
    from geohydra.work import Work

Numbers = NDArray[np.float64]
_TILE = Shape(512, 2048)
_SHOWN = 20_000
"""Pixels of a scatter plot, at most."""


@dataclass(slots=True)
class Errors:
    """Sums over pixels, added up around the mean so that large values lose nothing; and some pixels to look at."""

    count: int = 0
    truth: float = 0.0
    spread: float = 0.0
    error: float = 0.0
    absolute: float = 0.0
    squared: float = 0.0
    pixels: list[Numbers] = field(default_factory=list)

    def add(self, truth: Numbers, answer: Numbers) -> None:
        """Known pixels."""
        if len(truth):
            self.join(*sums_of(truth, answer))

    def join(self, sums: Numbers, pixels: Numbers) -> None:
        """Pixels of which `sums_of` tells."""
        count, mean, spread, error, absolute, squared = sums.tolist()
        total, apart = self.count + int(count), mean - self.truth
        self.spread += spread + apart**2 * self.count * int(count) / total
        self.truth += apart * int(count) / total
        self.count = total
        self.error += error
        self.absolute += absolute
        self.squared += squared
        if sum(part.shape[1] for part in self.pixels) < _SHOWN:
            self.pixels.append(pixels)

    def scores(self) -> dict[str, float]:
        """By short names; the trivial answer is the mean of the truth everywhere, whose R2 is 0."""
        if not self.count:
            return {}
        trivial = (self.spread / self.count) ** 0.5
        r2 = 1 - self.squared / self.spread if self.spread > 0 else float("nan")
        means = {"rmse": (self.squared / self.count) ** 0.5, "mae": self.absolute / self.count, "bias": self.error / self.count}
        return {**means, "r2": r2, "baseline_rmse": trivial}


class ValueScores:
    """Errors of a network, batch by batch."""

    def __init__(self) -> None:
        self.errors = Errors()

    def update(self, outputs: torch.Tensor, batch: Batch) -> None:
        """Add the network's outputs `(n, 1, row, col)` for a batch."""
        truth = batch["value"]
        known = batch["valid"] & ~truth.isnan()
        self.errors.add(truth[known].double().cpu().numpy(), outputs[:, 0].float()[known].double().cpu().numpy())

    def compute(self) -> dict[str, float]:
        """See Errors."""
        return self.errors.scores() or {"rmse": float("nan"), "r2": float("nan")}


class ValueReview(ValueScores):
    """What is shown of a network."""

    @property
    def thresholds(self) -> dict[str, float]:
        """None: nothing is decided."""
        return {}

    def show(self, report: Report, *, split: str, bands: Sequence[str]) -> None:  # noqa: ARG002
        """A scatter plot and the errors."""
        show_errors(report, self.errors, prefix=f"{split}_", split=split)


def sums_of(truth: Numbers, answer: Numbers) -> tuple[Numbers, Numbers]:
    """Of known pixels: their count, the mean of the truth, its spread, and the sums of errors, as they are, without sign and squared; and
    some of the pixels, truth and answer, to look at."""
    wrong, mean = answer - truth, float(truth.mean())
    sums = [len(truth), mean, float(((truth - mean) ** 2).sum()), float(wrong.sum()), float(np.abs(wrong).sum()), float((wrong**2).sum())]
    return np.array(sums), np.stack([truth, answer])[:, :: max(1, len(truth) * 20 // _SHOWN)]


class ValueComparison:
    """`values` rasters held against the ground over the windows of a split; scenes without labels do not count."""

    def count(self, pair: Pair, *, settings: Evaluation) -> Mapping[str, NDArray[Any]]:  # noqa: ARG002 (every comparison is given them)
        """The sums of each tile, as they are added up in their order; and as many pixels as a plot needs."""
        tiles = [sums_of(truth, answer) for truth, answer in _tiles(pair) if len(truth)]
        if not tiles:
            return {}
        stops = np.cumsum([pixels.shape[1] for _, pixels in tiles])
        shown = int(np.searchsorted(stops, _SHOWN)) + 1
        return {
            "sums": np.stack([sums for sums, _ in tiles]),
            "stops": stops,
            "pixels": np.concatenate([pixels for _, pixels in tiles[:shown]], axis=1),
        }

    def conclude(
        self, pairs: Sequence[Pair], counts: Sequence[Mapping[str, NDArray[Any]]], *, split: str, settings: Evaluation, work: Work
    ) -> dict[str, Any]:
        """A table, a picture and metrics."""
        total, rows = Errors(), []
        for pair, found in zip(pairs, counts, strict=True):
            if found:
                own = Errors()
                for sums, pixels in _by_tile(found):
                    own.join(sums, pixels)
                    total.join(sums, pixels)
                rows.append({"scene": pair.scene.id, "pixels": own.count, **own.scores()})
        if not rows:
            work.say(f"{split}: no pixel has both a number and a prediction, so it has no scores")
            return {"metrics": {}, "thresholds": {}}
        prefix = "" if split == settings.splits[-1] else f"{split}_"
        work.report.table(f"{prefix}per_scene", {key: [row[key] for row in rows] for key in rows[0]})
        show_errors(work.report, total, prefix=prefix, split=split)
        scores = total.scores()
        line = f"{split}: RMSE {scores['rmse']:.4g}, R2 {scores['r2']:.3f} (the mean everywhere gives {scores['baseline_rmse']:.4g} and 0)"
        work.say(line)
        work.report.note(line)
        return {"metrics": scores, "thresholds": {}}


def _by_tile(found: Mapping[str, NDArray[Any]]) -> Iterator[tuple[Numbers, Numbers]]:
    """Sums and pixels of each tile; no pixels of those that a plot has no room for."""
    starts = [0, *found["stops"].tolist()]
    for place, sums in enumerate(found["sums"]):
        yield sums, found["pixels"][:, starts[place] : starts[place + 1]]


def show_errors(report: Report, errors: Errors, *, prefix: str, split: str) -> None:
    """Prediction against truth, and how errors are spread."""
    from geohydra.evaluation.value_pictures import scatter

    if errors.pixels:
        truth, answer = np.concatenate(errors.pixels, axis=1)
        report.figure(f"{prefix}scatter", scatter(truth, answer, title=f"Prediction and truth, {split}"))


def _tiles(pair: Pair) -> Any:
    """Truth and answer of known pixels, tile by tile."""
    from geohydra.ground import open_ground

    ground, file = open_ground(pair.scene), pair.file("values")
    if file is None or not isinstance(ground, Measured):
        return
    shape = pair.scene.grid.shape
    with opened(file, shape) as predicted:
        for box, region in tiles(shape, pair.windows, _TILE):
            truth, answer = ground.values(box), read_band(predicted, 1, box)
            known = np.isfinite(truth) & np.isfinite(answer) & (True if region is None else region)
            yield truth[known].astype(np.float64), answer[known].astype(np.float64)


def scores_of(truth: Numbers, answer: Numbers) -> Mapping[str, float]:
    """The scores of two arrays."""
    errors = Errors()
    errors.add(truth, answer)
    return errors.scores()
