"""How `mlflow.pyfunc.load_model` and `mlflow models serve` use a bundle: its MLmodel file names this module as loader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.build import build

if TYPE_CHECKING:
    from geohydra.bundle import TrainedModel

_AT_ONCE = 4


class Segmenter:
    """Class ids for images of any size; of tasks of several labels or of numbers, what their maps hold."""

    def __init__(self, trained: TrainedModel) -> None:
        from geohydra.prediction.decision import Deciding, Decision

        self.trained = trained
        answers = getattr(build(trained.details["task"], where="task"), "answers", None)
        self._decision: Deciding = answers().decision(trained.thresholds) if answers else Decision(trained.classes, trained.thresholds)

    def predict(self, model_input: NDArray[np.float32], params: dict[str, Any] | None = None) -> NDArray[Any]:  # noqa: ARG002
        """Class ids `(n, row, col)`, or 0 and 1 `(n, class, row, col)`, of pixels `(n, band, row, col)` in the units of the source.

        A pixel that is not a finite number in some band was not measured: it gets 255, or NaN where answers are numbers.
        """
        starts = range(0, len(model_input), _AT_ONCE)
        parts = [self._labels(model_input[start : start + _AT_ONCE]) for start in starts]
        return np.concatenate(parts) if parts else np.empty((0, *model_input.shape[2:]), self._decision.dtype)

    def _labels(self, pixels: NDArray[np.float32]) -> NDArray[Any]:
        import torch

        from geohydra.types import Image

        valid = np.asarray(np.isfinite(pixels).all(axis=1))
        ready = np.stack([self.trained.normalise(Image(image, known)) for image, known in zip(pixels, valid, strict=True)])
        rows, cols = valid.shape[1:]
        outputs = self.trained.infer(torch.from_numpy(_padded(ready, self.trained.stride)))
        labels = self._decision.labels(outputs[..., :rows, :cols])
        known = valid if labels.ndim == 3 else valid[:, None]
        return np.where(known, labels, np.asarray(self._decision.unknown, labels.dtype))


def _padded(pixels: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Rows and columns up to a multiple of the network's stride; what is added counts as not measured."""
    rows, cols = (-side % stride for side in pixels.shape[2:])
    return np.pad(pixels, ((0, 0), (0, 0), (0, rows), (0, cols))) if rows or cols else pixels


class ObjectFinder:
    """Objects in images of any size."""

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained
        self._least = np.array([trained.thresholds.get(name, 0.5) for name in trained.classes])

    def predict(self, model_input: NDArray[np.float32], params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002
        """A table of the objects in pixels `(n, band, row, col)` in the units of the source: `image` (from 0), `class`, `score`, and
        `top`, `left`, `bottom`, `right` in pixels. A pixel that is not a finite number in some band was not measured."""
        import pandas as pd

        tables = [self._table(number, pixels) for number, pixels in enumerate(model_input)]
        return pd.concat(tables, ignore_index=True)

    def _table(self, number: int, pixels: NDArray[np.float32]) -> Any:
        import pandas as pd
        import torch

        from geohydra.prediction.objects import detections_of
        from geohydra.types import Image

        ready = self.trained.normalise(Image(pixels, np.asarray(np.isfinite(pixels).all(axis=0))))
        outputs = self.trained.infer(torch.from_numpy(_padded(ready[None], self.trained.stride)))
        (found,) = detections_of(outputs)
        inside = (found.boxes[:, :2] < pixels.shape[1:]).all(axis=1)
        sure = found.take(inside & (found.scores >= self._least[found.classes]))
        top, left, bottom, right = sure.boxes.clip(0, [*pixels.shape[1:]] * 2).T
        names = np.array(self.trained.classes, dtype=object)[sure.classes]
        sides = {"top": top, "left": left, "bottom": bottom, "right": right}
        return pd.DataFrame({"image": np.full(len(sure), number), "class": names, "score": sure.scores, **sides})


def _load_pyfunc(path: str) -> Segmenter | ObjectFinder:
    """MLflow calls this with the folder that holds MLmodel."""
    from geohydra.bundle import load_model

    trained = load_model(Path(path), device="auto")
    return ObjectFinder(trained) if hasattr(trained.network, "raw") else Segmenter(trained)
