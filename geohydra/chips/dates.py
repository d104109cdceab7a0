"""Chips that are series: those of one batch have as many dates as the longest of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def level(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """`(chip, time, ...)` of arrays `(time, ...)`: behind the dates of a chip that has fewer there are zeros, which are not valid."""
    longest = max(map(len, parts))
    filled = np.zeros((len(parts), longest, *parts[0].shape[1:]), parts[0].dtype)
    for place, part in enumerate(parts):
        filled[place, : len(part)] = part
    return filled
