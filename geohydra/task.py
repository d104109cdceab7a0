"""The Task protocol: all that a task type must say for itself. The engine knows no task by name.

A task is built from `conf/task/x.yaml`; its constructor's signature is the schema of that file. Modules of tasks
import torch inside functions, so that `check` and `plan` stay fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geohydra.types import Grid, Image, Scene, Window

if TYPE_CHECKING:
    import torch

    from geohydra.report import Report
    from geohydra.work import Work

Target = Mapping[str, NDArray[Any]]
"""What is to be learnt from one chip, by name; the same names, dtypes and shapes for every chip of a task."""

Batch = Mapping[str, "torch.Tensor"]
"""`image` float32 (n, band, row, col), normalised, 0 where not valid; `valid` bool (n, row, col); the target's names."""


class Ground(Protocol):
    """What is known of the ground below one scene, in the pixels of its grid."""

    @property
    def grid(self) -> Grid:
        """The grid of the scene."""

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        """Class ids `(row, col)`: a pixel belongs to what covers its centre; `background` where nothing does.

        Later names in `ids` lie above earlier ones where two cover the same pixel. Classes without an id are
        background. Outside the grid is IGNORE.
        """


class Model(Protocol):
    """A network by configuration, with as many input and output channels as the task needs."""

    stride: int
    """Rows and columns of an input must be multiples of this."""

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: `(n, channels, row, col)` to `(n, classes, row, col)` for dense models."""


class Scores(Protocol):
    """Metrics that grow batch by batch, in bounded memory."""

    def update(self, outputs: torch.Tensor, batch: Batch) -> None: ...

    def compute(self) -> dict[str, float]:
        """Short names without a split: `iou`, `f1`, `accuracy`, `iou/water`."""


class Review(Scores, Protocol):
    """All that is shown of a trained network: gathered once, after training, over the chips that chose it."""

    @property
    def thresholds(self) -> dict[str, float]:
        """Probabilities by class above which a class is best called; empty where the largest output decides."""

    def show(self, report: Report, *, split: str, bands: Sequence[str]) -> None:
        """Write tables and figures whose names are led by the split."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A scene, what was predicted for it, and the windows of it that are compared.

    `prediction` is the row that the task's `predict` returned; its files are relative to `folder`.
    """

    scene: Scene
    folder: Path
    prediction: Mapping[str, Any]
    windows: tuple[Window, ...]

    def file(self, key: str) -> Path | None:
        """The file that a key of the row names; None where there is none."""
        name = self.prediction.get(key)
        return self.folder / str(name) if name else None


class Trained(Protocol):
    """What prediction needs of a trained model: read from a train step's output or from a bundle."""

    bands: tuple[str, ...]
    details: Mapping[str, Any]
    device: str

    def normalise(self, image: Image) -> NDArray[np.float32]:
        """Float32 `(band, row, col)`, 0 where not valid."""

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's outputs for a batch `(n, band, row, col)`."""

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        """The same with tensors; the outputs stay on the network's device, in whatever memory order they come."""


@runtime_checkable
class Task(Protocol):
    """What is asked of imagery."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the output classes, in the order of their ids."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that labels must bring: `classes` less a background."""

    @property
    def monitor(self) -> str:
        """The score that chooses the best checkpoint (higher is better), as `scores` names it."""

    def target(self, ground: Ground, window: Window) -> Target:
        """What is to be learnt from a window; called by chip, and by train when chips are read on the fly."""

    def network(self, model: Model, *, channels: int) -> torch.nn.Module:
        """The model with this task's head."""

    def loss(self, loss: Any, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """A scalar; pixels that are not valid or ignored do not count."""

    def scores(self) -> Scores:
        """Fresh metrics for one split and one epoch."""

    def review(self) -> Review:
        """Fresh metrics for the trained network, with all that is shown of it."""

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """Write this task's outputs for one scene into the folder `out`; return a row for the index of predictions.

        The row holds numbers and text; file names in it are relative to `out.parent`.
        """

    def evaluate(self, pairs: Sequence[Pair], *, split: str, settings: Any, work: Work) -> dict[str, Any]:
        """Compare the predictions of one split with the ground; write tables and figures into `work.report`.

        Returns `{"metrics": {name without a split: number}, "thresholds": {class: probability}}`.
        """
