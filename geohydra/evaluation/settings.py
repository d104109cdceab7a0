"""What `evaluate` in the config chooses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field


class Evaluation:
    """Which splits are compared with the ground, and what is shown of them.

    `splits`: the last one is the headline; its tables carry no split in their names. `curves`: precision-recall and ROC curves,
    where probabilities were written. `examples`: pictures of windows, half of them the worst and half the best. `maps`: pictures
    of whole scenes.
    """

    def __init__(
        self,
        *,
        splits: list[Literal["train", "val", "test"]] | None = None,
        curves: bool = True,
        examples: Annotated[int, Field(ge=0, le=40)] = 6,
        maps: Annotated[int, Field(ge=0, le=50)] = 6,
    ) -> None:
        self.splits = tuple(splits or ("val", "test"))
        self.curves = curves
        self.examples = examples
        self.maps = maps
