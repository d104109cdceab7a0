"""A detector as a network: encoder, pyramid and head. Boxes go in and come out as geohydra writes them; torchvision's order of corners
is known to the heads alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from geohydra.types import IGNORE

Tensors = dict[str, torch.Tensor]
"""Of one image. What is there: `boxes` (n, 4) as `(left, top, right, bottom)`, `labels` (n) from 0. Of the truth also `ignored` (n, 4):
boxes in which nothing is learnt, `known` (row, col): pixels that were measured and whose ground is known, `corners` (n, 4, 2) as
`(x, y)`, `masks` (n, row, col). Of what was found also `scores` (n), `corners`,
and `masks` (n, 28, 28): probabilities within the box."""

_SWAP = [1, 0, 3, 2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a detector says to a batch: losses by name, while training or where targets are given; what it found in each image, unless
    it is training: `boxes` (n, 4) as `(top, left, bottom, right)` in pixels, `scores` (n), `classes` (n) from 0, and where it finds them
    `corners` (n, 4, 2) as `(row, col)`, `masks` (n, 28, 28): probabilities of the pixels of the box on a grid of 28 x 28."""

    losses: Tensors = field(default_factory=dict)
    found: list[Tensors] = field(default_factory=list)


class Head(Protocol):
    """What finds objects in the levels of a pyramid; a module."""

    def __call__(self, levels: list[torch.Tensor], size: tuple[int, int], truths: list[Tensors] | None) -> tuple[Tensors, list[Tensors]]:
        """Losses where the truth is given, and what was found (left, top, right, bottom; labels from 0) unless it is training."""


class DetectorNetwork(nn.Module):
    """Encoder, pyramid and head. `raw` is what of it is dense, by which two forms of one network are compared."""

    def __init__(self, encoder: nn.Module, pyramid: nn.Module, head: Head) -> None:
        super().__init__()
        self.encoder, self.pyramid = encoder, pyramid
        self.head = head

    def forward(self, images: torch.Tensor, targets: Mapping[str, torch.Tensor] | None = None) -> Answer:
        """`targets` as a batch of chips has them, rows padded with NaN or -1: `boxes` (n, k, 4), `classes` (n, k), and where there are such
        `ignored` (n, k, 4), `corners` (n, k, 4, 2), `ids` (n, row, col): 1 + the row of the object that a pixel shows; `valid`, `known`
        and `mask` (n, row, col): where nothing was measured, nothing is known, or the class is IGNORE, nothing is learnt."""
        truths = None if targets is None else truths_of(targets, len(images))
        levels = self.pyramid(self.encoder(images))
        losses, found = self.head(levels, (images.shape[-2], images.shape[-1]), truths)
        return Answer(losses, [_written(one) for one in found])

    def raw(self, images: torch.Tensor) -> torch.Tensor:
        """All levels of the pyramid, one after the other."""
        return torch.cat([level.flatten(1) for level in self.pyramid(self.encoder(images))], dim=1)


def truths_of(targets: Mapping[str, torch.Tensor], count: int) -> list[Tensors]:
    """The targets of each image of a batch, without padding and without boxes that have no area."""
    return [_truth({name: values[place] for name, values in targets.items()}) for place in range(count)]


def _truth(target: Mapping[str, torch.Tensor]) -> Tensors:
    there = _real(target["boxes"])
    aside = target.get("ignored", target["boxes"][:0])
    if "corners" in target:  # of what reaches beyond the chip on all sides
        known = target["corners"].flatten(1).isfinite().all(1)
        there, aside = there & known, torch.cat([aside, target["boxes"][there & ~known]])
    truth = {"boxes": target["boxes"][there][:, _SWAP].float(), "labels": target["classes"][there].long()}
    truth["ignored"] = aside[_real(aside)][:, _SWAP].float()
    counted = _known(target)
    if counted is not None:
        truth["known"] = counted
    if "corners" in target:
        truth["corners"] = target["corners"][there].flip(-1).float()
    if "ids" in target:
        ids = target["ids"].to(torch.int64)
        truth["masks"] = (ids[None] == there.nonzero()[:, :, None] + 1).to(torch.uint8)
    return truth


def _known(target: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """Pixels from which there is something to learn; None where nothing is told of them."""
    told = [target[name] > 0 for name in ("valid", "known") if name in target]
    told += [target["mask"] != IGNORE] if "mask" in target else []
    return torch.stack(told).all(0) if told else None


def _real(boxes: torch.Tensor) -> torch.Tensor:
    """Which boxes are there and have an area; comparisons with NaN are false."""
    return (boxes[:, 2:] > boxes[:, :2]).all(1)


def _written(found: Tensors) -> Tensors:
    """What was found in one image, rows before columns."""
    answer = {"boxes": found["boxes"][:, _SWAP], "scores": found["scores"], "classes": found["labels"]}
    if "corners" in found:
        answer["corners"] = found["corners"].flip(-1)
    if "masks" in found:
        answer["masks"] = found["masks"]
    return answer


def inside_any(points: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Which points `(p, 2)`, `(x, y)`, lie in any of some boxes."""
    if not len(boxes):
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    near = (points[:, None] >= boxes[None, :, :2]) & (points[:, None] <= boxes[None, :, 2:])
    return near.all(-1).any(1)


def left_out(points: torch.Tensor, truth: Tensors) -> torch.Tensor:
    """Which points `(p, 2)`, `(x, y)`, lie in an ignored box or on a pixel of which nothing is known; beyond the image all is known."""
    found = inside_any(points, truth["ignored"]) if "ignored" in truth else points.new_zeros(len(points), dtype=torch.bool)
    known = truth.get("known")
    if known is None:
        return found
    col, row = points.floor().long().unbind(1)
    inside = (row >= 0) & (col >= 0) & (row < known.shape[0]) & (col < known.shape[1])
    return found | (inside & ~known[row.clamp(0, known.shape[0] - 1), col.clamp(0, known.shape[1] - 1)])


def centres(boxes: torch.Tensor) -> torch.Tensor:
    """The middles `(n, 2)` of boxes."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def stacked_sides(levels: Sequence[torch.Tensor]) -> list[int]:
    """Cells of each level."""
    return [level.shape[-2] * level.shape[-1] for level in levels]
