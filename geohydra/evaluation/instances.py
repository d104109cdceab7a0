"""Scores of objects that have an outline: panoptic quality, and the F1 of the SpaceNet building challenges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.evaluation.counting import below, led
from geohydra.evaluation.object_scenes import Meeting
from geohydra.evaluation.object_tally import AtThreshold, Measure, Tally
from geohydra.evaluation.overlaps import Floats, Pairs, overlapping

_MEASURES = (Measure(0.5, "spacenet"),)


class InstanceTally:
    """Counts by the two rules. In both a hit is the best true object that is still free, with an IoU above 0.5, higher scores first.

    Panoptic quality (Kirillov et al., CVPR 2019): ground that is not known is taken out of what was found, and what lies mostly on it does
    not count. SpaceNet: true objects below the least area and found ones up to it are left out; counts are summed up over all scenes.
    """

    def __init__(self, classes: int, *, min_area: float = 0.0) -> None:
        self.panoptic = Tally(classes, _MEASURES)
        self.spacenet = Tally(classes, _MEASURES)
        self._min_area = min_area

    def add(self, seen: Meeting, pairs: Pairs) -> None:
        """Count a scene whose objects overlap so."""
        found, truth = seen.found, seen.truth
        large, kept = found.areas > self._min_area, truth.areas >= self._min_area
        self.spacenet.add(found.take(large), truth.take(kept), pairs.among(large, kept))
        if seen.void.any():
            found = replace(found, areas=np.maximum(found.areas - seen.void, 0.0))
            pairs = overlapping(found, truth, least=_MEASURES[0].overlap)
        self.panoptic.add(found, truth, pairs)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was counted so far, to be kept."""
        return {**led("panoptic", self.panoptic.arrays()), **led("spacenet", self.spacenet.arrays())}

    def join(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Count scenes that another tally has counted."""
        self.panoptic.join(below("panoptic", arrays))
        self.spacenet.join(below("spacenet", arrays))

    def scores(self, thresholds: Floats) -> dict[str, float]:
        """`pq`, `sq`, `rq`: means over classes that are there or were found; `spacenet_f1`: of the counts of all classes together."""
        quality = panoptic_quality(self.panoptic.at(thresholds))
        known = ~np.isnan(quality["pq"])
        values = {name: float(numbers[known].mean()) if known.any() else float("nan") for name, numbers in quality.items()}
        return values | {"spacenet_f1": pooled_f1(self.spacenet.at(thresholds))}


def panoptic_quality(counts: AtThreshold) -> dict[str, Floats]:
    """Segmentation quality `sq` (the mean IoU of hits, 0 without), recognition quality `rq` (F1) and their product `pq`, of each class."""
    hits, rq = counts.hits.sum(0), counts.f1
    sq = np.divide(counts.overlaps, hits, out=np.where(np.isnan(rq), np.nan, 0.0), where=hits > 0)
    return {"pq": sq * rq, "sq": sq, "rq": rq}


def pooled_f1(counts: AtThreshold) -> float:
    """F1 of the counts of all classes together; 0 where nothing is there and nothing was found."""
    hits, whole = int(counts.hits.sum()), int((counts.hits + counts.false + counts.truths).sum())
    return 2 * hits / whole if whole else 0.0
