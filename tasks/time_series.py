"""What grows or stands on a place, by how it looks through the year: crops, forest types, yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from geohydra.errors import ConfigError, DataError, GeohydraError
from geohydra.tasks.semantic_segmentation import Color, DenseReview, DenseScores, Name, OfClasses
from geohydra.types import IGNORE, Scene, Shape, Window

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from geohydra.task import Batch, Comparison, Ground, Target, Trained
    from geohydra.work import Work

_UNITS = {
    "pixel": ("sees pixels by themselves only with a model that does so", "take model=ltae or model=tempcnn"),
    "window": ("looks at the surroundings of pixels", "take model=utae or model=shared_encoder"),
    "parcel": ("asks for one answer for each parcel", "take model=pixel_set"),
}


class TimeSeries(OfClasses):
    """One class for each pixel or parcel of scenes with several acquisitions, on whatever dates, clouds being masked.

    `unit`: what is looked at for an answer: the "pixel" alone, the pixels of a "parcel" (a labelled polygon), or the "window" around
    a pixel. `classes`: the labels to learn. `background`: what a pixel without a label is; null: unknown (and always so for parcels).
    `ignore` and `colors` are as in semantic segmentation. `drop_dates`: share of dates that are left out at random while learning, so
    that no single one is relied upon. `sample`: labelled pixels of a batch to learn from, where a network does not look at what
    surrounds them; null: all.
    """

    monitor = "f1"

    def __init__(
        self,
        *,
        classes: Annotated[list[Name], Field(min_length=1)],
        background: Name | None = None,
        ignore: list[Name] | None = None,
        colors: dict[str, Color] | None = None,
        unit: Literal["pixel", "parcel", "window"] = "pixel",
        drop_dates: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        sample: Annotated[int, Field(ge=1)] | None = 4096,
    ) -> None:
        super().__init__(classes=classes, background=None if unit == "parcel" else background, ignore=ignore, colors=colors)
        self.unit, self.drop_dates, self.sample = unit, drop_dates, sample

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The network must see series, and of them what the unit says."""
        if "model" not in parts:
            return
        answers, alone = getattr(parts["model"], "answers", "pixels"), getattr(parts["model"], "alone", False)
        if answers not in ("series", "parcels"):
            yield ConfigError("model", "sees one image, this task shows many dates", _UNITS[self.unit][1])
            return
        kind = "parcel" if answers == "parcels" else "pixel" if alone else "window"
        if kind != self.unit:
            yield ConfigError("model", f"is for task.unit={kind}; task.unit={self.unit} {_UNITS[self.unit][0]}", _UNITS[self.unit][1])

    def view(self, scene: Scene) -> Scene:
        """The scene as a series. Raises DataError where it has not several acquisitions."""
        return as_series(scene)

    def target(self, ground: Ground, window: Window) -> Target:
        """`mask`: class ids, uint8 `(row, col)`, IGNORE where nothing is known. Of parcels `parcel`: 1 + the row of `label` for each
        pixel, int32 `(row, col)`, 0 outside; and `label`: their class ids, of those that lie in the window for the most part."""
        if self.unit != "parcel":
            return {"mask": self._mask(ground, window)}
        return self._parcels(ground, window)

    def truth(self, ground: Ground, window: Window) -> NDArray[np.uint8]:
        """Class ids of pixels, as evaluate asks for them."""
        return self._mask(ground, window)

    def answer(self, network: Any, batch: Batch) -> Any:
        """Outputs `(n, class, row, col)`; of parcels `(n, class, parcel, 1)`; of pixels alone, while learning, those of a sample."""
        valid = self._kept(batch["valid"]) if network.training else batch["valid"]
        given = batch["image"], valid, batch["days"]
        if self.unit == "parcel":
            places = batch["parcel"].long() - 1
            places = self._some(places) if network.training else places
            found = network.parcels(*given, places, count=max(1, batch["label"].shape[1]))
            return found.transpose(1, 2).unsqueeze(3)
        if network.training and self.sample is not None and self.unit == "pixel":
            known = self.known(batch)
            return sampled(network, given, known, known != IGNORE, count=self.sample)
        return network(*given)

    def loss(self, loss: Any, outputs: Any, batch: Batch) -> torch.Tensor:
        """The loss over pixels that were measured and are labelled, or over parcels."""
        outputs, known = (outputs.answers, outputs.truth) if isinstance(outputs, Sampled) else (outputs, self.known(batch))
        value: torch.Tensor = loss(outputs, known.long())
        return value

    def known(self, batch: Batch) -> torch.Tensor:
        """Class ids `(n, row, col)`, IGNORE where a pixel was never measured; of parcels `(n, parcel, 1)`."""
        import torch

        if self.unit != "parcel":
            return torch.where(batch["valid"].any(1), batch["mask"], IGNORE)
        label = batch["label"]
        if not label.shape[1]:
            return torch.full((len(label), 1, 1), IGNORE, dtype=torch.uint8, device=label.device)
        return torch.where(label >= 0, label, IGNORE).to(torch.uint8)[:, :, None]

    def scores(self) -> DenseScores:
        """Metrics of one split and one epoch."""
        return DenseScores(self.classes, self.known)

    def review(self) -> SeriesReview:
        """The same, with all that is shown of the best network."""
        return SeriesReview(self)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """A class map, by choice probabilities and polygons; a table of the parcels, and of what they looked like on each date."""
        from geohydra.prediction.dense import Tiling
        from geohydra.prediction.parcel_sets import Question, predict_parcels
        from geohydra.prediction.series import Onlooker
        from geohydra.types import PIXEL

        watch = Onlooker(scene, trained.bands, parcels=settings.parcels, folder=work.state)
        if self.unit == "parcel":
            return predict_parcels(scene, trained, settings, watch, Question(self.classes, self.colors), out=out, work=work)
        tiling = Tiling(PIXEL, Shape(settings.window, settings.window), 0.0) if self.unit == "pixel" else None
        row = self._predicted(scene, trained, settings, out, work, tiling=tiling, watch=watch)
        return row | watch.write_classes(out, self.classes, background=self.background)

    def comparison(self) -> Comparison:
        """Scores, curves and pictures of the pixels of a split, and of its parcels."""
        from geohydra.evaluation.counting import Together
        from geohydra.evaluation.dense import MapComparison
        from geohydra.evaluation.parcels import ParcelComparison

        return Together({"maps": MapComparison(self), "parcels": ParcelComparison(self)})

    def _kept(self, valid: torch.Tensor) -> torch.Tensor:
        """Without some of the dates, but not without all of them."""
        return without_dates(valid, self.drop_dates)

    def _some(self, places: torch.Tensor) -> torch.Tensor:
        """About as many pixels of parcels as are asked for, at random."""
        import torch

        share = 1.0 if self.sample is None else self.sample / max(1, int((places >= 0).sum()))
        return places if share >= 1 else torch.where(torch.rand(places.shape, device=places.device) < share, places, -1)

    def _parcels(self, ground: Ground, window: Window) -> Target:
        import numpy as np

        from geohydra.task import Rows

        found = ground.instances(window)
        ids = np.array([self.ids.get(name, IGNORE) for name in found.objects.classes], np.int64)
        wanted = np.flatnonzero((found.objects.shares >= 0.5) & (ids != IGNORE) & np.isin(np.arange(1, len(ids) + 1), found.ids))
        places = np.zeros(len(ids) + 1, np.int32)
        places[wanted + 1] = np.arange(1, len(wanted) + 1)
        return {"parcel": places[found.ids], "label": Rows(ids[wanted])}


def as_series(scene: Scene) -> Scene:
    """A scene whose acquisitions are all read. Raises DataError where it has not several."""
    if len(scene.times) < 2:
        problem = f"has {len(scene.times) or 1} acquisition, a time series needs several with their times"
        hint = "take source=series, or tell source=files in the rule for scenes what the time is: (?P<scene>...)_(?P<time>...)"
        raise DataError(scene.id, problem, hint)
    return replace(scene, series=True, composite=None)


def without_dates(valid: torch.Tensor, share: float) -> torch.Tensor:
    """Validity `(n, time, row, col)` without a share of the dates at random, but not without all of them."""
    import torch

    if not share:
        return valid
    kept = torch.rand(valid.shape[:2], device=valid.device) >= share
    kept = valid & kept[:, :, None, None]
    return torch.where(kept.flatten(1).any(1)[:, None, None, None], kept, valid)


def sampled(network: Any, given: tuple[torch.Tensor, ...], truth: torch.Tensor, known: torch.Tensor, *, count: int) -> Sampled:
    """What a network of single pixels answers to so many of the known ones `(n, row, col)`, at random."""
    import torch

    images, valid, days = given
    labelled = known.flatten().nonzero()[:, 0]
    order = torch.randperm(len(labelled), device="cpu").to(labelled.device)
    places = labelled[order[:count]] if len(labelled) else torch.zeros(1, dtype=torch.long, device=known.device)
    rows, cols = known.shape[1:]
    chip, row, col = places // (rows * cols), places // cols % rows, places % cols
    answers = network.pixels(images[chip, :, :, row, col], valid[chip, :, row, col], days[chip])
    return Sampled(answers.T[None, :, :, None], truth.flatten()[places][None, :, None])


@dataclass(frozen=True, slots=True)
class Sampled:
    """Outputs `(1, class, pixel, 1)` of some pixels of a batch, and what is true of them `(1, pixel, 1)`."""

    answers: torch.Tensor
    truth: torch.Tensor


class SeriesReview(DenseReview):
    """What is shown of a network: as of class maps, the images being those of the clearest date."""

    def __init__(self, task: TimeSeries) -> None:
        super().__init__(task, task.known)
        self._parcels = task.unit == "parcel"

    def _keep(self, outputs: torch.Tensor, batch: Batch, known: torch.Tensor) -> None:
        from geohydra.training.metrics import answers

        if len(self._chips) >= self.shown:
            return
        answer = answers(outputs)
        if self._parcels:
            known, answer = (_laid(values, batch["parcel"]) for values in (known, answer))
        for place in range(len(known)):
            found = known[place][known[place] != IGNORE]
            if len(self._chips) < self.shown and found.numel() and bool(found.min() != found.max()):
                date = int(batch["valid"][place].flatten(1).sum(1).argmax())
                kept = (batch["image"][place, date].float(), batch["valid"][place, date], known[place], answer[place])
                self._chips.append([value.cpu().numpy() for value in kept])


def _laid(values: torch.Tensor, parcels: torch.Tensor) -> torch.Tensor:
    """Values of parcels `(n, parcel, 1)` as pixels `(n, row, col)`, IGNORE outside."""
    import torch

    table = torch.cat([torch.full_like(values[:, :1], IGNORE), values], 1)[:, :, 0]
    return torch.stack([one[place.long()] for one, place in zip(table, parcels, strict=True)])
