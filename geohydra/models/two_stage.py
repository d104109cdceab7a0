"""The heads of Faster R-CNN and Mask R-CNN, those of torchvision, on any pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign

from geohydra.models.detector_network import Tensors, centres, left_out
from geohydra.models.retinanet import LEAST, anchor_maker

_ASIDE = -1
"""The label of what is left out, in both stages."""
_PROPOSALS = {"training": 1000, "testing": 500}
_KEPT = {"training": 500, "testing": 300}
"""Proposals of a level before, and of an image after those that overlap are taken out; more where more objects may be found. Windows are
small: images of 800 px have 1000."""
_LOOKED_AT = 128
"""Proposals of an image that the second stage learns from, a quarter of them objects at most."""
_HIT, _MISS = 0.5, 0.3
"""Anchors that overlap with an object by more than the first are objects, by less than the second background; a tenth less than is usual,
for objects of a few pixels lie between the anchors."""


class _Proposals(RegionProposalNetwork):  # type: ignore[misc]
    """Anchors whose middle lies in an ignored box, or where nothing was measured, are left out."""

    def assign_targets_to_anchors(self, anchors: Any, targets: Any) -> Any:
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for place, truth in enumerate(targets):
            labels[place][left_out(centres(anchors[place]), truth) & (labels[place] == 0)] = _ASIDE
        return labels, boxes


class _Regions(RoIHeads):  # type: ignore[misc]
    """The same for proposals."""

    truths: Sequence[Tensors] = ()

    def assign_targets_to_proposals(self, proposals: Any, gt_boxes: Any, gt_labels: Any) -> Any:
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        for place, truth in enumerate(self.truths):
            labels[place][left_out(centres(proposals[place]), truth) & (labels[place] == 0)] = _ASIDE
        return matched, labels


class TwoStageHead(nn.Module):
    """See geohydra.models.detector_network.Head. Class 0 is background inside."""

    def __init__(
        self, channels: int, classes: int, sizes: Sequence[Sequence[float]], ratios: Sequence[float], *, most: int, masks: bool = False
    ) -> None:
        super().__init__()
        names = [str(place) for place in range(len(sizes))]
        maker = anchor_maker(sizes, ratios)
        head = RPNHead(channels, maker.num_anchors_per_location()[0])
        self.proposing = _Proposals(
            maker, head, _HIT, _MISS, 256, 0.5, _PROPOSALS, {stage: max(kept, most) for stage, kept in _KEPT.items()}, 0.7
        )
        pool = MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2)
        wide = 4 * channels
        mask = (MultiScaleRoIAlign(names, 14, 2), MaskRCNNHeads(channels, (channels,) * 3, 1), None) if masks else (None, None, None)
        if masks:
            mask = (mask[0], mask[1], MaskRCNNPredictor(channels, channels, classes + 1))
        predictor = FastRCNNPredictor(wide, classes + 1)
        self.looking = _Regions(
            *(pool, TwoMLPHead(channels * 49, wide), predictor),
            *(0.5, 0.5, _LOOKED_AT, 0.25, None, LEAST, 0.5, most),
            mask_roi_pool=mask[0],
            mask_head=mask[1],
            mask_predictor=mask[2],
        )

    def forward(self, levels: list[torch.Tensor], size: tuple[int, int], truths: list[Tensors] | None) -> tuple[Tensors, list[Tensors]]:
        """See Head. Where the truth is given outside of training, losses are drawn from samples that are the same each time."""
        with torch.autocast(levels[0].device.type, enabled=False):
            named = {str(place): level.float() for place, level in enumerate(levels)}
            images = ImageList(levels[0].new_empty((len(levels[0]), 1, *size)), [size] * len(levels[0]))
            if self.training:
                return self._learnt(images, named, truths or []), []
            losses = {} if truths is None else self._measured(images, named, truths)
            proposals, _ = self.proposing(images, named)
            found, _ = self.looking(named, proposals, images.image_sizes)
            return losses, [_from_zero(one) for one in found]

    def _measured(self, images: ImageList, levels: Tensors, truths: list[Tensors]) -> Tensors:
        devices = [levels["0"].device] if levels["0"].is_cuda else []
        with torch.random.fork_rng(devices=devices), _as_in_training(self):
            torch.manual_seed(0)
            return self._learnt(images, levels, truths)

    def _learnt(self, images: ImageList, levels: Tensors, truths: list[Tensors]) -> Tensors:
        shifted = [{**truth, "labels": truth["labels"] + 1} for truth in truths]
        self.looking.truths = truths
        proposals, first = self.proposing(images, levels, shifted)
        _, second = self.looking(levels, proposals, images.image_sizes, shifted)
        return {**first, **second}


@contextmanager
def _as_in_training(head: nn.Module) -> Any:
    """Neither stage normalises, so that nothing else changes."""
    head.train()
    try:
        yield
    finally:
        head.eval()


def _from_zero(found: Tensors) -> Tensors:
    answer = {**found, "labels": found["labels"] - 1}
    if "masks" in found:
        answer["masks"] = found["masks"][:, 0]
    return answer
