"""FCOS: torchvision's branches on any pyramid, with ground that is left out, objects of a few pixels, and turned boxes.

A cell learns an object when its middle lies in it, near the object's middle, and the object suits its level. Turned boxes are told by their
upright box and a turn; see geohydra.models.turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSRegressionHead
from torchvision.ops import batched_nms, generalized_box_iou_loss, sigmoid_focal_loss

from geohydra.models.detector_network import Tensors, left_out
from geohydra.models.retinanet import LEAST
from geohydra.models.turns import corners_from, turns_of

_RADIUS = 1.5
"""How far from an object's middle a cell may lie, in cells."""
_REACH = 4.0
"""Up to so many cells may the farthest side of an object be away in its level."""
_CANDIDATES = 1000
_SAME = 0.5
_SAME_TURNED = 0.8
"""Upright boxes that overlap by more are one object; of long turned objects side by side they overlap by up to 0.7."""
_NONE, _ASIDE = -1, -2


@dataclass(frozen=True, slots=True)
class Cells:
    """All cells of a pyramid: their middles `(p, 2)`, `(x, y)`, their strides and the farthest sides that they learn `(p)`."""

    middles: torch.Tensor
    strides: torch.Tensor
    nearest: torch.Tensor
    farthest: torch.Tensor

    def boxes(self, sides: torch.Tensor) -> torch.Tensor:
        """Boxes `(..., p, 4)` from how many cells the left, top, right and lower side are away."""
        away = sides * self.strides[:, None]
        return torch.cat([self.middles - away[..., :2], self.middles + away[..., 2:]], dim=-1)

    def take(self, places: torch.Tensor) -> Cells:
        """Some of them."""
        return Cells(self.middles[places], self.strides[places], self.nearest[places], self.farthest[places])


class _Sides(FCOSRegressionHead):  # type: ignore[misc]
    """With a branch that tells turns, where these are asked for. Sides begin a cell away: at nothing they would learn nothing."""

    def __init__(self, channels: int, convolutions: int, *, turned: bool) -> None:
        super().__init__(channels, 1, convolutions)
        nn.init.constant_(self.bbox_reg.bias, 1.0)
        self.turn = nn.Conv2d(channels, 4, 3, padding=1) if turned else None

    def turns(self, levels: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """`(n, p, 4)`; see geohydra.models.turns."""
        if self.turn is None:
            return None
        return torch.cat([self.turn(self.conv(level)).flatten(2).transpose(1, 2) for level in levels], dim=1)


class FcosHead(nn.Module):
    """See geohydra.models.detector_network.Head."""

    def __init__(self, channels: int, classes: int, strides: Sequence[int], *, convolutions: int, most: int, oriented: bool) -> None:
        super().__init__()
        self.naming = FCOSClassificationHead(channels, 1, classes, convolutions)
        self.placing = _Sides(channels, convolutions, turned=oriented)
        self._strides, self._most = tuple(strides), most

    def forward(self, levels: list[torch.Tensor], size: tuple[int, int], truths: list[Tensors] | None) -> tuple[Tensors, list[Tensors]]:
        """See Head."""
        names = self.naming(levels).float()
        sides, middles = (values.float() for values in self.placing(levels))
        turns = self.placing.turns(levels)
        turns = None if turns is None else turns.float()
        cells = self._cells(levels)
        losses = {} if truths is None else _losses(names, sides, middles[..., 0], turns, cells, truths)
        if self.training:
            return losses, []
        scores = torch.sqrt(names.sigmoid() * middles.sigmoid())
        found = [
            _found(scores[place], sides[place], None if turns is None else turns[place], cells, size, self._most)
            for place in range(len(names))
        ]
        return losses, found

    def _cells(self, levels: Sequence[torch.Tensor]) -> Cells:
        middles, strides, near, far = [], [], [], []
        last = len(levels) - 1
        for place, (level, stride) in enumerate(zip(levels, self._strides, strict=True)):
            rows, cols = ((torch.arange(count, device=level.device) + 0.5) * stride for count in level.shape[-2:])
            y, x = torch.meshgrid(rows, cols, indexing="ij")
            middles.append(torch.stack([x.flatten(), y.flatten()], dim=1))
            strides.append(torch.full((x.numel(),), float(stride), device=level.device))
            near.append(strides[-1] * (_REACH / 2 if place else 0))
            far.append(strides[-1] * (_REACH if place < last else torch.inf))
        return Cells(torch.cat(middles), torch.cat(strides), torch.cat(near), torch.cat(far))


def matched(cells: Cells, boxes: torch.Tensor, aside: torch.Tensor | None = None) -> torch.Tensor:
    """For each cell the box that it learns, the smallest of those that suit it; -1 for background, -2 for what is left out: `aside` (p)."""
    found = torch.full((len(cells.middles),), _NONE, dtype=torch.int64, device=cells.middles.device)
    if len(boxes):
        away = torch.cat([cells.middles[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - cells.middles[:, None]], dim=2)
        off = ((boxes[:, :2] + boxes[:, 2:])[None] / 2 - cells.middles[:, None]).abs().amax(2)
        far, stride = away.amax(2), cells.strides[:, None]
        here = ((away.amin(2) > 0) & (off < _RADIUS * stride)) | (off <= stride / 2)
        here &= (far > cells.nearest[:, None]) & (far <= cells.farthest[:, None])
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        smallest, which = torch.where(here, areas[None], torch.inf).min(1)
        found = torch.where(torch.isfinite(smallest), which, found)
    if aside is not None:
        found[aside & (found == _NONE)] = _ASIDE
    return found


def _losses(
    names: torch.Tensor, sides: torch.Tensor, middles: torch.Tensor, turns: torch.Tensor | None, cells: Cells, truths: list[Tensors]
) -> Tensors:
    """Sums over the cells of a batch, by the number of those that learn an object."""
    boxes = [truth["boxes"] if turns is None else _around(truth["corners"]) for truth in truths]
    match = torch.stack([matched(cells, each, left_out(cells.middles, truth)) for each, truth in zip(boxes, truths, strict=True)])
    image, cell = (match >= 0).nonzero(as_tuple=True)
    row = match[image, cell]
    starts = torch.tensor([0, *(len(each) for each in boxes)], device=row.device).cumsum(0)[image]
    count = max(1, len(row))
    wanted = torch.zeros_like(names)
    wanted[image, cell, torch.cat([truth["labels"] for truth in truths])[starts + row]] = 1.0
    naming = sigmoid_focal_loss(names, wanted, reduction="none").sum(-1)[match != _ASIDE].sum()
    true, part = torch.cat(boxes)[starts + row], cells.take(cell)
    losses = {
        "classes": naming / count,
        "boxes": generalized_box_iou_loss(part.boxes(sides[image, cell]), true, reduction="sum") / count,
        "centres": functional.binary_cross_entropy_with_logits(middles[image, cell], _centred(part, true), reduction="sum") / count,
    }
    if turns is not None:
        known = turns_of(torch.cat([truth["corners"] for truth in truths])[starts + row])
        losses["turns"] = functional.smooth_l1_loss(turns[image, cell], known, beta=0.1, reduction="sum") / count
    return losses


def _centred(cells: Cells, boxes: torch.Tensor) -> torch.Tensor:
    """How near cells lie to the middles of their boxes: 1 in the middle, 0 at a side."""
    before, after = (cells.middles - boxes[:, :2]).clamp(min=0), (boxes[:, 2:] - cells.middles).clamp(min=0)
    parts = torch.minimum(before, after) / torch.maximum(before, after).clamp(min=1e-6)
    return parts.prod(1).sqrt()


def _found(
    scores: torch.Tensor, sides: torch.Tensor, turns: torch.Tensor | None, cells: Cells, size: tuple[int, int], most: int
) -> Tensors:
    """The objects of one image, the surest first."""
    flat = scores.flatten()
    sure = (flat > LEAST).nonzero()[:, 0]
    best = flat[sure].topk(min(_CANDIDATES, len(sure)))
    places = sure[best.indices]
    cell, label = places // scores.shape[1], places % scores.shape[1]
    boxes = cells.take(cell).boxes(sides[cell])
    corners = None if turns is None else corners_from(boxes, turns[cell])
    if corners is None:
        boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([size[1], size[0]] * 2))
    kept = batched_nms(boxes, best.values, label, _SAME if corners is None else _SAME_TURNED)[:most]
    found = {"boxes": boxes[kept], "scores": best.values[kept], "labels": label[kept]}
    return found if corners is None else {**found, "corners": corners[kept], "boxes": _around(corners[kept])}


def _around(corners: torch.Tensor) -> torch.Tensor:
    """The upright boxes around corners `(n, 4, 2)`."""
    return torch.cat([corners.amin(1), corners.amax(1)], dim=1)
