"""What moves through the frames of a video: objects found in each frame, and who is who from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.tasks.detection import Color, Detection, Name
from geohydra.types import Scene

if TYPE_CHECKING:
    from geohydra.task import Comparison, Trained
    from geohydra.work import Work


class Video(Detection):
    """Tracks of objects through sequences of frames: a detector looks at each frame, and `predict.tracker` joins what it finds.

    `classes`: the labels whose objects are to be followed. `ignore`: labels whose objects are neither to be found nor background. `colors`:
    `#rrggbb` by class; others are chosen. `min_share`: how much of an object must lie in a chip to be learnt. `images`: frames that the
    detector sees at once: with 2 or 3 those before stand beside each as further bands, so that what moves shows where it stands still.
    It learns from single frames, and predicts whole sequences.
    """

    def __init__(
        self,
        *,
        classes: Annotated[list[Name], Field(min_length=1)],
        ignore: list[Name] | None = None,
        colors: dict[str, Color] | None = None,
        min_share: Annotated[float, Field(gt=0, le=1)] = 0.5,
        images: Annotated[int, Field(ge=1, le=3)] = 1,
    ) -> None:
        super().__init__(classes=classes, ignore=ignore, colors=colors, min_share=min_share)
        self.images = images

    def view(self, scene: Scene) -> Scene:
        """The sequence, perhaps with the frames before each one as further bands."""
        from geohydra.raster.frames import stacked

        return stacked(scene, self.images)

    def parts(self, scene: Scene) -> Sequence[Scene]:
        """The frames, in order. Raises DataError for a scene that has none."""
        from geohydra.raster.frames import frames_of

        return frames_of(scene)

    def predict(self, scene: Scene, trained: Trained, settings: Any, out: Path, work: Work) -> dict[str, Any]:
        """Boxes of each frame and lines of tracks as GeoParquet, counts, an animation and a video."""
        from functools import partial

        from geohydra.prediction.objects import find_all, least_scores
        from geohydra.prediction.sequences import Clip, predict_sequence

        cuts = least_scores(self.classes, trained, settings)
        find = partial(find_all, trained=trained, settings=settings)
        clip = Clip(scene, self.parts(scene))
        return predict_sequence(clip, find, settings.tracker.follow(cuts), out=out, work=work, classes=self.classes)

    def comparison(self) -> Comparison:
        """Scores of the tracks and of the detections of single frames of a split."""
        from geohydra.evaluation.sequences import TrackComparison

        return TrackComparison(self)
