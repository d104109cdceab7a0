"""What has changed between two images of a place: changed or not, or from which class to which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.errors import ConfigError, DataError
from geohydra.tasks.semantic_segmentation import Color, DenseReview, DenseScores, Name, SemanticSegmentation
from geohydra.types import Scene

if TYPE_CHECKING:
    from geohydra.evaluation.scores import Counts
    from geohydra.task import Comparison, Pair, Trained
    from geohydra.work import Work


class ChangeDetection(SemanticSegmentation):
    """One class of change for each pixel of scenes with two acquisitions; a pixel that is not valid in both is unknown.

    `classes`: the changes to learn, such as [changed], or [built, demolished]. `unchanged`: what all other pixels are; null where
    labels are sparse: then the first of the classes is no change. `ignore` and `colors` are as in semantic segmentation. The
    network sees the bands before, then those after. Headline metrics (`change_f1`, `change_iou`) are of change against no change:
    how the unchanged land is found does not enter, being nearly all of it.
    """

    monitor = "change_f1"
    images = 2

    def __init__(
        self,
        *,
        classes: Annotated[list[Name], Field(min_length=1)],
        unchanged: Name | None = "unchanged",
        ignore: list[Name] | None = None,
        colors: dict[str, Color] | None = None,
    ) -> None:
        if unchanged is None and len(classes) < 2:
            hint = "name what has not changed first, task.classes=[unchanged, changed], or in task.unchanged"
            raise ConfigError("classes", "one class leaves nothing to tell apart", hint)
        super().__init__(classes=classes, background=unchanged, ignore=ignore, colors=colors)

    def view(self, scene: Scene) -> Scene:
        """Both acquisitions as one image, with bands `before_red`, ..., `after_red`, ...

        Raises DataError where a scene has not two, or other bands before than after.
        """
        times = scene.times
        if len(times) != 2:
            problem = f"has {len(times) or 1} acquisitions, change detection asks for two"
            raise DataError(scene.id, problem, "take source=pairs, or source=series with source.pair")
        parts = [scene.at(time) for time in times]
        if parts[0].bands != parts[1].bands:
            problem = f"has the bands {', '.join(parts[0].bands)} before and {', '.join(parts[1].bands)} after"
            raise DataError(scene.id, problem, "choose bands that both have with source.bands")
        assets = [
            replace(asset, bands=tuple(f"{name}_{band}" for band in asset.bands))
            for name, part in zip(("before", "after"), parts, strict=True)
            for asset in part.assets
        ]
        masks = tuple(dict.fromkeys(mask for part in parts for mask in part.masks))
        dates = {"geohydra:before": times[0].isoformat(), "geohydra:after": times[1].isoformat()}
        dated = dates if scene.properties.get("geohydra:dated", True) else {}
        return replace(scene, assets=tuple(assets), masks=masks, time=times[1], properties={**scene.properties, **dated}, composite=None)

    def scores(self) -> ChangeScores:
        """Metrics of one split and one epoch."""
        return ChangeScores(self.classes)

    def review(self) -> ChangeReview:
        """The same, with all that is shown of the best network."""
        return ChangeReview(self)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """A map of changes, by choice probabilities and polygons, and the area of each change; polygons and areas tell both dates."""
        from geohydra.prediction.transitions import transition_table, write_tables

        dates = {f"date_{name}": scene.properties.get(f"geohydra:{name}") for name in ("before", "after")}
        told = {key: str(value)[:10] for key, value in dates.items() if value}
        row = told | self._predicted(scene, trained, settings, out, work, columns=told)
        table = transition_table(out / "classes.tif", self.classes, scene=scene.id, dates=told)
        return row | {key: f"{out.name}/{name}" for key, name in write_tables(table, out).items()}

    def sum_up(self, rows: Sequence[Mapping[str, Any]], work: Work) -> None:
        """The areas of all scenes, and those of all together."""
        from geohydra.prediction.transitions import joined_tables, read_table, write_tables

        table = joined_tables([read_table(work.out / row["transitions_parquet"]) for row in rows])
        write_tables(table, work.out)
        work.report.table("transitions", table)

    def comparison(self) -> Comparison:
        """Scores, curves, pictures and areas of the pixels of a split."""
        from geohydra.evaluation.dense import MapComparison

        return MapComparison(self, headline=change_headline, show=self._show_areas)

    def _show_areas(self, pairs: Sequence[Pair], matrices: Mapping[str, Counts], prefix: str, work: Work) -> None:
        """True and predicted hectares of each change, in each scene and in all; of pixels that have both a label and an answer."""
        from geohydra.vector.area import pixel_area

        hectares = {pair.scene.id: pixel_area(pair.scene.grid) / 10_000 for pair in pairs}
        whole = [matrices[scene] * area for scene, area in hectares.items()]
        parts: dict[str, Any] = {**dict(zip(hectares, whole, strict=True)), "all": sum(whole)}
        table: dict[str, list[Any]] = {
            "scene": [scene for scene in parts for _ in self.classes],
            "change": [*self.classes] * len(parts),
            "true_ha": [float(value) for part in parts.values() for value in part.sum(1)],
            "predicted_ha": [float(value) for part in parts.values() for value in part.sum(0)],
            "agreed_ha": [float(value) for part in parts.values() for value in part.diagonal()],
        }
        work.report.table(f"{prefix}transitions", table)


class ChangeScores(DenseScores):
    """Metrics of maps of changes, from one confusion matrix."""

    def compute(self) -> dict[str, float]:
        """Change against no change, and what class maps have."""
        return super().compute() | change_scores(self.confusion.matrix)


class ChangeReview(DenseReview):
    """What is shown of a network that finds changes."""

    def compute(self) -> dict[str, float]:
        """All headline scores, and those of the trivial answer."""
        return change_headline(self.confusion.matrix, self.classes)


def change_headline(matrix: Counts, names: Sequence[str]) -> dict[str, float]:
    """What class maps have, and change against no change."""
    from geohydra.evaluation.scores import headline

    return headline(matrix, names) | change_scores(matrix)


def change_scores(matrix: Counts) -> dict[str, float]:
    """Precision, recall, F1 and IoU of change, whatever its class, from pooled counts `(truth, prediction)`; the first class is no change.

    The trivial answer is change everywhere: its F1 is `2 p / (1 + p)` for a share `p` of changed pixels.
    """
    hits = float(matrix[1:, 1:].sum())
    truth, answer = float(matrix[1:].sum()), float(matrix[:, 1:].sum())
    total = float(matrix.sum())
    return {
        "change_precision": _share(hits, answer),
        "change_recall": _share(hits, truth),
        "change_f1": _share(2 * hits, truth + answer),
        "change_iou": _share(hits, truth + answer - hits),
        "baseline_change_f1": _share(2 * truth, truth + total),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
