"""How much of each cell of a coarse grid a class covers."""

from __future__ import annotations

import torch
from torch.nn import functional

from geohydra.types import Shape


def fractions(mask: torch.Tensor, known: torch.Tensor, *, classes: int, cell: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of the known pixels of each cell is of each class, float32 `(n, class, row, col)`, and whether any pixel is known.

    `mask` are class ids `(n, row, col)`, `known` which of them count; rows and columns are multiples of the cell's.
    """
    size = (cell.rows, cell.cols)
    total = functional.avg_pool2d(known[:, None].float(), size)[:, 0]
    parts = [functional.avg_pool2d(((mask == place) & known)[:, None].float(), size)[:, 0] for place in range(classes)]
    shares = torch.stack(parts, 1) / total.clamp(min=1e-6)[:, None]
    return shares, total > 0
