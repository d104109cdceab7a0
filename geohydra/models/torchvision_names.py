"""Detectors of torchvision under the names of ours: what was learnt from COCO begins a detector of other bands and classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch

Weights = Mapping[str, torch.Tensor]

_BODY = "backbone.body."
_LEVELS = re.compile(r"backbone\.fpn\.(inner|layer)_blocks\.(\d+)\.(.+)")
_HEADS = (
    ("rpn.head.", ("head.proposing.head.",)),
    ("roi_heads.", ("head.looking.",)),
    ("head.classification_head.", ("head.net.head.classification_head.", "head.naming.")),
    ("head.regression_head.", ("head.net.head.regression_head.", "head.placing.")),
)
"""How names begin there, and how they may begin here: of RetinaNet, of FCOS."""


def renamed(weights: Weights, known: Weights) -> Weights:
    """Weights of a detector of torchvision by the names in `known`, those of one of ours; nothing where they are of another kind.

    Levels of the pyramids go together where they take in as many features; where theirs is normalised, the pyramid is left out: its
    weights mean something else without that. Of the head goes along what has its counterpart.
    """
    if not any(name.startswith(_BODY) for name in weights):
        return {}
    levels = _levels(weights, known)
    return {ours: weights[theirs] for theirs in weights for ours in _named(theirs, levels, known) if ours in known}


def _named(name: str, levels: Mapping[int, int], known: Weights) -> Iterator[str]:
    """The name here of a name there."""
    if name.startswith(_BODY):
        yield "encoder." + name.removeprefix(_BODY)
    found = _LEVELS.fullmatch(name)
    if found is not None and int(found[2]) in levels:
        yield f"pyramid.mixing.{found[1]}_blocks.{levels[int(found[2])]}.{found[3]}"
    for there, choices in _HEADS:
        if name.startswith(there):
            yield from (here + name.removeprefix(there) for here in choices if here + name.removeprefix(there) in known)


def _levels(weights: Weights, known: Weights) -> dict[int, int]:
    """Which of our levels is theirs, by the features that they take in."""
    if any(re.fullmatch(r"backbone\.fpn\.\w+_blocks\.\d+\.1\..+", name) for name in weights):
        return {}
    theirs, ours = _widths(weights, "backbone.fpn."), _widths(known, "pyramid.mixing.")
    return {theirs[width]: ours[width] for width in theirs if width in ours}


def _widths(weights: Weights, led: str) -> dict[int, int]:
    """The place of each level by its features."""
    rule = re.compile(re.escape(led) + r"inner_blocks\.(\d+)\.0\.weight")
    found = ((rule.fullmatch(name), value) for name, value in weights.items())
    return {int(value.shape[1]): int(match[1]) for match, value in found if match}
