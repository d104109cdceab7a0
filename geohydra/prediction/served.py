"""What a bundle answers when it is asked for arrays and not for files: of which kind, and of which shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geohydra.prediction.decision import Decision

if TYPE_CHECKING:
    from geohydra.prediction.decision import Deciding

_WHOLE = ("image", "clip")
_DATED = ("series", "parcels", "clip")
ANY = -1
"""Any number: of images, dates, rows, columns."""


@dataclass(frozen=True, slots=True)
class Served:
    """`whole`: one answer for an image, not one for each pixel. `cell`: pixels of a side that share an answer. `dated`: several dates of a
    place are shown, and when they were."""

    decision: Deciding
    whole: bool = False
    cell: int = 1
    dated: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of answers: images, labels where several may be true, rows and columns."""
        layers = () if self.decision.layers is None else (self.decision.layers,)
        return (ANY, *layers) if self.whole else (ANY, *layers, ANY, ANY)

    def inputs(self, bands: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of what is asked for, by name; one without a name is all there is."""
        if not self.dated:
            return {"": ("float32", (ANY, bands, ANY, ANY))}
        return {"pixels": ("float32", (ANY, ANY, bands, ANY, ANY)), "days": ("int32", (ANY, ANY))}


def served(task: Any, model: Any, *, classes: Sequence[str], thresholds: Mapping[str, float]) -> Served:
    """What a task and a model answer together."""
    answers, kind = getattr(task, "answers", None), getattr(model, "answers", "pixels")
    decision: Deciding = answers().decision(thresholds) if answers else Decision(classes, thresholds)
    return Served(decision, kind in _WHOLE, int(model.stride) if kind == "cells" else 1, kind in _DATED)
