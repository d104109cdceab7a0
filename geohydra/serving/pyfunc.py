"""How `mlflow.pyfunc.load_model` and `mlflow models serve` use a bundle: its MLmodel file names this module as loader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.types import IGNORE

if TYPE_CHECKING:
    from geohydra.bundle import TrainedModel

_AT_ONCE = 4


class Segmenter:
    """Class ids for images of any size."""

    def __init__(self, trained: TrainedModel) -> None:
        from geohydra.prediction.decision import Decision

        self.trained = trained
        self._decision = Decision(trained.classes, trained.thresholds)

    def predict(self, model_input: NDArray[np.float32], params: dict[str, Any] | None = None) -> NDArray[np.uint8]:  # noqa: ARG002
        """Class ids `(n, row, col)` of pixels `(n, band, row, col)` in the units of the source.

        A pixel that is not a finite number in some band was not measured: it gets 255.
        """
        out = np.empty((model_input.shape[0], *model_input.shape[2:]), np.uint8)
        for start in range(0, len(model_input), _AT_ONCE):
            out[start : start + _AT_ONCE] = self._labels(model_input[start : start + _AT_ONCE])
        return out

    def _labels(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        import torch

        from geohydra.types import Image

        valid = np.asarray(np.isfinite(pixels).all(axis=1))
        ready = np.stack([self.trained.normalise(Image(image, known)) for image, known in zip(pixels, valid, strict=True)])
        rows, cols = valid.shape[1:]
        outputs = self.trained.infer(torch.from_numpy(_padded(ready, self.trained.stride)))
        labels = self._decision.labels(outputs[..., :rows, :cols])
        return np.where(valid, labels, np.uint8(IGNORE))


def _padded(pixels: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Rows and columns up to a multiple of the network's stride; what is added counts as not measured."""
    rows, cols = (-side % stride for side in pixels.shape[2:])
    return np.pad(pixels, ((0, 0), (0, 0), (0, rows), (0, cols))) if rows or cols else pixels


def _load_pyfunc(path: str) -> Segmenter:
    """MLflow calls this with the folder that holds MLmodel."""
    from geohydra.bundle import load_model

    return Segmenter(load_model(Path(path), device="auto"))
