"""One sequence through a detector: each frame's objects, who is who from frame to frame, and all that is written of it.

Frames are read, predicted and tracked one after the other: memory is that of a frame and of the tracks that go on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from geohydra.types import Scene

if TYPE_CHECKING:
    from geohydra.prediction.following import Following
    from geohydra.prediction.previews import Previews, Rgb
    from geohydra.prediction.tracks import Tracked
    from geohydra.task import Detections
    from geohydra.vector.found import FoundWriter
    from geohydra.vector.tracks import Course
    from geohydra.work import Work

Finder = Callable[[Scene], "Detections"]
"""What finds the objects of one frame, of any score, in pixels of the sequence's grid."""

_SHOWN = 3000
"""Tracks on the picture of a sequence, at most: the longest ones."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A sequence: its scene, its frames in order, and when each was taken, by number."""

    scene: Scene
    frames: Sequence[Scene]

    @property
    def times(self) -> dict[int, datetime]:
        """When each frame was taken; without real times they stand a second apart."""
        return {number_of(frame): frame.time for frame in self.frames if frame.time is not None}

    @property
    def dated(self) -> bool:
        """Whether times are real."""
        return bool(self.scene.properties.get("geohydra:dated", True))

    @property
    def step(self) -> float:
        """Seconds from frame to frame, as most are apart."""
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(self.times.values())]
        return median(gaps) if gaps else 1.0


def number_of(frame: Scene) -> int:
    """The number of a frame in its sequence."""
    return int(frame.properties["geohydra:frame"])


def predict_sequence(clip: Clip, find: Finder, following: Following, *, out: Path, work: Work, classes: Sequence[str]) -> dict[str, Any]:
    """Write into the folder `out`, which appears whole or not at all: `objects.parquet` (boxes of tracks by frame), `candidates.parquet`
    (all that was found, before tracking), `tracks.parquet` (a line a track), `counts.csv`, `preview.gif`, `preview.mp4`, `quicklook.png`.

    Returns a row of plain values; its file names are relative to `out.parent`.
    """
    from geohydra.prediction.dense import whole_folder

    with whole_folder(out) as folder:
        with ExitStack() as stack:
            outputs = _Outputs(stack, clip, folder, classes)
            for told in _tracked(clip, find, following, outputs, work):
                outputs.add(told)
            outputs.finish()
        (folder / "quicklook.png").write_bytes(outputs.quicklook())
        previews = outputs.previews.files
    names = {"objects_parquet": "objects.parquet", "candidates_parquet": "candidates.parquet", "tracks_parquet": "tracks.parquet"}
    names |= {"tracks_geojson": "tracks.geojson"} if clip.scene.grid.crs else {}
    names |= {"counts": "counts.csv", "quicklook": "quicklook.png"} | previews
    counts = {"frames": len(clip.frames), "objects": outputs.objects, "tracks": outputs.lines.count}
    return {"scene": clip.scene.id} | {key: f"{out.name}/{name}" for key, name in names.items()} | counts


def _tracked(clip: Clip, find: Finder, following: Following, outputs: _Outputs, work: Work) -> Iterator[Tracked]:
    before, step = None, clip.step
    for place, frame in enumerate(clip.frames):
        work.progress(place, len(clip.frames), f"{clip.scene.id}: frame {number_of(frame)}")
        found = find(frame)
        outputs.see(frame, found)
        gone = 1.0 if before is None or frame.time is None else (frame.time - before).total_seconds() / step
        before = frame.time
        yield from following.update(number_of(frame), found, elapsed=gone)
    yield from following.finish()


class _Outputs:
    """The files of one sequence. Small pictures wait until the tracks on them are sure."""

    def __init__(self, stack: ExitStack, clip: Clip, folder: Path, classes: Sequence[str]) -> None:
        from geohydra.prediction.previews import Previews
        from geohydra.vector.tracks import TrackWriter

        self._clip, self._classes, self._times = clip, tuple(classes), clip.times
        rate = 1 / clip.step if clip.dated and clip.step > 0 else None
        self.previews: Previews = stack.enter_context(Previews(folder, clip.scene, frames=len(clip.frames), rate=rate))
        self._found = _writer(stack, folder, "candidates", clip, classes, {})
        self._objects = _writer(stack, folder, "objects", clip, classes, {"track": "int64", "seen": "bool"})
        self.lines = TrackWriter(folder, clip.scene.grid, self._times if clip.dated else None)
        stack.callback(self.lines.close)
        self._counts = _counts(stack.enter_context((folder / "counts.csv").open("w", encoding="utf-8", newline="")), classes)
        self._pictures: dict[int, Rgb] = {}
        self._courses: dict[int, Course] = {}
        self._shown: list[tuple[int, list[tuple[float, float]]]] = []
        self.objects = 0

    def see(self, frame: Scene, found: Detections) -> None:
        """A frame as it was read, and all that was found in it."""
        number = number_of(frame)
        self._found.write(found, columns=self._columns(number, len(found)))
        self._pictures[number] = self.previews.small(frame)

    def add(self, told: Tracked) -> None:
        """A frame whose tracks are sure."""
        columns = self._columns(told.frame, len(told)) | {"track": told.tracks, "seen": told.seen}
        self._objects.write(told.objects, columns=columns)
        self.objects += len(told)
        counts = np.bincount(told.objects.classes, minlength=len(self._classes)).tolist()
        time = self._times[told.frame].isoformat() if self._clip.dated else ""
        self._counts.writerow([told.frame, time, *counts, len(told)])
        self._go_on(told)
        self.previews.add(self._pictures.pop(told.frame), told)

    def finish(self) -> None:
        """Tracks that go on to the end."""
        self._end(list(self._courses))

    def quicklook(self) -> bytes:
        """The last frame with the ways of all tracks."""
        from geohydra import pictures
        from geohydra.prediction.previews import with_lines

        rgb = self.previews.last
        if rgb is None:
            rgb = np.full((8, 8, 3), pictures.UNKNOWN, np.uint8)
        shape = self._clip.scene.grid.shape
        drawn = with_lines(rgb, self._shown, (shape.rows, shape.cols))
        title = f"{self._clip.scene.id}: {self.lines.count} tracks over the last of {len(self._clip.frames)} frames"
        return pictures.side_by_side([[(title, drawn)]])

    def _go_on(self, told: Tracked) -> None:
        """Tracks that this frame does not show have ended: gaps are filled."""
        from geohydra.vector.tracks import Course

        rows = zip(
            told.tracks.tolist(), told.objects.boxes.tolist(), told.objects.classes.tolist(), told.objects.scores, told.seen, strict=True
        )
        for track, box, kind, score, seen in rows:
            course = self._courses.setdefault(track, Course(track))
            course.add(told.frame, box, name=self._classes[kind], score=float(score), seen=bool(seen))
        self._end(sorted(set(self._courses) - set(told.tracks.tolist())))

    def _end(self, tracks: Sequence[int]) -> None:
        for track in tracks:
            course = self._courses.pop(track)
            self.lines.write(course)
            self._shown.append((track, course.middles))
        if len(self._shown) > 2 * _SHOWN:
            self._shown = sorted(self._shown, key=lambda one: -len(one[1]))[:_SHOWN]

    def _columns(self, number: int, count: int) -> dict[str, Any]:
        time = self._times[number] if self._clip.dated else None
        return {"frame": [number] * count, "time": [time] * count}


def _writer(stack: ExitStack, folder: Path, name: str, clip: Clip, classes: Sequence[str], further: dict[str, str]) -> FoundWriter:
    import pyarrow as pa

    from geohydra.vector.found import found_files

    columns = {"frame": pa.int64(), "time": pa.timestamp("ms", tz="UTC")}
    columns |= {key: pa.type_for_alias(kind) for key, kind in further.items()}
    return stack.enter_context(found_files(folder, grid=clip.scene.grid, classes=classes, columns=columns, name=name, geojson=False))


def _counts(stream: TextIO, classes: Sequence[str]) -> Any:
    writer = csv.writer(stream)
    writer.writerow(["frame", "time", *classes, "all"])
    return writer
