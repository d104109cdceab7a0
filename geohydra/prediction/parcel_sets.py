"""One answer for each parcel of a scene, from all its pixels: summed up window by window, decided at the end, and laid on the map.

Memory holds one row of windows, and for each parcel the sums of its features on every date. A parcel that lies in several windows has
the answer that it would have in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import ConfigError, DataError
from geohydra.prediction.parcels import Fresh, Parcels, class_columns
from geohydra.types import IGNORE, PIXEL, Scene, Series, Shape, Window

if TYPE_CHECKING:
    import torch

    from geohydra.prediction.series import Onlooker
    from geohydra.prediction.settings import Prediction
    from geohydra.task import Trained
    from geohydra.work import Work

_ROWS = 256
_AT_ONCE = 4096
"""Parcels that are decided together."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for: the classes and their colours, and where windows are read."""

    classes: tuple[str, ...]
    colors: Mapping[str, str]


def predict_parcels(
    scene: Scene, trained: Trained, settings: Prediction, watch: Onlooker, question: Question, *, out: Path, work: Work
) -> dict[str, Any]:
    """A table of parcels, their curves, and a map of their classes; the folder `out` appears whole or not at all."""
    from geohydra.prediction.dense import Tiling, check_scene, import_rasterio, scene_pictures, whole_folder
    from geohydra.prediction.outputs import ClassMap

    if watch.parcels is None:
        raise without_parcels(scene)
    check_scene(scene, trained, Tiling(PIXEL, Shape(settings.window, settings.window), 0.0))
    import_rasterio()
    chances, counts = answers(scene, trained, watch, size=settings.window, work=work)
    kind = ClassMap(question.classes, question.colors, None)
    with whole_folder(out) as folder:
        numbers = _write_map(watch.parcels, chances, counts, folder, kind, settings)
        (folder / "quicklook.png").write_bytes(kind.picture(folder, scene_pictures(scene)))
    row = {"scene": scene.id, "classes": f"{out.name}/classes.tif", "quicklook": f"{out.name}/quicklook.png"} | numbers
    if settings.probabilities != "none":
        row["probabilities"] = f"{out.name}/probabilities.tif"
    return row | watch.write_parcels(out, class_columns(chances, counts, question.classes, background=None))


def without_parcels(scene: Scene) -> DataError:
    """That there is nothing to answer for."""
    hint = "give polygons with predict.parcels=FILE, or labels that are polygons"
    return DataError(scene.id, "there are no parcels to answer for", hint)


def answers(scene: Scene, trained: Trained, watch: Onlooker, *, size: int, work: Work) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities `(parcel, class)`, and how many pixels each parcel has that were measured on any date."""
    found, counts = outputs_of(scene, trained, whole_network(trained), watch, size=size, work=work)
    return np.asarray(found.softmax(1).double().cpu().numpy()), counts


def outputs_of(
    scene: Scene, trained: Trained, network: Any, watch: Onlooker, *, size: int, work: Work
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """What a network of sets of pixels says to each parcel `(parcel, output)`, and how many pixels of each were measured on any date."""
    import torch

    from geohydra.prediction.scan import series_windows
    from geohydra.raster.series import read_times

    parcels = watch.parcels
    if parcels is None:
        raise ValueError("there are no parcels")
    sums, counts = _Sums(network, len(parcels), len(read_times(scene))), np.zeros(len(parcels), np.int64)
    fresh, days = Fresh(), None
    for window, image in series_windows(scene, trained.bands, size=size):
        work.progress(window.row, scene.grid.shape.rows, scene.id)
        watch(window, image)
        part = fresh(window)
        if part is not None:
            days = image.days
            places, owners = parcels.pixels(part)
            cut = part.shift(-window.row, -window.col).slices
            counts += np.bincount(owners[image.measured[cut].ravel()[places]], minlength=len(parcels))
            sums.add(trained, Series(image.pixels[(..., *cut)], image.valid[(..., *cut)], image.times), places, owners)
    with torch.inference_mode():
        return sums.decided(days), counts


class _Sums:
    """Sums of features of parcels, in the order of their numbers."""

    def __init__(self, network: Any, count: int, times: int) -> None:
        import torch

        self._network, self._count = network, count
        self._device = next(network.parameters()).device
        self._number = torch.zeros((count, times))
        self._total = torch.zeros((count, times, network.features))
        self._squares = torch.zeros((count, times, network.features))

    def add(self, trained: Trained, series: Series, places: NDArray[np.int64], owners: NDArray[np.int64]) -> None:
        """The pixels of a window: their places in it, and to which parcel each belongs."""
        import torch

        if not places.size:
            return
        here, local = np.unique(owners, return_inverse=True)
        owner = np.full(series.measured.size, -1, np.int64)
        owner[places] = local
        planes = torch.from_numpy(trained.normalise(series))[None].to(self._device)
        with torch.inference_mode():
            images, valid, _ = self._network.unpacked(planes)
            owner_of = torch.from_numpy(owner.reshape(series.measured.shape)).to(self._device)
            found = self._network.summed(images[0], valid[0], owner_of, count=len(here))
        for mine, more in zip((self._number, self._total, self._squares), found, strict=True):
            mine[torch.from_numpy(here)] += more.float().cpu()

    def decided(self, days: NDArray[np.int32] | None) -> torch.Tensor:
        """Outputs `(parcel, class)`."""
        import torch

        when = torch.from_numpy(np.asarray(days)).to(self._device)
        parts = zip(*(torch.split(values, _AT_ONCE) for values in (self._number, self._total, self._squares)), strict=True)
        decide = partial(self._network.decided, days=when)
        return torch.cat([decide(tuple(value.to(self._device) for value in part)).float().cpu() for part in parts])


def whole_network(trained: Trained) -> Any:
    """The one network of a bundle. Raises ConfigError where several answer together."""
    network = getattr(trained, "network", None)
    if network is None or getattr(trained, "members", 1) > 1:
        hint = "predict with one bundle at a time, trained without train.keep_best"
        raise ConfigError("bundle.uri", "several networks cannot answer together for parcels", hint)
    return network


def _write_map(
    parcels: Parcels, chances: NDArray[np.float64], counts: NDArray[np.int64], folder: Path, kind: Any, settings: Prediction
) -> dict[str, Any]:
    """The class and the probabilities of its parcel in every pixel; outside of parcels nothing is known."""
    from geohydra.prediction.decision import encode
    from geohydra.prediction.merging import Form, Strip
    from geohydra.prediction.outputs import map_writer

    grid = parcels.ground.grid
    labels = np.where(counts > 0, chances.argmax(1), IGNORE).astype(np.uint8)
    levels = encode(chances.T.astype(np.float32), settings.probabilities) if settings.probabilities != "none" else None
    nothing = IGNORE if settings.probabilities == "uint8" else np.nan
    with map_writer(folder, kind, grid=grid, form=Form(settings.probabilities)) as writer:
        for row in range(0, grid.shape.rows, _ROWS):
            window = Window(row, 0, Shape(min(_ROWS, grid.shape.rows - row), grid.shape.cols))
            places, owners = parcels.pixels(window)
            strip = Strip(row, laid(window, places, labels[owners], IGNORE), None)
            if levels is not None:
                planes = [laid(window, places, np.where(counts[owners] > 0, level[owners], nothing), nothing) for level in levels]
                strip = Strip(row, strip.labels, np.stack(planes).astype(levels.dtype))
            writer.write(strip)
        return dict(writer.tally.row(PIXEL))


def laid(window: Window, places: NDArray[np.int64], values: NDArray[Any], nothing: float) -> NDArray[Any]:
    """Values of pixels of a window `(row, col)` by their places in it; `nothing` elsewhere."""
    found = np.full(window.shape.size, nothing, values.dtype)
    found[places] = values
    return found.reshape(window.shape.rows, window.shape.cols)
