"""Losses of numbers by configuration: functions of outputs and truth of one shape; NaN in the truth does not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from geohydra.errors import ConfigError

if TYPE_CHECKING:
    import torch

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class ValueLoss:
    """The mean over known pixels of the error: "l1" absolute, "l2" squared, "huber" squared up to `delta` and absolute from there on.
    Errors and `delta` are in the units of the values.
    """

    of_values = True

    def __init__(self, *, kind: Literal["l1", "l2", "huber"] = "huber", delta: Annotated[float, Field(gt=0)] = 1.0) -> None:
        self.kind: Literal["l1", "l2", "huber"] = kind
        self.delta = delta

    def build(self, _shares: Mapping[str, float]) -> Loss:
        from geohydra.training.value_criteria import ValueCriterion

        return ValueCriterion(self.kind, self.delta)

    def check(self, parts: Mapping[str, Any]) -> Iterator[ConfigError]:
        """Only for tasks that learn numbers."""
        if "task" in parts and getattr(parts["task"], "activation", None) != "none":
            yield ConfigError("loss", "is of numbers, this task learns something else", "leave the loss to the task")
