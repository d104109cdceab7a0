"""How `mlflow.pyfunc.load_model` and `mlflow models serve` use a bundle: its MLmodel file names this module as loader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.build import build
from geohydra.types import Image, Series

if TYPE_CHECKING:
    from geohydra.bundle import TrainedModel

_AT_ONCE = 4


Given = Mapping[str, NDArray[Any]] | NDArray[Any]


class Segmenter:
    """Class ids for images of any size; of tasks of several labels or of numbers, what their maps hold."""

    def __init__(self, trained: TrainedModel) -> None:
        from geohydra.prediction.served import served

        self.trained = trained
        task, model = (build(trained.details[key], where=key) for key in ("task", "model"))
        self._form = served(task, model, classes=trained.classes, thresholds=trained.thresholds)

    def predict(self, model_input: Given, params: dict[str, Any] | None = None) -> NDArray[Any]:  # noqa: ARG002
        """Class ids `(n, row, col)` of pixels `(n, band, row, col)` in the units of the source; where several labels may be true, 0 and 1
        `(n, class, row, col)`; numbers where these are learnt. A model of whole images or clips answers `(n)` or `(n, class)`, one of
        coarse cells with a row and a column for each cell. A model of many dates is given `pixels` `(n, time, band, row, col)`
        and `days` `(n, time)`, since 1970-01-01.

        A pixel that is not a finite number in some band was not measured. Where nothing was, answers are 255, or NaN where they are
        numbers.
        """
        pixels, days = (model_input["pixels"], model_input["days"]) if isinstance(model_input, Mapping) else (model_input, None)
        starts = range(0, len(pixels), _AT_ONCE)
        parts = [self._labels(pixels[at : at + _AT_ONCE], None if days is None else days[at : at + _AT_ONCE]) for at in starts]
        return (
            np.concatenate(parts) if parts else np.empty((0, *(max(0, side) for side in self._form.shape[1:])), self._form.decision.dtype)
        )

    def _labels(self, pixels: NDArray[np.float32], days: NDArray[Any] | None) -> NDArray[Any]:
        import torch

        valid = np.asarray(np.isfinite(pixels).all(axis=-3))
        ready = np.stack([self.trained.normalise(one) for one in _images(pixels, valid, days)])
        outputs = self.trained.infer(torch.from_numpy(_padded(ready, self.trained.stride) if not self._form.whole else ready))
        measured = valid if days is None else np.asarray(valid.any(axis=1))
        if self._form.whole:
            labels, known = self._form.decision.labels(outputs[:, :, None, None])[..., 0, 0], np.asarray(measured.any(axis=(1, 2)))
        else:
            known = _cells(measured, self._form.cell)
            labels = self._form.decision.labels(outputs[..., : known.shape[1], : known.shape[2]])
        known = known if labels.ndim == known.ndim else known[:, None]
        return np.where(known, labels, np.asarray(self._form.decision.unknown, labels.dtype))


def _images(pixels: NDArray[np.float32], valid: NDArray[np.bool_], days: NDArray[Any] | None) -> Iterator[Image | Series]:
    """Images, or series where days are told; these in the order of time."""
    if days is None:
        yield from (Image(image, known) for image, known in zip(pixels, valid, strict=True))
        return
    start = datetime(1970, 1, 1, tzinfo=UTC)
    for image, known, when in zip(pixels, valid, days, strict=True):
        order = np.argsort(when, kind="stable")
        yield Series(image[order], known[order], tuple(start + timedelta(days=int(day)) for day in when[order]))


def _cells(measured: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Cells of so many pixels on a side in which anything was measured; those at the edges may be cut off."""
    if side == 1:
        return measured
    rows, cols = (-length % side for length in measured.shape[1:])
    whole = np.pad(measured, ((0, 0), (0, rows), (0, cols)))
    shape = len(whole), whole.shape[1] // side, side, whole.shape[2] // side, side
    return np.asarray(whole.reshape(shape).any(axis=(2, 4)))


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
