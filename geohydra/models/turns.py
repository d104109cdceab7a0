"""How an oriented box is turned, as four numbers that never jump.

A rectangle with a long side L at the angle t and a short side S has `d = (L - S) / (L + S)`, and the numbers `d cos 2t`, `d sin 2t`,
`cos 4t`, `sin 4t`. The first two tell the long side and fade out for squares, which have none; the last two tell the angle but for
quarter turns. Angles themselves would jump where a box turns past its end. Corners `(n, 4, 2)` are `(x, y)` in turn.
"""

from __future__ import annotations

import torch

_SLIMMEST = 0.98
"""Of `d`: sides of 1 to 99."""


def turns_of(corners: torch.Tensor) -> torch.Tensor:
    """`(n, 4)` numbers of rectangles."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1]
    one, other = first.norm(dim=1), second.norm(dim=1)
    along = torch.where((one >= other)[:, None], first, second)
    angle = torch.atan2(along[:, 1], along[:, 0])
    slim = (one - other).abs() / (one + other).clamp(min=1e-6)
    return torch.stack([slim * torch.cos(2 * angle), slim * torch.sin(2 * angle), torch.cos(4 * angle), torch.sin(4 * angle)], dim=1)


def corners_from(boxes: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Rectangles `(n, 4, 2)` that fill upright boxes `(left, top, right, bottom)`, turned so; how slim they are is told by the box as far
    as it shows it (not at 45 degrees), else by the numbers."""
    angle = torch.atan2(turns[:, 3], turns[:, 2]) / 4
    told = turns[:, 0] * torch.cos(2 * angle) + turns[:, 1] * torch.sin(2 * angle)
    angle = torch.where(told < 0, angle + torch.pi / 2, angle)
    width, height = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-6).unbind(1)
    double = torch.cos(2 * angle)
    seen = (width - height) / (width + height) * (1 + torch.sin(2 * angle).abs()) * double
    slim = (seen + (1 - double**2) * told.abs()).clamp(0, _SLIMMEST)
    both = (width + height) / (torch.cos(angle).abs() + torch.sin(angle).abs())
    direction = torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
    along = direction * (both * (1 + slim) / 4)[:, None]
    across = direction.flip(1) * direction.new_tensor([-1, 1]) * (both * (1 - slim) / 4)[:, None]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return torch.stack([middle - along - across, middle + along - across, middle + along + across, middle - along + across], dim=1)
