"""Training: epochs over chips with Lightning, kept on disk after each, so that a killed run goes on to the same end."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import nn

from geohydra.device import choose_device
from geohydra.errors import StepError
from geohydra.models.folding import beside_each_other
from geohydra.task import Model, Task
from geohydra.training.checkpoint import PlainCheckpoints, load_tree, member
from geohydra.training.keeper import Keeper
from geohydra.training.learner import Learner
from geohydra.training.optimizers import OptimizerSettings
from geohydra.training.prefetch import Loader, Prefetched
from geohydra.training.progress import Standing, Values
from geohydra.training.settings import Training
from geohydra.work import Work

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_NO_MEMORY = ("out of memory", "not enough memory", "allocate memory")
_MIXED = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained."""

    task: Task
    loss: Loss
    optimizer: OptimizerSettings
    settings: Training
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """How training went: the scores of every epoch, and which epoch's weights the network now has (from 0).

    `others` are weights of the next best epochs, where several are kept.
    """

    history: list[Values]
    best: int
    device: str
    seconds: float
    others: list[dict[str, torch.Tensor]] = field(default_factory=list)


def new_network(task: Task, model: Model, *, channels: int, seed: int) -> nn.Module:
    """A network whose first weights depend on the seed alone."""
    torch.manual_seed(seed)
    return task.network(model, channels=channels)


def fit(network: nn.Module, recipe: Recipe, train: Loader, val: Loader, *, work: Work) -> Trained:
    """Train a network in place; in the end it has the weights of its best epoch.

    After each epoch its scores are told and all that training needs lies in `work.state`: a second call goes on from there, and
    ends with the same weights as one that was never stopped.
    """
    torch.set_num_threads(work.resources.cpu)
    device = choose_device(work.resources.device)
    standing = Standing(_monitor(recipe), recipe.settings, history=_resume(work))
    for epoch, values in enumerate(standing.history):
        work.report.curve(values, step=epoch)
    started = time.monotonic()
    if not standing.over:
        with _plain_memory_errors(recipe.settings), _quiet():
            ready = (Prefetched(loader, pin=device.startswith("cuda")) for loader in (train, val))
            _train(network, recipe, *ready, standing=standing, work=work, device=device)
    network.load_state_dict(load_tree(work.state / "best.safetensors"))
    others = [load_tree(member(work.state, epoch)) for epoch in standing.kept(recipe.settings.keep_best)[1:]]
    return Trained(standing.history, standing.best, device, time.monotonic() - started, others)


def _train(network: nn.Module, recipe: Recipe, train: Prefetched, val: Prefetched, *, standing: Standing, work: Work, device: str) -> None:
    beside_each_other(network)
    steps = -(-len(train) // recipe.settings.accumulate) * recipe.settings.epochs
    learner = Learner(network, recipe.task, recipe.loss, recipe.optimizer, recipe.settings, steps=steps, seed=recipe.seed)
    trainer = _trainer(recipe.settings, Keeper(standing, work), work.state, device)
    last = work.state / "last.safetensors"
    trainer.fit(learner, train_dataloaders=train, val_dataloaders=val, ckpt_path=str(last) if last.exists() else None)
    if not standing.over:
        raise StepError("train", "training was interrupted", "a second run goes on from the last finished epoch")


def _trainer(settings: Training, keeper: Keeper, folder: Path, device: str) -> Trainer:
    accelerator, _, number = device.partition(":")
    return Trainer(
        max_epochs=settings.epochs,
        accelerator="gpu" if accelerator == "cuda" else "cpu",
        devices=[int(number)] if number else 1,
        precision=_mixed(settings, accelerator),
        gradient_clip_val=settings.gradient_clip,
        accumulate_grad_batches=settings.accumulate,
        callbacks=[keeper],
        plugins=[PlainCheckpoints()],
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


def _mixed(settings: Training, accelerator: str) -> Any:
    if settings.precision != "auto":
        return _MIXED[settings.precision]
    if accelerator == "cpu":
        return _MIXED["float32"]
    return _MIXED["bfloat16" if torch.cuda.is_bf16_supported() else "float16"]


def _monitor(recipe: Recipe) -> str:
    return recipe.settings.monitor or recipe.task.monitor


def _resume(work: Work) -> list[Values]:
    """The scores of the epochs that an earlier run finished."""
    last = work.state / "last.safetensors"
    return list(load_tree(last)["callbacks"]["Keeper"]["history"]) if last.exists() else []


@contextmanager
def _plain_memory_errors(settings: Training) -> Iterator[None]:
    try:
        yield
    except RuntimeError as cause:
        if not any(words in str(cause) for words in _NO_MEMORY):
            raise
        hint = f"train.batch_size={max(1, settings.batch_size // 2)} with train.accumulate=2 learns alike with half as much"
        raise StepError("train.batch_size", f"{settings.batch_size} chips at once do not fit into memory", hint) from cause


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice on loaders and loggers is not for whoever reads a step's log."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning")
            yield
    finally:
        log.setLevel(level)
