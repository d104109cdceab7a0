"""What `train` in the config chooses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Schedule = Literal["cosine", "one_cycle", "plateau", "constant"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


class Training:
    """How long, how fast, and when to stop.

    `epochs`: rounds over the training chips. `accumulate`: batches a step of the optimizer. `lr`, `weight_decay`: taken by the
    optimizer. `schedule`: how the learning rate goes on from `warmup`, a share of all steps; `plateau` divides it by ten
    where `patience / 2` epochs did not improve. `patience`: epochs without improvement after which training stops; null
    never. `gradient_clip`: largest norm of the gradients; null leaves them. `precision`: `auto` is mixed on a GPU and float32 on
    a CPU. `monitor`: the validation score that chooses the best epoch, `loss` for the least loss; null: the task's own.
    """

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=1)] = 30,
        batch_size: Annotated[int, Field(ge=1)] = 8,
        lr: Annotated[float, Field(gt=0, le=10)] = 1e-3,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4,
        schedule: Schedule = "cosine",
        warmup: Annotated[float, Field(ge=0, le=0.5)] = 0.05,
        patience: Annotated[int, Field(ge=1)] | None = None,
        gradient_clip: Annotated[float, Field(gt=0)] | None = 1.0,
        accumulate: Annotated[int, Field(ge=1)] = 1,
        precision: Precision = "auto",
        monitor: Annotated[str, Field(min_length=1)] | None = None,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule: Schedule = schedule
        self.warmup = warmup
        self.patience = patience
        self.gradient_clip = gradient_clip
        self.accumulate = accumulate
        self.precision: Precision = precision
        self.monitor = monitor
