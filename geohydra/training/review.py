"""A last look at a trained network: what it answers to the chips that chose it, and what the report shows."""

from __future__ import annotations

import torch
from torch import nn

from geohydra.pictures import curves
from geohydra.report import Report
from geohydra.task import Review, Task, answered
from geohydra.training.loop import Trained
from geohydra.training.prefetch import Loader, channels_last


def review(network: nn.Module, task: Task, chips: Loader, *, device: str) -> Review:
    """All answers of a network, counted."""
    found = task.review()
    network.to(device).eval()
    with torch.inference_mode():
        for batch in chips:
            moved = {name: values.to(device) for name, values in channels_last(batch).items()}
            found.update(answered(task, network, moved), moved)
    return found


def report_training(report: Report, trained: Trained, found: Review, *, bands: tuple[str, ...]) -> dict[str, float]:
    """Write metrics, curves, tables and pictures; return the validation metrics by their headline names."""
    metrics = {f"val/{name}": value for name, value in found.compute().items() if value == value}
    metrics["val/loss"] = trained.history[trained.best]["val/loss"]
    report.metrics(metrics | {"train/epochs": len(trained.history), "train/best_epoch": trained.best + 1})
    lines = [{"step": step, "metrics": values} for step, values in enumerate(trained.history)]
    report.figure("training", curves(lines))
    found.show(report, split="val", bands=bands)
    return metrics
