"""What happens after each epoch: scores are told, the best weights and the whole state are kept."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Checkpoint

from geohydra.errors import ConfigError
from geohydra.training.checkpoint import member, save_tree
from geohydra.training.learner import Learner
from geohydra.training.progress import LAST, Standing
from geohydra.work import Work


class Keeper(Checkpoint):
    """Lightning calls a checkpoint callback last in an epoch, so that what it keeps is complete."""

    state_key = "Keeper"

    def __init__(self, standing: Standing, work: Work) -> None:
        self.standing, self.work = standing, work
        self._started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """A part of Lightning's checkpoint."""
        return {"history": self.standing.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From Lightning's checkpoint."""
        self.standing.history[:] = state_dict["history"]

    def on_train_batch_start(self, trainer: lightning.Trainer, _learner: lightning.LightningModule, _batch: Any, batch_idx: int) -> None:
        """Tell how far training is."""
        if batch_idx == 0:
            self._started = time.monotonic()
        total = int(trainer.num_training_batches)
        epoch, epochs = len(self.standing.history), self.standing.settings.epochs
        self.work.progress(epoch * total + batch_idx, epochs * total, f"epoch {epoch + 1} of {epochs}")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Best weights first, whole state after: what is killed between the two is done again alike."""
        learner: Any = pl_module
        values = self._values(learner)
        self.standing.history.append(values)
        if self.standing.waited == 0:
            save_tree(learner.scored.state_dict(), self.work.state / "best.safetensors")
        self._keep(learner)
        trainer.save_checkpoint(self.work.state / "last.safetensors")
        self._forget()
        self.work.report.curve(values, step=len(self.standing.history) - 1)
        self.work.say(self._line(values))
        trainer.should_stop = self.standing.over

    @property
    def _kept(self) -> list[int]:
        """The epochs whose weights answer together; none where the best one answers alone."""
        count = self.standing.settings.keep_best
        return self.standing.kept(count) if count > 1 else []

    def _keep(self, learner: Learner) -> None:
        epoch = len(self.standing.history) - 1
        if epoch in self._kept:
            save_tree(learner.scored.state_dict(), member(self.work.state, epoch))

    def _forget(self) -> None:
        """Weights of epochs that better ones have driven out."""
        names = {member(self.work.state, epoch) for epoch in self._kept}
        for path in set(self.work.state.glob("epoch-*.safetensors")) - names:
            path.unlink()

    def _values(self, learner: Learner) -> dict[str, float]:
        values = learner.epoch_values() | {"seconds": time.monotonic() - self._started}
        if self.standing.monitor != LAST and f"val/{self.standing.monitor}" not in values:
            known = ", ".join(name.removeprefix("val/") for name in values if name.startswith("val/"))
            raise ConfigError("train.monitor", f"there is no score {self.standing.monitor!r}", f"there are {known}")
        return values

    def _line(self, values: dict[str, float]) -> str:
        shown = ["train/loss", "val/loss", f"val/{self.standing.monitor}"]
        scores = ", ".join(f"{name} {values[name]:.4g}" for name in dict.fromkeys(shown) if name in values)
        best = " (best)" if self.standing.waited == 0 and self.standing.monitor != LAST else ""
        return f"epoch {len(self.standing.history)} of {self.standing.settings.epochs}: {scores}{best}, {values['seconds']:.1f} s"
