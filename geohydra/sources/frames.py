"""Ordered frames: image files that a camera took one after the other, or video files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from geohydra import storage
from geohydra.errors import ConfigError
from geohydra.source import Share, everything
from geohydra.sources.inspection import Inspection
from geohydra.sources.label_rules import several
from geohydra.sources.rules import compiled
from geohydra.sources.sequence_classes import FOLDERS
from geohydra.types import LockEntry, Scene

if TYPE_CHECKING:
    from geohydra.sources.frame_scenes import FrameScenes

Names = Annotated[list[str], Field(min_length=1)]


class Frames:
    """Scenes from frames, with boxes of tracks as labels. Frames need no place on the ground: their grid is then in pixels.

    `images`: patterns of image files, one a frame, or `video`: patterns of video files, one a sequence, that ingest decodes; `every`
    takes each so-manieth frame. `sequence`: a regular expression for addresses, with the group `sequence` (its id), where the
    name tells it also `frame` (a number) or `time`; without it a folder of images is a sequence, and the last number in a
    name is that of the frame.

    `scene`: "frame" gives a scene for each frame, "sequence" one for each sequence, with an acquisition for each frame. `fps` and
    `start` give times: the first frame of a sequence is taken at `start`.

    `tracks`: boxes by frame, as MOT challenges write them (gt.txt) or as a CSV with the columns frame, xmin, ymin, xmax, ymax and
    perhaps track_id and class; one file for the one sequence, or one for each, matched by the rule `sequence` or by equal names.
    `class_mapping` translates their classes (null leaves out, `*` is every other); `classes` are the names that may come out;
    one name alone is the class of boxes that tell none.

    `sequence_classes`: what happens in each sequence as a whole: "folders" (a video, or the folder of the frames, lies in a folder of the
    class's name; a group `class` in the rule tells it otherwise), or a CSV table with the columns sequence and class. They are
    translated and checked as those of tracks are.

    `placement`: a JSON file with the CRS and the transform of each frame: {crs, frames: [{frame, transform: [a, b, c, d, e, f]}]}. A
    sequence whose camera moves is then one scene on a grid that holds all its frames, at their median resolution; each is
    warped onto it when it is read.
    """

    def __init__(
        self,
        *,
        images: str | Names | None = None,
        video: str | Names | None = None,
        sequence: str | None = None,
        scene: Literal["frame", "sequence"] = "frame",
        every: Annotated[int, Field(ge=1)] = 1,
        fps: Annotated[float, Field(gt=0)] | None = None,
        start: str | None = None,
        bands: Names | None = None,
        tracks: str | Names | None = None,
        class_mapping: dict[str, str | None] | None = None,
        classes: Names | None = None,
        placement: str | None = None,
        sequence_classes: Annotated[str, Field(min_length=1)] | None = None,
    ) -> None:
        self._images, self._video, self._tracks = several(images), several(video), several(tracks)
        self._rule = compiled(sequence, group="sequence", example=r"(?P<sequence>[^/]+)/img/(?P<frame>\d+)")
        self._whole = scene == "sequence"
        self._every, self._fps, self._start = every, fps, _moment(start)
        self._bands: list[str] | None = bands
        self._mapping = class_mapping
        self._classes = tuple(classes) if classes else None
        self._placement, self._kinds = placement, sequence_classes
        if sequence_classes and self._tracks:
            raise ConfigError("sequence_classes", "are of whole sequences, tracks of what is in them", "leave one of both out")
        if bool(self._images) == bool(self._video):
            raise ConfigError("images", "either images or a video is needed", "such as source.images='frames/*.jpg'")
        if placement and self._video:
            raise ConfigError("placement", "frames of a video have no files of their own to place", "name image files in source.images")

    @property
    def bands(self) -> tuple[str, ...]:
        """As the config names them; a video's are red, green, blue."""
        return tuple(self._bands or (("red", "green", "blue") if self._video else ()))

    @property
    def classes(self) -> tuple[str, ...] | None:
        """As the config names them."""
        return self._classes

    def lock(self) -> Sequence[LockEntry]:
        """One listing a pattern."""
        images = [entry for pattern in (*self._images, *self._video) for entry in storage.list_files(pattern)]
        tracks = [entry for pattern in self._tracks for entry in storage.list_files(pattern, role="label")]
        table = None if self._kinds == FOLDERS else self._kinds
        beside = [entry for uri in (self._placement, table) if uri for entry in storage.list_files(uri, role="sidecar")]
        return tuple({entry.uri: entry for entry in [*images, *tracks, *beside]}.values())

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """Every header, the first frame of a video, and all tracks."""
        return self._scenes().inspect(lock)

    def scenes(
        self, lock: Sequence[LockEntry], folder: Path, progress: Callable[[int, int, str], None], share: Share = everything
    ) -> Iterator[Scene]:
        """Scenes with the properties `geohydra:sequence`, `geohydra:frame` and `geohydra:seconds` (since the first frame), in order."""
        yield from self._scenes().scenes(lock, folder, progress, share)

    def _scenes(self) -> FrameScenes:
        from geohydra.sources.class_names import ClassNames
        from geohydra.sources.frame_scenes import Clock, FrameScenes

        clock = Clock(self._fps, self._start, self._every)
        names = ClassNames(self._mapping, self._classes)
        return FrameScenes(
            *(self._rule, clock, self._bands, names),
            whole=self._whole,
            video=bool(self._video),
            placement=self._placement,
            kinds=self._kinds,
        )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as cause:
        raise ConfigError("start", f"{text!r} is no time", "such as 2024-05-31T10:30:00Z") from cause
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
