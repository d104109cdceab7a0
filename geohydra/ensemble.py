"""Several trained models that answer together: by the mean of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.bundle import TrainedModel, load_model
from geohydra.errors import DataError
from geohydra.types import Image, Series

if TYPE_CHECKING:
    import torch

_ALIKE = ("bands", "classes", "chip")
"""What must be the same for all."""


def load_models(folders: Sequence[Path], *, device: str = "auto", threads: int | None = None) -> TrainedModel | Ensemble:
    """The model of one folder, or those of several as one. Raises DataError where they do not go together."""
    models = [load_model(folder, device=device, threads=threads) for folder in folders]
    for folder, model in zip(folders, models, strict=True):
        for key in _ALIKE:
            ours, first = model.details[key], models[0].details[key]
            if ours != first:
                problem = f"its {key} are {_told(ours)}, and those of {folders[0].name} are {_told(first)}"
                raise DataError(str(folder), problem, "models that answer together must be trained for the same question")
    return models[0] if len(models) == 1 else Ensemble(models)


def _told(values: Any) -> str:
    return ", ".join(map(str, values))


class Ensemble:
    """Models of the same bands and classes: implements `geohydra.task.Trained`.

    Where their pixels are normalised differently, each gets its own: behind one another in the bands of a batch. Thresholds are the
    mean of the models'.
    """

    def __init__(self, models: Sequence[TrainedModel]) -> None:
        first = models[0]
        self.bands, self.classes, self.device, self.activation = first.bands, first.classes, first.device, first.activation
        self.thresholds = _mean_thresholds([model.thresholds for model in models])
        self.stride = math.lcm(*(model.stride for model in models))
        self.details: Mapping[str, Any] = {**first.details, "thresholds": self.thresholds, "stride": self.stride}
        self.members = sum(model.members for model in models)
        self._models = tuple(models)
        self._shared = all(model.details["statistics"] == first.details["statistics"] for model in models)

    def normalise(self, image: Image | Series) -> NDArray[np.float32]:
        """Float32 `(band, row, col)`, 0 where not valid; the bands once for each model that needs its own."""
        models = self._models[:1] if self._shared else self._models
        return np.concatenate([model.normalise(image) for model in models])

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The joined outputs for a batch."""
        import torch

        outputs: NDArray[np.float32] = self.infer(torch.from_numpy(batch)).float().cpu().numpy()
        return outputs

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        """The same with tensors."""
        import torch

        from geohydra.models.votes import joined

        with torch.inference_mode():
            return joined(self.each(batch), self.activation)

    def each(self, batch: torch.Tensor) -> Iterator[torch.Tensor]:
        """The outputs of each network of each model."""
        count = batch.shape[1] // len(self._models)
        for place, model in enumerate(self._models):
            yield from model.each(batch if self._shared else batch[:, place * count : (place + 1) * count])


def _mean_thresholds(given: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for thresholds in given for name in thresholds)
    found = {name: [thresholds[name] for thresholds in given if name in thresholds] for name in names}
    return {name: float(np.mean(values)) for name, values in found.items()}
