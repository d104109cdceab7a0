"""RetinaNet's head and losses, those of torchvision, on any pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import retinanet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from geohydra.models.detector_network import Tensors, centres, left_out, stacked_sides

LEAST = 0.05
"""Scores below this are never answered."""
_HIT, _MISS = 0.4, 0.3
"""Anchors that overlap with an object by more than the first learn it, by less than the second background; a tenth less than is usual, for
objects of a few pixels lie between the anchors."""


class Levels(nn.Identity):
    """Stands where torchvision wants a network before the head; ours has its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels


def anchor_maker(sizes: Sequence[Sequence[float]], ratios: Sequence[float]) -> AnchorGenerator:
    """Anchors of each level, in each ratio."""
    return AnchorGenerator(tuple(tuple(level) for level in sizes), (tuple(ratios),) * len(sizes))


class _Net(retinanet.RetinaNet):  # type: ignore[misc]
    """Anchors whose middle lies in an ignored box, or where nothing was measured, count neither as hit nor as background."""

    def compute_loss(self, targets: Any, head_outputs: Any, anchors: Any) -> Any:
        matches = []
        for truth, boxes in zip(targets, anchors, strict=True):
            found = self._matches(truth["boxes"], boxes)
            found[left_out(centres(boxes), truth) & (found == self.proposal_matcher.BELOW_LOW_THRESHOLD)] = (
                self.proposal_matcher.BETWEEN_THRESHOLDS
            )
            matches.append(found)
        return self.head.compute_loss(targets, head_outputs, anchors, matches)

    def _matches(self, truth: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        from torchvision.ops import box_iou

        if not len(truth):
            return torch.full((len(anchors),), self.proposal_matcher.BELOW_LOW_THRESHOLD, dtype=torch.int64, device=anchors.device)
        found: torch.Tensor = self.proposal_matcher(box_iou(truth, anchors))
        return found


class RetinaNetHead(nn.Module):
    """See geohydra.models.detector_network.Head."""

    def __init__(self, channels: int, classes: int, sizes: Sequence[Sequence[float]], ratios: Sequence[float], *, most: int) -> None:
        super().__init__()
        maker = anchor_maker(sizes, ratios)
        norm = partial(nn.GroupNorm, 32)
        self.per_cell = maker.num_anchors_per_location()[0]
        head = retinanet.RetinaNetHead(channels, self.per_cell, classes, norm_layer=norm)
        head.regression_head._loss_type = "giou"  # as torchvision's second version of it has
        self.net = _Net(
            *(Levels(channels), classes),
            anchor_generator=maker,
            head=head,
            score_thresh=LEAST,
            nms_thresh=0.5,
            detections_per_img=most,
            fg_iou_thresh=_HIT,
            bg_iou_thresh=_MISS,
        )

    def forward(self, levels: list[torch.Tensor], size: tuple[int, int], truths: list[Tensors] | None) -> tuple[Tensors, list[Tensors]]:
        """See Head."""
        outputs = {name: values.float() for name, values in self.net.head(levels).items()}
        sizes = [size] * len(levels[0])
        anchors = self.net.anchor_generator(ImageList(levels[0].new_empty((len(sizes), 1, *size)), sizes), levels)
        losses = {} if truths is None else self.net.compute_loss(truths, outputs, anchors)
        if self.training:
            return losses, []
        cells = [count * self.per_cell for count in stacked_sides(levels)]
        apart = {name: list(values.split(cells, dim=1)) for name, values in outputs.items()}
        return losses, self.net.postprocess_detections(apart, [list(one.split(cells)) for one in anchors], sizes)
