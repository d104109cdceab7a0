"""What `evaluate` in the config chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

if TYPE_CHECKING:
    from geohydra.evaluation.average_precision import RuleName


class Evaluation:
    """Which splits are compared with the ground, and what is shown of them.

    `splits`: the last one is the headline; its tables carry no split in their names. `curves`: precision-recall and ROC curves,
    where probabilities were written. `examples`: pictures of windows, half of them the worst and half the best. `maps`: pictures
    of whole scenes. `boundary`: of class maps, the boundary IoU too: of what lies so many pixels from the edge of its class.

    For tasks that find objects: `rule` names a published scorer whose average precision is told beside COCO's, under its own name;
    `min_overlap`: from what IoU on an object counts as found in F1, counts and pictures, and by that rule; `max_detections`: only
    so many of a class and a scene count, those of the highest scores (COCO: 100 a chip); `min_share`: of what less than this share
    lies in the windows of a split is neither hit nor missed; `min_area`: what is smaller, in pixels, does not count in SpaceNet's F1.
    """

    def __init__(
        self,
        *,
        splits: list[Literal["train", "val", "test"]] | None = None,
        curves: bool = True,
        examples: Annotated[int, Field(ge=0, le=40)] = 6,
        maps: Annotated[int, Field(ge=0, le=50)] = 6,
        boundary: Annotated[int, Field(ge=1, le=200)] | None = None,
        rule: Literal["coco", "voc2007", "voc2012", "xview", "dota"] = "coco",
        min_overlap: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        max_detections: Annotated[int, Field(ge=1)] | None = None,
        min_share: Annotated[float, Field(gt=0, le=1)] = 0.5,
        min_area: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        self.splits = tuple(splits or ("val", "test"))
        self.curves = curves
        self.examples = examples
        self.maps = maps
        self.boundary = boundary
        self.rule: RuleName = rule
        self.min_overlap = min_overlap
        self.max_detections = max_detections
        self.min_share = min_share
        self.min_area = min_area
