"""Cross-validation: the ground in as many folds, one for testing, the next for choosing, the others for learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from geohydra.chips.content import Content
from geohydra.chips.index import SPLITS
from geohydra.chips.splits import (
    Division,
    Fraction,
    Gap,
    Length,
    Part,
    block_parts,
    divided,
    fractions,
    scene_parts,
    shared,
    whole,
    whole_scenes,
)
from geohydra.types import Scene, Shape


class KFold:
    """The k-th of so many ways to divide the same ground: `-m chip.split.fold=0,1,2,3,4` tests every part of it once.

    Folds are equal in ground and in every class, as well as `of` blocks (as with Blocks: `size`, `unit`) or of whole scenes
    (those that overlap go together) can be. They depend on the seed, not on `fold`. `buffer`, in the same unit, is left
    unused around what is for choosing and testing. `val`: null takes the next fold for choosing; a fraction takes that part of what
    is not for testing, so that more is left for learning.

    `together: false`, for scenes: each goes by itself, wherever it lies, as figures are published that divide chips at random. Where
    scenes overlap, that is asked of a network which it has seen; it wants `chip.overlap: warn`.
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
        val: Fraction | None = None,
        together: bool = True,
    ) -> None:
        if fold >= folds:
            raise ValueError(f"there is no fold {fold}: {folds} folds are counted from 0 to {folds - 1}")
        if not together and (of == "blocks" or buffer):
            raise ValueError("together=false divides scenes one by one, wherever they lie: it wants of=scenes, and no buffer")
        self._folds, self._fold, self._of, self._val, self._together = folds, fold, of, val, together
        self._size, self._unit, self._buffer = size, unit, buffer

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if split != "val" or self._val != 0)

    def divide(self, scenes: Sequence[Scene], *, chip: Shape, content: Content, seed: int) -> Division:
        parts = self._parts(scenes, chip)
        wanted = {str(fold): 1 / self._folds for fold in range(self._folds)}
        hint = "ask for fewer folds or smaller chip.split.size" if self._of == "blocks" else "ask for fewer folds, or for folds of blocks"
        folds = [int(fold) for fold in shared(parts, wanted, content, seed, hint=hint)]
        splits = self._next_chooses(folds) if self._val is None else self._some_choose(parts, folds, self._val, content, seed, hint)
        if self._together:
            return divided(parts, splits, scenes, gap=self._buffer, unit=self._unit)
        return whole_scenes(scenes, {part[0][0]: split for part, split in zip(parts, splits, strict=True)})

    def _parts(self, scenes: Sequence[Scene], chip: Shape) -> list[Part]:
        if not self._together:
            return [[(scene.id, whole(scene))] for scene in scenes]
        return scene_parts(scenes) if self._of == "scenes" else block_parts(scenes, chip, self._size, self._unit)

    def _next_chooses(self, folds: Sequence[int]) -> list[str]:
        names = {self._fold: "test", (self._fold + 1) % self._folds: "val"}
        return [names.get(fold, "train") for fold in folds]

    def _some_choose(self, parts: Sequence[Part], folds: Sequence[int], val: float, content: Content, seed: int, hint: str) -> list[str]:
        """A fraction of all parts that are not for testing."""
        rest = [part for part, fold in zip(parts, folds, strict=True) if fold != self._fold]
        chosen = iter(shared(rest, fractions(val=val), content, seed, hint=hint))
        return ["test" if fold == self._fold else next(chosen) for fold in folds]
