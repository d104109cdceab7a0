"""What `predict` in the config chooses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field


class Prediction:
    """How a trained model goes over whole scenes, and what is written of them.

    `window`: rows and columns of what the network sees at once. `overlap`: share of a window that it shares with the next one.
    `blend`: where windows overlap, "smooth" fades the probabilities of one into the next, "center" takes each pixel from
    the window in whose middle it lies most (cheaper). `probabilities`: whether they are written, "uint8" as `round(254 p)` with 255
    for not measured, or "float32". `min_area_m2` drops smaller polygons, `simplify_m` straightens their outlines.
    """

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
    ) -> None:
        self.window = window
        self.overlap = overlap
        self.blend = blend
        self.batch_size = batch_size
        self.probabilities = probabilities
        self.polygons = polygons
        self.min_area_m2 = min_area_m2
        self.simplify_m = simplify_m
