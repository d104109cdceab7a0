"""Losses of class maps by configuration.

Each builds a function of outputs `(n, class, row, col)` and true ids `(n, row, col)`, int64; IGNORE does not count. Where classes do not
exclude each other, the truth is 0 or 1 for each class, of the outputs' own shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from geohydra.errors import ConfigError, GeohydraError

if TYPE_CHECKING:
    import torch

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

Weight = Annotated[float, Field(ge=0)]
Weights = Literal["auto", "root"] | list[Weight] | None
Positive = Annotated[float, Field(gt=0)]
BOUND = 10.0
"""No class weighs more than this many times what it would in a balanced world, or less than that part of it."""


@runtime_checkable
class LossSettings(Protocol):
    """A loss by configuration."""

    def build(self, shares: Mapping[str, float], /) -> Loss:
        """A new one; `shares` are the parts of the training pixels that are of each class, in the order of their ids."""


class CrossEntropy:
    """Cross entropy. `weights`: one for each class with the background, or `auto`: by the inverse of how often it occurs; `root`: by the
    root of that, where `auto` finds what is rare too often. `smoothing` moves a part of the truth to all classes. Of several labels:
    binary cross entropy; the weights are those of pixels that are of the class."""

    def __init__(self, *, weights: Weights = None, smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> None:
        self.weights, self.smoothing = weights, smoothing

    def build(self, shares: Mapping[str, float]) -> Loss:
        from geohydra.training.criteria import CrossEntropyLoss, Either
        from geohydra.training.multilabel import BinaryLoss

        return Either(
            CrossEntropyLoss(class_weights(self.weights, shares), smoothing=self.smoothing),
            BinaryLoss(positive_weights(self.weights, shares), smoothing=self.smoothing),
        )

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """What does not fit the task."""
        yield from _wrong_number(self.weights, parts, "loss.weights")


class Focal:
    """Cross entropy in which what is already right counts less: by `(1 - p) ** gamma`. `weights` as in CrossEntropy."""

    def __init__(self, *, gamma: Annotated[float, Field(ge=0, le=10)] = 2.0, weights: Weights = None) -> None:
        self.gamma, self.weights = gamma, weights

    def build(self, shares: Mapping[str, float]) -> Loss:
        from geohydra.training.criteria import Either, FocalLoss
        from geohydra.training.multilabel import BinaryLoss

        return Either(
            FocalLoss(class_weights(self.weights, shares), gamma=self.gamma),
            BinaryLoss(positive_weights(self.weights, shares), positive=self.gamma, negative=self.gamma),
        )

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """What does not fit the task."""
        yield from _wrong_number(self.weights, parts, "loss.weights")


class AsymmetricFocal:
    """For several labels: binary cross entropy in which what is already right counts less, by `(1 - p) ** positive` where the class is
    and `p ** negative` where it is not; probabilities there below `margin` do not count (Ridnik et al., ICCV 2021). `weights` as in
    CrossEntropy."""

    def __init__(
        self,
        *,
        positive: Annotated[float, Field(ge=0, le=10)] = 0.0,
        negative: Annotated[float, Field(ge=0, le=10)] = 4.0,
        margin: Annotated[float, Field(ge=0, lt=1)] = 0.05,
        weights: Weights = None,
    ) -> None:
        self.positive, self.negative, self.margin, self.weights = positive, negative, margin, weights

    def build(self, shares: Mapping[str, float]) -> Loss:
        from geohydra.training.criteria import Either, FocalLoss
        from geohydra.training.multilabel import BinaryLoss

        weights = positive_weights(self.weights, shares)
        return Either(
            FocalLoss(class_weights(self.weights, shares), gamma=self.positive),
            BinaryLoss(weights, positive=self.positive, negative=self.negative, margin=self.margin),
        )

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """What does not fit the task."""
        yield from _wrong_number(self.weights, parts, "loss.weights")
        if "task" in parts and not getattr(parts["task"], "multi_label", False):
            yield ConfigError("loss", "is for several labels a pixel or chip", "set task.multi_label=true, or take loss=focal")


class Dice:
    """One less the Dice coefficient (F1) of each class in the batch, on average."""

    def __init__(self, *, smooth: Annotated[float, Field(ge=0)] = 0.0) -> None:
        self.smooth = smooth

    def build(self, _shares: Mapping[str, float]) -> Loss:
        from segmentation_models_pytorch.losses import DiceLoss

        return _regions(partial(DiceLoss, smooth=self.smooth))


class Jaccard:
    """One less the IoU of each class in the batch, on average."""

    def __init__(self, *, smooth: Annotated[float, Field(ge=0)] = 0.0) -> None:
        self.smooth = smooth

    def build(self, _shares: Mapping[str, float]) -> Loss:
        from segmentation_models_pytorch.losses import JaccardLoss

        return _regions(partial(JaccardLoss, smooth=self.smooth))


class Tversky:
    """Dice with its own weights: `alpha` for false, `beta` for missed pixels; `gamma` above 1 looks at bad classes less."""

    def __init__(self, *, alpha: Positive = 0.3, beta: Positive = 0.7, gamma: Positive = 1.0, smooth: Weight = 0.0) -> None:
        self.alpha, self.beta, self.gamma, self.smooth = alpha, beta, gamma, smooth

    def build(self, _shares: Mapping[str, float]) -> Loss:
        from segmentation_models_pytorch.losses import TverskyLoss

        return _regions(partial(TverskyLoss, smooth=self.smooth, alpha=self.alpha, beta=self.beta, gamma=self.gamma))


class Lovasz:
    """The Lovasz extension of the IoU: follows the metric closely, best added to cross entropy."""

    def build(self, _shares: Mapping[str, float]) -> Loss:
        from segmentation_models_pytorch.losses import LovaszLoss

        return _regions(LovaszLoss)


def _regions(make: Callable[..., Any]) -> Loss:
    """A loss over the areas of classes, for both kinds of truth."""
    from geohydra.training.criteria import Either, Guarded
    from geohydra.types import IGNORE

    single, several = (Guarded(make(mode=mode, ignore_index=IGNORE)) for mode in ("multiclass", "multilabel"))
    return Either(single, several)


class Sum:
    """Several losses, each times its weight; without `weights` each counts once."""

    def __init__(self, *, parts: Annotated[list[LossSettings], Field(min_length=1)], weights: list[Positive] | None = None) -> None:
        self.parts = parts
        self.weights = weights or [1.0] * len(parts)
        if len(self.weights) != len(parts):
            raise ConfigError("weights", f"{len(self.weights)} weights for {len(parts)} losses", "give one for each")

    def build(self, shares: Mapping[str, float]) -> Loss:
        from geohydra.training.criteria import SumLoss

        return SumLoss([part.build(shares) for part in self.parts], self.weights)

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """What does not fit the task, in any of the losses."""
        for place, part in enumerate(self.parts):
            if isinstance(part, CrossEntropy | Focal | AsymmetricFocal):
                yield from _wrong_number(part.weights, parts, f"loss.parts[{place}].weights")


def class_shares(chips: Iterable[tuple[float, Mapping[str, float]]], classes: Sequence[str]) -> dict[str, float]:
    """The part of all pixels that is of each class, from the weight of each chip and its shares; a class without any
    share of its own, the background, has the rest."""
    known = [(weight, shares) for weight, shares in chips if weight > 0]
    total = sum(weight for weight, _ in known) or 1.0
    found = {name: sum(weight * shares.get(name, 0.0) for weight, shares in known) / total for name in classes}
    rest = max(0.0, 1.0 - sum(found.values()))
    named = {name for _, shares in known for name in shares}
    return {name: share if name in named else rest for name, share in found.items()}


def class_weights(weights: Weights, shares: Mapping[str, float]) -> list[float] | None:
    """A weight for each class; None where all count alike. Raises ConfigError where their number is wrong."""
    if weights is None:
        return None
    if isinstance(weights, str):
        found = automatic(list(shares.values()))
        return found if weights == "auto" else [weight**0.5 for weight in found]
    if len(weights) != len(shares):
        raise _number_error("loss.weights", weights, list(shares))
    return list(weights)


def positive_weights(weights: Weights, shares: Mapping[str, float]) -> list[float] | None:
    """Of several labels, what a pixel of each class weighs: with `auto` as much as all that are not of it, within bounds."""
    if not isinstance(weights, str):
        return class_weights(weights, shares)
    part = np.asarray(list(shares.values()), float)
    ratio = np.divide(1 - part, part, out=np.ones(len(part)), where=part > 0)
    bounded = np.clip(ratio, 1 / BOUND, BOUND)
    return [float(weight) for weight in (bounded if weights == "auto" else np.sqrt(bounded))]


def _wrong_number(weights: Weights, parts: Mapping[str, Any], where: str) -> Iterator[ConfigError]:
    classes = getattr(parts.get("task"), "classes", None)
    if isinstance(weights, list) and classes is not None and len(weights) != len(classes):
        yield _number_error(where, weights, classes)


def _number_error(where: str, weights: Sequence[float], classes: Sequence[str]) -> ConfigError:
    return ConfigError(where, f"{len(weights)} weights for {len(classes)} classes", f"give one each for {', '.join(classes)}")


def automatic(shares: Sequence[float]) -> list[float]:
    """Inverse frequencies, bounded; a class that does not occur counts once."""
    part = np.asarray(shares, float)
    known = part > 0
    balanced = part[known].sum() / max(1, known.sum())
    weights = np.ones(len(part))
    weights[known] = np.clip(balanced / part[known], 1 / BOUND, BOUND)
    return [float(weight) for weight in weights]
