"""What happens in a video: one class for each clip of so many frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.errors import ConfigError, GeohydraError
from geohydra.tasks.classification import ChipReview, Classification
from geohydra.tasks.semantic_segmentation import Color, Name
from geohydra.types import Scene

if TYPE_CHECKING:
    import torch

    from geohydra.task import Batch, Comparison, Trained
    from geohydra.work import Work


class VideoClips(Classification):
    """One class for each clip of `frames` frames that follow each other: that of the labels of its sequence.

    `classes`, `background`, `ignore` and `colors` are as in classification. Clips begin every `step` frames (null: side by side); the last
    frames of a sequence that make no whole clip belong to none, unless the sequence is shorter than a clip: then it is one.
    """

    def __init__(
        self,
        *,
        classes: Annotated[list[Name], Field(min_length=1)],
        background: Name | None = None,
        ignore: list[Name] | None = None,
        colors: dict[str, Color] | None = None,
        frames: Annotated[int, Field(ge=2, le=1000)] = 8,
        step: Annotated[int, Field(ge=1, le=1000)] | None = None,
    ) -> None:
        super().__init__(classes=classes, background=background, ignore=ignore, colors=colors)
        self.frames, self.step = frames, step or frames

    def check(self, parts: Mapping[str, Any]) -> Iterator[GeohydraError]:
        """The network must answer once for a clip."""
        if "model" in parts and getattr(parts["model"], "answers", "pixels") != "clip":
            yield ConfigError("model", "sees no clips", "take model=clip_small or model=clip_r3d")

    def parts(self, scene: Scene) -> Sequence[Scene]:
        """The clips, in order, as series. Raises DataError for a scene that has no frames."""
        from geohydra.raster.frames import clips_of

        return [replace(clip, series=True) for clip in clips_of(scene, self.frames, step=self.step)]

    def answer(self, network: Any, batch: Batch) -> torch.Tensor:
        """Outputs `(n, class)`."""
        found: torch.Tensor = network(batch["image"], batch["valid"], batch["days"])
        return found

    def review(self) -> ClipReview:
        """Scores, and all that is shown of the best network."""
        return ClipReview(self, self._known)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """A table of the clips with the probability of each class, previews, and a picture."""
        from geohydra.prediction.clips import predict_clips

        return predict_clips(scene, self.parts(scene), trained, settings, out=out, work=work, classes=self.classes, colors=self.colors)

    def comparison(self) -> Comparison:
        """Scores of the clips of a split."""
        from geohydra.evaluation.clips import ClipComparison

        return ClipComparison(self)


class ClipReview(ChipReview):
    """What is shown of a network: as of chips, the images being those of the frames in the middle."""

    def _keep(self, outputs: torch.Tensor, batch: Batch, truth: torch.Tensor) -> None:
        middle = batch["image"].shape[1] // 2
        super()._keep(outputs, dict(batch) | {"image": batch["image"][:, middle], "valid": batch["valid"][:, middle]}, truth)
