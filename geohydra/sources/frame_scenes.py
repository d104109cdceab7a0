"""Scenes from frames: headers read, videos decoded, boxes of tracks laid on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from pathlib import Path
from typing import Any

from geohydra.errors import DataError, GeohydraError, Problems
from geohydra.source import Share, everything
from geohydra.sources.class_names import ClassNames
from geohydra.sources.frame_files import FrameFile, sequences, tracks_of, video_names
from geohydra.sources.inspection import Inspection
from geohydra.sources.marks import Marks, box, moved, on_grid, usable, write_marks
from geohydra.sources.placing import Placement, around, placed, read_placement
from geohydra.sources.sequence_classes import classes_of_sequences
from geohydra.sources.single import Reading, scenes_of
from geohydra.sources.summary import described
from geohydra.sources.tracks import TrackBox, read_tracks
from geohydra.sources.video import BANDS, decode, probe_video
from geohydra.types import Grid, LabelAsset, LockEntry, Scene, Shape, Window

Progress = Callable[[int, int, str], None]

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_CLOSE = 1e-6
"""Of a pixel: what lies nearer to an edge lies on it."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Frames a second and the time of the first frame, where they are known; each so-manieth frame is taken."""

    fps: float | None = None
    start: datetime | None = None
    every: int = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a sequence: its scene, its number, and the seconds since the first frame where they are known."""

    scene: Scene
    sequence: str
    number: int
    seconds: float | None


class FrameScenes:
    """One reading of frames, as the config of the `Frames` source asks for it."""

    def __init__(
        self,
        rule: re.Pattern[str] | None,
        clock: Clock,
        bands: list[str] | None,
        names: ClassNames,
        *,
        whole: bool,
        video: bool,
        placement: str | None,
        kinds: str | None = None,
    ) -> None:
        self._rule, self._clock, self._bands, self._names = rule, clock, bands, names
        self._whole, self._video, self._placement, self._kinds = whole, video, placement, kinds

    def scenes(self, lock: Sequence[LockEntry], folder: Path, progress: Progress, share: Share = everything) -> Iterator[Scene]:
        """Scenes with their labels written below a folder. Raises all that is wrong at once, before the first scene."""
        notes: list[str] = []
        boxes, kinds = self._boxes(lock), self._classes(lock)
        by_sequence = self._decoded(lock, folder, progress, share) if self._video else share(list(self._frames(lock, progress).items()))
        for name, frames in by_sequence:
            theirs = boxes.get(name)
            kept = [self._placed(frame, folder) for frame in frames]
            if self._whole:
                yield _of_class(self._sequence(name, kept, theirs, folder, notes), kinds.get(name))
            else:
                yield from (_of_class(self._single(frame, theirs, folder, notes), kinds.get(name)) for frame in kept)
        notes += self._names.notes()
        (folder / "notes.txt").write_text("".join(f"{note}\n" for note in notes), encoding="utf-8")

    def inspect(self, lock: Sequence[LockEntry]) -> Inspection:
        """What is there and what is wrong, without writing anything."""
        try:
            boxes, kinds = self._boxes(lock), self._classes(lock)
            if self._video:
                return Inspection(self._video_rows(lock, kinds), [], self._names.notes(), frozenset(self._names.seen), BANDS)
            frames = self._looked_at(lock)
        except Problems as found:
            return Inspection(errors=list(found.errors))
        except GeohydraError as error:
            return Inspection(errors=[error])
        rows = [_frame_row(frame, boxes) | _class_cell(kinds.get(frame.sequence)) for frame in frames]
        scenes = tuple(frame.scene for frame in frames)
        features = {frame.scene.id: _features(frame, boxes[frame.sequence]) for frame in frames if frame.sequence in boxes}
        told = self._names.notes(), frozenset(self._names.seen), scenes[0].bands if scenes else (), scenes, features
        return Inspection(_whole_rows(rows, boxes, kinds) if self._whole else rows, [], *told)

    def _boxes(self, lock: Sequence[LockEntry]) -> dict[str, list[tuple[TrackBox, str]]]:
        """The boxes of each sequence that has tracks, with the names of their classes."""
        images, tracks = _uris(lock, "image"), _uris(lock, "label")
        names = list(video_names(images, self._rule).values()) if self._video else list(sequences(images, self._rule))
        found: dict[str, list[tuple[TrackBox, str]]] = {}
        for name, uri in tracks_of(names, tracks, self._rule).items():
            named = ((one, self._names.of(one.name, where=uri)) for one in read_tracks(uri))
            found[name] = [(one, kind) for one, kind in named if kind is not None]
        return found

    def _classes(self, lock: Sequence[LockEntry]) -> dict[str, str | None]:
        """The class of each sequence, where these have classes as a whole."""
        if self._kinds is None:
            return {}
        return classes_of_sequences(_uris(lock, "image"), self._rule, self._kinds, self._names, video=self._video)

    def _frames(self, lock: Sequence[LockEntry], progress: Progress) -> dict[str, list[Frame]]:
        found = {name: files[:: self._clock.every] for name, files in sequences(_uris(lock, "image"), self._rule).items()}
        told = [(name, file) for name, files in found.items() for file in files]
        ids = [(f"{name}_{file.number:06d}", file.uri) for name, file in told]
        scenes, errors = scenes_of(ids, Reading(self._bands), progress)
        if errors:
            raise errors[0] if len(errors) == 1 else Problems(errors)
        by_sequence: dict[str, list[Frame]] = {}
        for (name, file), scene in zip(told, scenes, strict=True):
            if scene is not None:
                by_sequence.setdefault(name, []).append(self._timed(scene, name, file, found[name][0]))
        return by_sequence

    def _timed(self, scene: Scene, name: str, file: FrameFile, first: FrameFile) -> Frame:
        seconds = (file.number - first.number) / self._clock.fps if self._clock.fps else None
        if file.time and first.time:
            seconds = (file.time - first.time).total_seconds()
        return self._told(scene, name, file.number, seconds, file.time)

    def _told(self, scene: Scene, name: str, number: int, seconds: float | None, time: datetime | None) -> Frame:
        start = self._clock.start
        moment = time or (start + timedelta(seconds=seconds) if start and seconds is not None else None)
        told: dict[str, Any] = {"geohydra:sequence": name, "geohydra:frame": number}
        if seconds is not None:
            told["geohydra:seconds"] = round(seconds, 6)
        return Frame(replace(scene, time=moment, properties=told), name, number, seconds)

    def _decoded(self, lock: Sequence[LockEntry], folder: Path, progress: Progress, share: Share) -> Iterator[tuple[str, list[Frame]]]:
        """The frames of one video after the other."""
        names = video_names(_uris(lock, "image"), self._rule)
        for place, (uri, name) in share(list(enumerate(names.items()))):
            progress(place, len(names), name)
            written = list(decode(uri, folder / "frames" / name, every=self._clock.every))
            if not written:
                raise DataError(uri, "holds no frame", "check the file")
            ids = [(f"{name}_{number:06d}", str(path)) for number, _, path in written]
            scenes, errors = scenes_of(ids, Reading(self._bands), _unheard)
            if errors:
                raise errors[0]
            rate = self._clock.fps
            pairs = [(scene, one) for scene, one in zip(scenes, written, strict=True) if scene is not None]
            yield name, [self._told(scene, name, one[0], one[0] / rate if rate else one[1], None) for scene, one in pairs]

    def _placed(self, frame: Frame, folder: Path) -> Frame:
        if self._placement is None:
            return frame
        return replace(frame, scene=placed(frame.scene, _place_of(frame, read_placement(self._placement)), folder))

    def _single(self, frame: Frame, boxes: list[tuple[TrackBox, str]] | None, folder: Path, notes: list[str]) -> Scene:
        if boxes is None:
            return frame.scene
        return _labelled(frame.scene, [pair for pair in boxes if pair[0].frame == frame.number], folder, notes)

    def _sequence(
        self, name: str, frames: Sequence[Frame], boxes: list[tuple[TrackBox, str]] | None, folder: Path, notes: list[str]
    ) -> Scene:
        """All frames of a sequence as the acquisitions of one scene; where no time is known they stand a second apart from 1970 on."""
        first, grid = frames[0].scene, _common(name, frames)
        dated = first.time is not None
        times = [frame.scene.time or _LONG_AGO + timedelta(seconds=_second(frame)) for frame in frames]
        assets = tuple(replace(frame.scene.assets[0], time=time) for frame, time in zip(frames, times, strict=True))
        told: dict[str, Any] = {"geohydra:sequence": name, "geohydra:frames": [frame.number for frame in frames], "geohydra:dated": dated}
        if grid != first.grid:
            told["geohydra:extents"] = [_extent(frame.scene.grid, grid) for frame in frames]
        scene = Scene(name, grid, assets, time=first.time, properties=told)
        if boxes is None:
            return scene
        grids = {frame.number: frame.scene.grid for frame in frames}
        return _labelled(scene, [pair for pair in boxes if pair[0].frame in grids], folder, notes, grids=grids)

    def _looked_at(self, lock: Sequence[LockEntry]) -> list[Frame]:
        """All frames, on the ground where it is told where they lie; nothing is written."""
        frames = [frame for theirs in self._frames(lock, _unheard).values() for frame in theirs]
        place = read_placement(self._placement) if self._placement else None
        if place is None:
            return frames
        return [_on_ground(frame, place) for frame in frames]

    def _video_rows(self, lock: Sequence[LockEntry], kinds: Mapping[str, str | None]) -> list[dict[str, str]]:
        rows = []
        for uri, name in video_names(_uris(lock, "image"), self._rule).items():
            header = probe_video(uri)
            scene = Scene(name, Grid("", _PIXELS, header.shape), ())
            told = {**described(scene), "bands": ", ".join(BANDS), "dtype": "uint8", "nodata": "none"}
            frames = {"frames": f"{header.frames} at {header.fps:g} a second", "verdict": "good"}
            rows.append(told | frames | _class_cell(kinds.get(name)))
        return rows


def _common(name: str, frames: Sequence[Frame]) -> Grid:
    """The grid of a sequence: that of its frames, or where they lie at other places one that holds them all."""
    first = frames[0].scene
    for frame in frames:
        same = frame.scene.grid == first.grid or (first.grid.crs and frame.scene.grid.crs == first.grid.crs)
        if not same or frame.scene.bands != first.bands:
            problem = f"has another size, place or other bands than the first frame of {name}"
            raise DataError(frame.scene.assets[0].uri, problem, "take each frame as a scene with source.scene=frame")
    grids = [frame.scene.grid for frame in frames]
    return first.grid if len(set(grids)) == 1 else around(grids)


def _extent(grid: Grid, whole: Grid) -> list[int]:
    """Row, column, rows and columns of the part of a larger grid that a frame shows, a pixel more rather than less."""
    left, bottom, right, top = grid.bounds
    (high, wide), (west, _, _, north) = whole.resolution, whole.bounds
    row, row_stop = floor((north - top) / high + _CLOSE), ceil((north - bottom) / high - _CLOSE)
    col, col_stop = floor((left - west) / wide + _CLOSE), ceil((right - west) / wide - _CLOSE)
    part = Window(row, col, Shape(row_stop - row, col_stop - col)).clip(whole.shape)
    return [row, col, 0, 0] if part is None else [part.row, part.col, part.shape.rows, part.shape.cols]


def _on_ground(frame: Frame, place: Placement) -> Frame:
    return replace(frame, scene=replace(frame.scene, grid=_place_of(frame, place).grid(frame.scene.grid.shape)))


def _frame_row(frame: Frame, boxes: Mapping[str, list[tuple[TrackBox, str]]]) -> dict[str, str]:
    theirs = [kind for one, kind in boxes[frame.sequence] if one.frame == frame.number] if frame.sequence in boxes else None
    told = {"sequence": frame.sequence, "frame": str(frame.number), "labels": _counted(theirs), "verdict": "good"}
    return described(frame.scene) | told


def _class_cell(kind: str | None) -> dict[str, str]:
    return {"labels": kind} if kind is not None else {}


def _of_class(scene: Scene, kind: str | None) -> Scene:
    """The scene as one of a class, where it has one."""
    if kind is None:
        return scene
    labels = LabelAsset(scene.assets[0].uri, "whole", classes=(kind,))
    return replace(scene, labels=labels, properties={**scene.properties, "geohydra:labels": {kind: 1}})


def _place_of(frame: Frame, placement: Placement) -> Placement:
    return placement.of(frame.number)


def _features(frame: Frame, boxes: Sequence[tuple[TrackBox, str]]) -> Any:
    return on_grid(_marks(frame.scene.grid, [pair for pair in boxes if pair[0].frame == frame.number]), frame.scene.grid)


def _marks(grid: Grid, boxes: Sequence[tuple[TrackBox, str]], grids: Mapping[int, Grid] | None = None) -> Marks:
    """Boxes on a grid, in the order of frames; where frames have grids of their own, they are moved over from these."""
    marks = Marks(columns={"track": [], "frame": []})
    for one, kind in sorted(boxes, key=lambda pair: pair[0].frame):
        own = grids[one.frame] if grids else grid
        shape = box(*one.box)
        if usable(shape, own):
            marks.add(moved(shape, own, grid), kind, {"track": one.track, "frame": one.frame})
    return marks


def _labelled(
    scene: Scene,
    boxes: Sequence[tuple[TrackBox, str]],
    folder: Path,
    notes: list[str],
    *,
    grids: Mapping[int, Grid] | None = None,
) -> Scene:
    marks = _marks(scene.grid, boxes, grids)
    if len(marks.shapes) < len(boxes):
        notes.append(f"{scene.id}: {len(boxes) - len(marks.shapes)} of {len(boxes)} boxes were left out: no area, or beside the image")
    labels = write_marks(marks, scene.grid, folder / "labels" / f"{scene.id}.parquet")
    return replace(scene, labels=labels, properties={**scene.properties, "geohydra:labels": marks.counts()})


def _second(frame: Frame) -> float:
    return frame.seconds if frame.seconds is not None else float(frame.number)


def _counted(kinds: Sequence[str] | None) -> str:
    if kinds is None:
        return "none"
    return ", ".join(f"{name} {kinds.count(name)}" for name in sorted(set(kinds))) or "nothing there"


def _whole_rows(
    rows: Sequence[dict[str, str]], boxes: Mapping[str, list[tuple[TrackBox, str]]], kinds: Mapping[str, str | None]
) -> list[dict[str, str]]:
    """A row a sequence, from those of its frames."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        name = row["sequence"]
        theirs = [kind for _, kind in boxes[name]] if name in boxes else None
        found.setdefault(name, {**row, "scene": name, "frame": "", "labels": _counted(theirs)} | _class_cell(kinds.get(name)))
    for name, row in found.items():
        numbers = [one["frame"] for one in rows if one["sequence"] == name]
        row["frame"] = f"{numbers[0]} to {numbers[-1]} ({len(numbers)})"
    return list(found.values())


def _uris(lock: Sequence[LockEntry], role: str) -> list[str]:
    return [entry.uri for entry in lock if entry.role == role]


def _unheard(done: int, total: int, text: str) -> None:
    """Progress that nobody watches."""
