"""What `train` in the config chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from geohydra.errors import ConfigError

Schedule = Literal["cosine", "one_cycle", "plateau", "constant"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


class Training:
    """How long, how fast, and when to stop.

    `epochs`: rounds over the training chips. `accumulate`: batches a step of the optimizer. `lr`, `weight_decay`: taken by the
    optimizer. `schedule`: how the learning rate goes on from `warmup`, a share of all steps; `plateau` divides it by ten
    where `patience / 2` epochs did not improve. `patience`: epochs without improvement after which training stops; null
    never. `gradient_clip`: largest norm of the gradients; null leaves them. `precision`: `auto` is mixed on a GPU and float32 on
    a CPU. `monitor`: the validation score that chooses the best epoch, `loss` for the least loss; null: the task's own. `last` keeps the
    last epoch, whatever its score: where there is little to choose by, the best score is luck.
    `ema`: the weights that are scored and kept are a moving average over steps, of which each step keeps this part (0.999; less in
    the first steps); null: the weights of the last step. `keep_best`: so many of the best epochs are kept, and answer together in
    prediction. `freeze_encoder`: so many epochs, or "always", in which the encoder and its batch statistics stay as they are.
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
        ema: Annotated[float, Field(gt=0, lt=1)] | None = None,
        keep_best: Annotated[int, Field(ge=1, le=20)] = 1,
        freeze_encoder: Annotated[int, Field(ge=0)] | Literal["always"] = 0,
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
        self.ema = ema
        self.keep_best = keep_best
        self.freeze_encoder: int | Literal["always"] = freeze_encoder

    def check(self, parts: Mapping[str, Any]) -> Iterator[ConfigError]:
        """Only answers that are probabilities or values can be those of several networks."""
        task = parts.get("task")
        if self.keep_best > 1 and task is not None and getattr(task, "activation", None) is None:
            yield ConfigError("train.keep_best", "this task has no answers that could be averaged", "leave train.keep_best=1")

    def frozen(self, epoch: int) -> bool:
        """Whether the encoder rests in an epoch, from 0."""
        return self.freeze_encoder == "always" or epoch < self.freeze_encoder
