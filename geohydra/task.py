"""The Task protocol: all that a task type must say for itself. The engine knows no task by name.

A task is built from `conf/task/x.yaml`; its constructor's signature is the schema of that file. Modules of tasks
import torch inside functions, so that `check` and `plan` stay fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geohydra.types import PIXEL, Grid, Image, Scene, Series, Shape, Window

if TYPE_CHECKING:
    import torch

    from geohydra.report import Report
    from geohydra.work import Work


@dataclass(frozen=True, slots=True)
class Rows:
    """A part of a target with a row for each object: how many there are differs from chip to chip.

    kind "boxes": float `(n, 4)`, `(top, left, bottom, right)` in pixels of the chip, from edge to edge. "points": float `(n, k, 2)`,
    rows and columns in the same way. These move along where a chip is turned or warped. "plain": anything else `(n, ...)`.
    In a batch all chips have as many rows as the longest: the rest is NaN, or -1 where numbers are whole.
    """

    values: NDArray[Any]
    kind: Literal["plain", "boxes", "points"] = "plain"


Target = Mapping[str, NDArray[Any] | Rows]
"""What is to be learnt from one chip, by name; the same names, dtypes and shapes for every chip of a task, less the length of rows."""

Batch = Mapping[str, "torch.Tensor"]
"""`image` float32 (n, band, row, col), normalised, 0 where not valid; `valid` bool (n, row, col); the target's names.

Of series `image` is (n, time, band, row, col), `valid` (n, time, row, col), and `days` int32 (n, time), since 1970-01-01; dates may come
in any order, and chips that have fewer than others end with dates that are nowhere valid.
"""


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects that were found in a scene, a row each.

    `boxes` float64 (n, 4): `(top, left, bottom, right)` in pixels of the scene, from edge to edge. `scores` float32 (n): 0 to 1.
    `classes` int64 (n): places in the classes of the task, from 0. `corners` float64 (n, k, 2), where objects have an outline of k corners
    (4 for oriented boxes): rows and columns in the same pixels, in turn.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    corners: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> Detections:
        """Nothing was found."""
        return cls(np.empty((0, 4)), np.empty(0, np.float32), np.empty(0, np.int64))

    def take(self, places: NDArray[Any]) -> Detections:
        """Some of them, by places or by a mask."""
        corners = None if self.corners is None else self.corners[places]
        return Detections(self.boxes[places], self.scores[places], self.classes[places], corners)

    def moved(self, rows: float, cols: float) -> Detections:
        """The same, so many rows down and columns right."""
        corners = None if self.corners is None else self.corners + np.array([rows, cols])
        return Detections(self.boxes + np.array([rows, cols, rows, cols]), self.scores, self.classes, corners)


@dataclass(frozen=True, slots=True)
class Objects:
    """Labelled objects of a window, a row each: buildings, trees, parcels.

    `numbers` int64 (n): which feature of the scene it is, the same in every window. `classes` (n): names. `boxes` float64 (n, 4): the
    smallest upright box around what lies in the window, `(top, left, bottom, right)` in pixels of the window, from edge to
    edge: a single pixel in the corner is (0, 0, 1, 1). `shares` float64 (n): how much of the object's area lies in the window,
    above 0 and at most 1. Of labels that are a raster, `numbers` count within the window, and shares are 1.
    """

    numbers: NDArray[np.int64]
    classes: tuple[str, ...]
    boxes: NDArray[np.float64]
    shares: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def none(cls) -> Objects:
        """No object."""
        return cls(np.empty(0, np.int64), (), np.empty((0, 4)), np.empty(0))

    def moved(self, rows: int, cols: int) -> Objects:
        """The same, with boxes so many rows down and columns right."""
        return Objects(self.numbers, self.classes, self.boxes + np.array([rows, cols, rows, cols]), self.shares)


@dataclass(frozen=True, slots=True)
class Instances:
    """Which object each pixel of a window shows: `ids` uint16 (uint32 from 65,535 objects on) `(row, col)`, 0 where there is none, else
    1 + the row of `objects`. An object without a pixel of its own (tiny, or covered by others) is in `objects` only."""

    ids: NDArray[Any]
    objects: Objects

    def pixels(self) -> list[NDArray[np.int64]]:
        """For each object its pixels `(pixel, 2)`: rows and columns in the window, as series and parcels are read."""
        flat = self.ids.ravel()
        order = np.argsort(flat, kind="stable")
        cuts = np.searchsorted(flat[order], np.arange(1, len(self.objects) + 2))
        where = np.column_stack(np.unravel_index(order, self.ids.shape)).astype(np.int64)
        return [where[start:stop] for start, stop in pairwise(cuts.tolist())]


class Ground(Protocol):
    """What is known of the ground below one scene, in the pixels of its grid."""

    @property
    def grid(self) -> Grid:
        """The grid of the scene."""

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        """Class ids `(row, col)`: a pixel belongs to what covers its centre; `background` where nothing does.

        Later names in `ids` lie above earlier ones where two cover the same pixel, unless the labels have a priority of their own.
        Classes without an id are background. Outside the grid is IGNORE, and so is what the labels leave open. Shares of
        coarse cells come out of a mask with `geohydra.raster.cells`.
        """

    def known(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels `(row, col)` count: False where `mask` is IGNORE whatever the ids are."""

    def objects(self, window: Window) -> Objects:
        """The objects that lie in a window and in the grid. Raises DataError where labels tell no objects apart."""

    def instances(self, window: Window) -> Instances:
        """The same with their pixels: an object has those whose centre it covers. Where several do, the uppermost has them: by the
        priority of the labels, else the one that is later in the file. Ignored ground does not hide objects."""


@runtime_checkable
class Measured(Protocol):
    """Ground that tells a number for each pixel."""

    def values(self, window: Window) -> NDArray[np.float32]:
        """Numbers `(row, col)` of a window; NaN where there is none."""


@runtime_checkable
class Attributed(Protocol):
    """Ground whose objects tell numbers, such as what a parcel yields."""

    def attribute(self, name: str) -> NDArray[np.float64]:
        """A number for each feature of the scene, by its number in `Objects`; NaN where it has none. Raises DataError where it is no column
        of numbers."""


class Model(Protocol):
    """A network by configuration, with as many input and output channels as the task needs."""

    stride: int
    """Rows and columns of an input must be multiples of this."""

    def build(self, *, channels: int, classes: int) -> torch.nn.Module:
        """A new network: `(n, channels, row, col)` to `(n, classes, row, col)` for dense models."""


@runtime_checkable
class Fitting(Protocol):
    """A model with settings that follow from what it is to learn, such as the sizes of a detector's anchors."""

    def fitted(self, targets: Iterable[Mapping[str, NDArray[Any]]]) -> Mapping[str, Any]:
        """Keys of its config and their values, from the targets of the training chips `(1, ...)`; they are kept with the trained model."""


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
    cell: Shape = PIXEL
    """Pixels that one pixel of the prediction stands for; windows are counted in cells."""
    parts: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    """Windows by part, where a task learns from parts of a scene: only these are compared."""

    def file(self, key: str) -> Path | None:
        """The file that a key of the row names; None where there is none."""
        name = self.prediction.get(key)
        return self.folder / str(name) if name else None


class Trained(Protocol):
    """What prediction needs of a trained model: read from a train step's output or from a bundle."""

    bands: tuple[str, ...]
    details: Mapping[str, Any]
    device: str

    def normalise(self, image: Image | Series) -> NDArray[np.float32]:
        """Float32 `(band, row, col)`, 0 where not valid; of a series its planes, see `geohydra.raster.planes`."""

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


Counts = Mapping[str, NDArray[Any]]
"""What was counted in one scene: small arrays of numbers or text by name, kept so that others can go on with them."""


class Comparison(Protocol):
    """Predictions held against the ground, scene by scene: what each scene comes to is counted by itself, wherever that is done, and the
    scores of a split follow from the counts of its scenes alone. So it can be done in shards, and goes on where it was stopped."""

    def count(self, pair: Pair, *, settings: Any) -> Counts:
        """Of one scene; empty where it has no labels. Sums that depend on their order are left to `conclude`."""

    def conclude(self, pairs: Sequence[Pair], counts: Sequence[Counts], *, split: str, settings: Any, work: Work) -> dict[str, Any]:
        """What `Task.evaluate` returns and writes. `counts` are those of the pairs, in their order; each is read whenever it is asked for,
        so that keeping them all would take memory for every scene."""


@runtime_checkable
class Comparing(Protocol):
    """A task whose evaluation counts scene by scene. Without it, `pipeline.shards.evaluate` is refused."""

    def comparison(self) -> Comparison:
        """How it is compared with the ground."""


@runtime_checkable
class Viewing(Protocol):
    """A task that sees scenes in a way of its own, such as two acquisitions as one image, or all of them as a series."""

    def view(self, scene: Scene) -> Scene:
        """The scene as the steps from analyze on read it (`Scene.series`). Raises DataError where it does not suit the task."""


def viewed(task: Any, scenes: Sequence[Scene]) -> list[Scene]:
    """Scenes as a task sees them; most tasks see them as they are."""
    return [task.view(scene) for scene in scenes] if isinstance(task, Viewing) else list(scenes)


@runtime_checkable
class Answering(Protocol):
    """A task whose network is given more than an image: objects to learn from, or days of a series."""

    def answer(self, network: Any, batch: Batch) -> Any:
        """The network's outputs for a batch, as `loss`, `scores` and `review` of this task take them."""


def answered(task: Any, network: Any, batch: Batch) -> Any:
    """A network's outputs for a batch; of most networks they are one tensor."""
    return task.answer(network, batch) if isinstance(task, Answering) else network(batch["image"])


@runtime_checkable
class Summing(Protocol):
    """A task that tells something of all predicted scenes together, such as a table of areas."""

    def sum_up(self, rows: Sequence[Mapping[str, Any]], work: Work) -> None:
        """Write it into `work.out` and `work.report`; `rows` are what `predict` returned, their files stand in `work.out`."""


@runtime_checkable
class Parted(Protocol):
    """A task that learns from parts of a scene, such as single frames of a sequence, and predicts the whole."""

    def parts(self, scene: Scene) -> Sequence[Scene]:
        """What chips are cut from, each with an id and labels of its own."""


def parted(task: Any, scenes: Sequence[Scene]) -> list[Scene]:
    """Scenes as a task learns from them, after `viewed`; of most tasks a scene has no parts."""
    return [part for scene in scenes for part in task.parts(scene)] if isinstance(task, Parted) else list(scenes)
