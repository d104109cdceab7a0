"""What `predict` in the config chooses."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from geohydra.build import near
from geohydra.errors import ConfigError
from geohydra.prediction.tracks import Tracker


class Prediction:
    """How a trained model goes over whole scenes, and what is written of them.

    `window`: rows and columns of what the network sees at once. `overlap`: share of a window that it shares with the next one.
    `blend`: where windows overlap, "smooth" fades the probabilities of one into the next, "center" takes each pixel from
    the window in whose middle it lies most (cheaper). `probabilities`: whether they are written, "uint8" as `round(254 p)` with 255
    for not measured, or "float32". `min_area_m2` drops smaller polygons, `simplify_m` straightens their outlines.
    `thresholds`: probabilities by class instead of those that validation chose. `tta` (test-time augmentation): the mean of the
    answers to each window as it is and mirrored ("flips": 4 answers), or turned as well ("d4": 8). `uncertainty` of each
    answer, from 0: "entropy" and "margin" (one less the distance of the two largest probabilities) go up to 1; "variance" of the
    probability, up to 0.25, is that of several answers: by `tta`, or of the members of an ensemble.
    Of tasks that find objects: those at least as sure as `min_score` are told, or where it is null as the `thresholds` ask; of two of one
    class that overlap by more than `nms` (intersection over union) only the surer one; `regularise` makes the outlines of instances
    right-angled, as those of buildings are. `tracker`: how objects of frames become tracks.
    `quicklooks`: so many scenes have a picture, from first to last; null: all. One takes longer to draw than a small chip to predict.
    `parcels`: a file of polygons of which tasks of series tell class and curves, by default those of the labels. `digest` tells what
    it holds; it is filled in before planning.
    """

    pinned = ("parcels",)

    def __init__(
        self,
        *,
        window: Annotated[int, Field(ge=8, le=8192)] = 256,
        overlap: Annotated[float, Field(ge=0.0, le=0.75)] = 0.25,
        blend: Literal["smooth", "center"] = "smooth",
        batch_size: Annotated[int, Field(ge=1, le=1024)] = 4,
        probabilities: Literal["none", "uint8", "float32"] = "uint8",
        polygons: bool = True,
        min_area_m2: Annotated[float, Field(ge=0.0)] = 0.0,
        simplify_m: Annotated[float, Field(ge=0.0)] = 0.0,
        regularise: bool = False,
        thresholds: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] | None = None,
        tta: Literal["none", "flips", "d4"] = "none",
        uncertainty: Literal["none", "entropy", "margin", "variance"] = "none",
        min_score: Annotated[float, Field(ge=0.0, le=1.0)] | None = None,
        nms: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5,
        tracker: Tracker | None = None,
        quicklooks: Annotated[int, Field(ge=0)] | None = None,
        parcels: Annotated[str, Field(min_length=1)] | None = None,
        digest: str | None = None,  # noqa: ARG002
    ) -> None:
        self.window = window
        self.overlap = overlap
        self.blend = blend
        self.batch_size = batch_size
        self.probabilities = probabilities
        self.polygons = polygons
        self.min_area_m2 = min_area_m2
        self.simplify_m = simplify_m
        self.regularise = regularise
        self.thresholds = dict(thresholds or {})
        self.tta: Literal["none", "flips", "d4"] = tta
        self.uncertainty: Literal["none", "entropy", "margin", "variance"] = uncertainty
        self.min_score = min_score
        self.nms = nms
        self.tracker = tracker or Tracker()
        self.quicklooks = quicklooks
        self.quicklook = quicklooks != 0
        self.parcels = parcels

    def of_scene(self, place: int, count: int) -> Prediction:
        """The same for one scene, by its place among so many: `quicklook` tells whether it has a picture."""
        found = copy.copy(self)
        wanted = count if self.quicklooks is None else self.quicklooks
        found.quicklook = wanted > 0 and place % -(-count // wanted) == 0
        return found

    def check(self, parts: Mapping[str, Any]) -> Iterator[ConfigError]:
        """Only answers that are probabilities or values can be averaged or be unsure; thresholds are of classes that there are."""
        task = parts.get("task")
        for name, value in (("tta", self.tta), ("uncertainty", self.uncertainty)):
            if task is not None and value != "none" and getattr(task, "activation", None) is None:
                yield ConfigError(f"predict.{name}", "this task has no answers that could be averaged", f"leave predict.{name}=none")
        classes = getattr(task, "classes", None)
        for name in self.thresholds:
            if classes is not None and name not in classes:
                yield ConfigError(f"predict.thresholds.{name}", f"there is no class {name!r}", near(name, classes))
