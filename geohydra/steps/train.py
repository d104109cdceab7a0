"""The train step: a network learns from chips; the weights of its best epoch become a model folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from geohydra.build import build
from geohydra.task import Fitting, parted, viewed
from geohydra.work import Config, Work

if TYPE_CHECKING:
    from geohydra.chips.dataset import Chips
    from geohydra.chips.normalise import Normalise
    from geohydra.types import Scene

VERSION = 1


def run(config: Config, work: Work) -> None:
    """Needs ingest, analyze and chip; writes `model/`."""
    from geohydra import catalogue
    from geohydra.bundle import Card, write_model
    from geohydra.chips.normalise import Normalise
    from geohydra.models.starting import started
    from geohydra.models.votes import together
    from geohydra.training.loop import Recipe, fit, new_network
    from geohydra.training.losses import class_shares
    from geohydra.training.review import report_training, review

    task, model, loss, optimizer, settings = (build(config[key], where=key) for key in ("task", "model", "loss", "optimizer", "train"))
    scenes = parted(task, viewed(task, catalogue.read(work.input("ingest"))))
    bands = scenes[0].bands
    normalise = Normalise.from_statistics(json.loads((work.input("analyze") / "statistics.json").read_text()), bands)
    chips = _chips(config, work, task, scenes, normalise)
    train, val = (_loader(chips[split], settings.batch_size, work, learn=split == "train") for split in ("train", "val"))
    work.say(f"{len(chips['train'])} chips to learn from, {len(chips['val'])} to choose by; bands {', '.join(bands)}")

    node = dict(config["model"])
    if isinstance(model, Fitting):
        node |= model.fitted(chips["train"].targets())
        model = build(node, where="model")
    shares = class_shares([(chip.valid, chip.shares) for chip in chips["train"].chips], task.classes)
    network = new_network(task, model, channels=len(bands), seed=config["seed"])
    for told in started(network):
        work.say(told)
    trained = fit(network, Recipe(task, loss.build(shares), optimizer, settings, config["seed"]), train, val, work=work)

    answering = together(network, trained.others, getattr(task, "activation", "none"))
    found = review(answering, task, val, device=trained.device)
    metrics = report_training(work.report, trained, found, bands=bands)
    shape = chips["train"].chips[0].window.shape
    card = Card(
        task=config["task"],
        model=node,
        bands=bands,
        classes=task.classes,
        statistics={band: {"mean": normalise.mean[place], "std": normalise.std[place]} for place, band in enumerate(bands)},
        chip=(shape.rows, shape.cols),
        stride=model.stride,
        thresholds=found.thresholds,
        metrics=metrics,
    )
    write_model(work.out / "model", network, card, others=trained.others)


def _chips(config: Config, work: Work, task: Any, scenes: Sequence[Scene], normalise: Normalise) -> dict[str, Chips]:
    """Training chips, which are augmented, and those that choose the best epoch."""
    from geohydra.chips.dataset import open_chips

    stored, seed = build(config["chip"], where="chip").stored, config["seed"]
    augments = {"train": build(config["augment"], where="augment"), "val": None}
    bands, folder = scenes[0].bands, work.input("chip")
    return {
        split: open_chips(folder, scenes, task, split=split, stored=stored, bands=bands, normalise=normalise, augment=augment, seed=seed)
        for split, augment in augments.items()
    }


def _loader(chips: Chips, batch_size: int, work: Work, *, learn: bool) -> Any:
    """Batches, shuffled to learn from; then a last batch that is not full is left out, as it would weigh too much."""
    from geohydra.chips.dataset import loader

    return loader(
        chips,
        batch_size=batch_size,
        shuffle=learn,
        drop_last=learn and len(chips) > batch_size,
        workers=work.resources.workers,
    )
