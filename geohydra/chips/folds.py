"""Cross-validation: the ground in as many folds, one for testing, the next for choosing, the others for learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from geohydra.chips.content import Content
from geohydra.chips.index import SPLITS
from geohydra.chips.splits import Division, Gap, Length, Part, block_parts, divided, scene_parts, shared
from geohydra.types import Scene, Shape


class KFold:
    """The k-th of so many ways to divide the same ground: `-m chip.split.fold=0,1,2,3,4` tests every part of it once.

    Folds are equal in ground and in every class, as well as `of` blocks (as with Blocks: `size`, `unit`) or of whole scenes
    (those that overlap go together) can be. They depend on the seed, not on `fold`. `buffer`, in the same unit, is left
    unused around what is for choosing and testing.
    """

    def __init__(
        self,
        *,
        folds: Annotated[int, Field(ge=3, le=100)] = 5,
        fold: Annotated[int, Field(ge=0)] = 0,
        of: Literal["blocks", "scenes"] = "blocks",
        size: Length | None = None,
        unit: Literal["m", "px"] = "m",
        buffer: Gap = 0.0,
    ) -> None:
        if fold >= folds:
            raise ValueError(f"there is no fold {fold}: {folds} folds are counted from 0 to {folds - 1}")
        self._folds, self._fold, self._of = folds, fold, of
        self._size, self._unit, self._buffer = size, unit, buffer

    @property
    def asked(self) -> tuple[str, ...]:
        return SPLITS

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:
        parts = self._parts(scenes, chip)
        wanted = {str(fold): 1 / self._folds for fold in range(self._folds)}
        hint = "ask for fewer folds or smaller chip.split.size" if self._of == "blocks" else "ask for fewer folds, or for folds of blocks"
        folds = shared(parts, wanted, content, seed, hint=hint)
        return divided(parts, [self._split(int(fold)) for fold in folds], scenes, gap=self._buffer, unit=self._unit)

    def _parts(self, scenes: Sequence[Scene], chip: Shape) -> list[Part]:
        return scene_parts(scenes) if self._of == "scenes" else block_parts(scenes, chip, self._size, self._unit)

    def _split(self, fold: int) -> str:
        return {self._fold: "test", (self._fold + 1) % self._folds: "val"}.get(fold, "train")
