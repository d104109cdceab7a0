"""One training step and one validation step of any task, as Lightning asks for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import nn
from torch.optim import Optimizer

from geohydra.errors import StepError
from geohydra.identity import digest
from geohydra.task import Batch, Scores, Task, answered
from geohydra.training.average import Average
from geohydra.training.encoder import Encoder
from geohydra.training.optimizers import OptimizerSettings
from geohydra.training.schedules import plateau, rate
from geohydra.training.settings import Training

_LOOK = 25
"""Batches after which the loss is read: on a GPU each look waits for all work before it."""


class Learner(lightning.LightningModule):
    """A network and how it learns. `steps` are those of the optimizer in the whole training."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        optimizer: OptimizerSettings,
        settings: Training,
        *,
        steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.task, self.settings, self.steps, self.seed = task, settings, steps, seed
        self._optimizer = optimizer
        self.average = None if settings.ema is None else Average(network, settings.ema)
        self._encoder = Encoder(network) if settings.freeze_encoder else None
        self._rates: list[float] = []
        self._train = Mean()
        self._val = Mean()
        self._scores: Scores = task.scores()

    @property
    def scored(self) -> nn.Module:
        """The network whose answers count: the average of the trained one, where there is one."""
        return self.network if self.average is None else self.average.network

    def configure_optimizers(self) -> Optimizer:
        """Called once by Lightning."""
        if self._encoder is not None and self.settings.freeze_encoder == "always":
            self._encoder.rest(True)
        made = self._optimizer.build(self.network, fused=self.trainer.precision == "32-true")
        self._rates = [float(group["lr"]) for group in made.param_groups]
        return made

    def on_train_batch_start(self, _batch: Batch, batch_idx: int) -> None:
        """The rate of this step; chance in the network depends on seed and epoch alone."""
        if batch_idx == 0:
            torch.manual_seed(int(digest([self.seed, self.current_epoch]), 16) % 2**63)
            self._train.reset()
            if self._encoder is not None:
                self._encoder.rest(self.settings.frozen(self.current_epoch))
        self._set_rate()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """The loss of a batch."""
        loss = self.task.loss(self.loss, answered(self.task, self.network, batch), batch)
        self._train.add(loss.detach(), len(batch["image"]))
        if self.device.type == "cpu" or batch_idx % _LOOK == 0:
            self._refuse_broken(self._train.value)
        return loss

    def optimizer_step(self, *given: Any, **closure: Any) -> None:
        """A step of the optimizer, and of the average behind it."""
        super().optimizer_step(*given, **closure)
        if self.average is not None:
            self.average.follow(self.network)

    def on_validation_epoch_start(self) -> None:
        """Fresh counts."""
        self._val.reset()
        self._scores = self.task.scores()

    def validation_step(self, batch: Batch) -> None:
        """Count the answers to a batch."""
        outputs = answered(self.task, self.scored, batch)
        self._val.add(self.task.loss(self.loss, outputs, batch), len(batch["image"]))
        self._scores.update(outputs, batch)

    def epoch_values(self) -> dict[str, float]:
        """What the curves of this epoch show."""
        self._refuse_broken(self._train.value)
        scores = {f"val/{name}": value for name, value in self._scores.compute().items()}
        return {"train/loss": self._train.value, "val/loss": self._val.value, **scores, "lr": self._rate() * max(self._rates)}

    def _set_rate(self) -> None:
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        part = self._rate()
        for group, full in zip(optimizer.param_groups, self._rates, strict=True):
            group["lr"] = full * part

    def _rate(self) -> float:
        part = rate(self.settings.schedule, self.global_step / self.steps, warmup=self.settings.warmup)
        if self.settings.schedule != "plateau":
            return part
        return part * plateau(self._standing(), max(1, (self.settings.patience or 10) // 2))

    def _standing(self) -> list[float]:
        """The scores so far, which the callback that keeps them restores after a kill."""
        keeper: Any = self.trainer.checkpoint_callback
        return list(keeper.standing.scores)

    def _refuse_broken(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise StepError(
                "train",
                f"the loss is no finite number any more in epoch {self.current_epoch + 1}",
                "a smaller train.lr, train.gradient_clip=1 or train.precision=float32 may help; so may pixels without extreme values",
            )


class Mean:
    """The mean of numbers that stay on the device until it is asked for."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self._total: torch.Tensor | None = None
        self._count = 0

    def add(self, value: torch.Tensor, count: int) -> None:
        """One value, which stands for so many."""
        weighted = value * count
        self._total = weighted if self._total is None else self._total + weighted
        self._count += count

    @property
    def value(self) -> float:
        """NaN where nothing was added."""
        return float(self._total) / self._count if self._total is not None else math.nan
