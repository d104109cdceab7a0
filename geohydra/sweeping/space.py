"""What is varied: for each key the numbers or the words that it may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

WIDE = 30
"""An interval whose ends differ by this factor is searched on a logarithmic scale, unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers between two ends, both included; `whole` ones, or those that lie `step` apart, or all."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: float | None = None

    def __str__(self) -> str:
        kind = "whole numbers" if self.whole else "numbers"
        apart = f", {self.step:g} apart" if self.step and self.step != 1 else ""
        return f"{kind} from {self.low:g} to {self.high:g}{apart}{', logarithmic' if self.log else ''}"

    def word(self, value: float) -> str:
        """The value as it is written on a command line: four digits are enough to tell trials apart."""
        if self.whole:
            return str(round(value))
        return repr(min(max(float(f"{value:.4g}"), self.low), self.high))


@dataclass(frozen=True, slots=True)
class Choices:
    """Words, as they are written on a command line."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.words)


Space = Mapping[str, Numbers | Choices]
"""By the key as it was written, with a `+` where it had one."""


def is_wide(low: float, high: float) -> bool:
    """Whether an interval spans so much that its small values would hardly be tried on a linear scale."""
    return low > 0 and math.isfinite(high) and high / low >= WIDE
