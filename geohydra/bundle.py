"""The folder of a trained model: weights and all that prediction needs, without any pickle.

weights.safetensors
weights-2.safetensors ...   of further members, where several networks answer together
model.json   format, task and model nodes, bands, classes, chip, stride, statistics, thresholds, metrics, versions,
             the SHA-256 of the weights, those of the members by their files
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from geohydra.build import build
from geohydra.errors import DataError
from geohydra.storage import file_digest
from geohydra.types import Image, Series

if TYPE_CHECKING:
    import torch

    from geohydra.chips.normalise import Normalise
    from geohydra.models.votes import Activation

FORMAT = 1
"""Raised when an older geohydra could not read the folder any more."""

WEIGHTS = "weights.safetensors"
CARD = "model.json"


class BundleSettings:
    """What becomes of a trained model: under which name and alias it is registered, or where one to use lies.

    `registered_name`: null does not register it. `uri`: a model folder or bundle, asked for by `pipeline=predict` alone; several in a
    list answer together. `digest`: what that model holds, filled in by the command line before planning.
    """

    def __init__(
        self,
        *,
        registered_name: Annotated[str, Field(min_length=1)] | None = None,
        alias: Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$")] | None = None,
        uri: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)] | None = None,
        digest: str | None = None,
    ) -> None:
        self.registered_name = registered_name
        self.alias = alias
        self.uri = uri
        self.digest = digest


@dataclass(frozen=True, slots=True)
class Card:
    """What must be known of a network to use it: how it was configured, and what it was trained on.

    `statistics` are `{band: {"mean": .., "std": ..}}`; `chip` is rows and columns of what it was trained on;
    `thresholds` are probabilities by class, where others than the largest decide.
    """

    task: Mapping[str, Any]
    model: Mapping[str, Any]
    bands: Sequence[str]
    classes: Sequence[str]
    statistics: Mapping[str, Mapping[str, float]]
    chip: tuple[int, int]
    stride: int = 1
    thresholds: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


class TrainedModel:
    """A network ready for prediction, in its fastest form, with its bands and how their pixels are normalised.

    Several networks answer together: by the mean of their probabilities.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        details: Mapping[str, Any],
        *,
        normalise: Normalise,
        device: str,
        others: Sequence[torch.nn.Module] = (),
        activation: Activation = "none",
    ) -> None:
        self.details = details
        self.bands: tuple[str, ...] = tuple(details["bands"])
        self.classes: tuple[str, ...] = tuple(details["classes"])
        self.thresholds: Mapping[str, float] = details["thresholds"]
        self.stride = int(details["stride"])
        self.device = device
        self.network = network
        self.activation: Activation = activation
        self.members = 1 + len(others)
        self._others = tuple(others)
        self._normalise = normalise

    def normalise(self, image: Image | Series) -> NDArray[np.float32]:
        """Float32 `(band, row, col)`, 0 where not valid, of a series its planes; the image's bands are `bands`, in their order."""
        return self._normalise(image)

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        """The network's outputs, on its device, in whatever memory order they come."""
        import torch

        with torch.inference_mode():
            ready = batch.to(self.device, memory_format=torch.channels_last, non_blocking=True)
            if not self._others:
                outputs: torch.Tensor = self.network(ready)
                return outputs
            from geohydra.models.votes import joined

            return joined((member(ready) for member in (self.network, *self._others)), self.activation)

    def each(self, batch: torch.Tensor) -> Iterator[torch.Tensor]:
        """The outputs of each network, one after the other."""
        import torch

        ready = batch.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        for member in (self.network, *self._others):
            with torch.inference_mode():
                outputs: torch.Tensor = member(ready)
            yield outputs

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's outputs for a batch `(n, band, row, col)`, without a copy on a CPU.

        The class axis is the fastest in memory: reduce over it as it is, do not make it contiguous first. Of a network that finds objects
        this is its dense part, `raw`.
        """
        import torch

        ready, raw = torch.from_numpy(batch), getattr(self.network, "raw", None)
        with torch.inference_mode():
            found: torch.Tensor = self.infer(ready) if raw is None else raw(ready.to(self.device, memory_format=torch.channels_last))
        outputs: NDArray[np.float32] = found.float().cpu().numpy()
        return outputs


def write_model(folder: Path, network: torch.nn.Module, card: Card, *, others: Sequence[Mapping[str, torch.Tensor]] = ()) -> None:
    """Write a model folder; `others` are weights of further members, which answer together with the network."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(network.state_dict(), folder / WEIGHTS)
    members = [f"weights-{place}.safetensors" for place in range(2, 2 + len(others))]
    for name, weights in zip(members, others, strict=True):
        _save(weights, folder / name)
    details = {
        "format": FORMAT,
        "task": card.task,
        "model": _without_start(card.model),
        "bands": list(card.bands),
        "classes": list(card.classes),
        "chip": list(card.chip),
        "stride": card.stride,
        "statistics": {band: _mean_and_std(card.statistics, band) for band in card.bands},
        "thresholds": dict(card.thresholds),
        "metrics": dict(card.metrics),
        "versions": _versions(),
        "sha256": file_digest(folder / WEIGHTS),
    }
    if members:
        details["members"] = {name: file_digest(folder / name) for name in members}
    (folder / CARD).write_text(json.dumps(details, indent=1))


def _save(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}, path)


def read_details(folder: Path) -> dict[str, Any]:
    """The card of a model folder. Raises DataError: no model there, one of a later geohydra, or changed weights."""
    if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
        raise DataError(str(folder), "this is no model folder", f"one holds {CARD} and {WEIGHTS}; a bundle step's output has it in bundle/")
    try:
        details: dict[str, Any] = json.loads((folder / CARD).read_text())
    except ValueError as cause:
        raise DataError(str(folder / CARD), f"it cannot be read ({cause})", "the file was cut or changed") from cause
    if details.get("format") != FORMAT:
        raise DataError(str(folder), f"format {details.get('format')!r} is not known here", f"this geohydra reads format {FORMAT}")
    for name, known in {WEIGHTS: details["sha256"], **details.get("members", {})}.items():
        if not (folder / name).is_file() or file_digest(folder / name) != known:
            raise DataError(str(folder / name), "the weights are not those that the card names", "the file was cut or changed")
    return details


def load_model(folder: Path, *, device: str = "auto", threads: int | None = None) -> TrainedModel:
    """The model of a folder, ready for prediction: convolutions and batch normalisation folded, channels last."""
    import torch

    from geohydra.chips.normalise import Normalise
    from geohydra.device import choose_device

    details = read_details(folder)
    if threads:
        torch.set_num_threads(threads)
    place = choose_device(device)
    task = build(details["task"], where="task")
    model = build(details["model"], where="model")
    first, *others = (_ready(folder / name, task, model, details, place) for name in (WEIGHTS, *details.get("members", {})))
    normalise = Normalise.from_statistics(details["statistics"], details["bands"])
    activation: Activation = getattr(task, "activation", "none")
    return TrainedModel(first, details, normalise=normalise, device=place, others=others, activation=activation)


def _ready(weights: Path, task: Any, model: Any, details: Mapping[str, Any], device: str) -> torch.nn.Module:
    """One network in its fastest form."""
    from safetensors.torch import load_file

    from geohydra.models.folding import beside_each_other, fold

    network = task.network(model, channels=len(details["bands"]))
    network.load_state_dict(load_file(weights))
    example = _example(len(details["bands"]), details["chip"], details["stride"])
    network = fold(network, example).to(device).requires_grad_(False)
    return beside_each_other(network)


def _example(channels: int, chip: Sequence[int], stride: int) -> torch.Tensor:
    """Noise to compare networks by: a chip, or a part of it large enough for every stride."""
    import torch

    most = max(128, 2 * stride)
    rows, cols = (max(stride, min(side, most) // stride * stride) for side in chip)
    return torch.randn(1, channels, rows, cols, generator=torch.Generator().manual_seed(0))


def _without_start(model: Mapping[str, Any]) -> dict[str, Any]:
    """The node of a model without the weights that its training began with: they would be loaded for nothing."""
    return {key: None if key == "weights" else value for key, value in model.items()}


def _mean_and_std(statistics: Mapping[str, Mapping[str, float]], band: str) -> dict[str, float]:
    return {key: float(statistics[band][key]) for key in ("mean", "std")}


def _versions() -> dict[str, str]:
    known = {"python": platform.python_version()}
    for package in ("geohydra", "torch", "segmentation-models-pytorch", "timm", "numpy"):
        try:
            known[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return known
