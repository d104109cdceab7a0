"""The frames of a sequence: scenes of their own, alone or with the frames before them as further bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from geohydra.errors import DataError
from geohydra.types import Asset, Scene, Shape, Window

_OF_ALL = ("geohydra:frames", "geohydra:extents", "geohydra:labels")
"""What is told of a sequence, and not of a frame."""


def numbers_of(scene: Scene) -> dict[datetime, int]:
    """The number of each frame by its time: as the source counts them, else from 0."""
    told = scene.properties.get("geohydra:frames")
    numbers = [int(number) for number in told] if told is not None else list(range(len(scene.times)))
    if len(numbers) != len(scene.times):
        raise DataError(scene.id, f"tells {len(numbers)} numbers of frames, and has {len(scene.times)}", "run ingest again")
    return dict(zip(scene.times, numbers, strict=True))


def frames_of(scene: Scene) -> list[Scene]:
    """Each frame as a scene, in order, with its labels alone; ids are those that `source.scene=frame` would give.

    Raises DataError for a scene that has no frames.
    """
    numbers = numbers_of(scene)
    extents = scene.properties.get("geohydra:extents") or [None] * len(numbers)
    if not numbers:
        problem = "is one image, and a video is asked for"
        raise DataError(scene.id, problem, "take source=frames with source.scene=sequence: frames of one view as one scene")
    return [_frame(scene, time, number, extent) for (time, number), extent in zip(numbers.items(), extents, strict=True)]


def shown(scene: Scene) -> Window | None:
    """The part of its grid that a frame shows, where the camera moved and the sequence covers more."""
    told = scene.properties.get("geohydra:extent")
    if told is None:
        return None
    row, col, rows, cols = (int(number) for number in told)
    return Window(row, col, Shape(rows, cols))


def clips_of(scene: Scene, frames: int, *, step: int) -> list[Scene]:
    """So many frames that follow each other as a scene, every `step` frames; a shorter sequence is one clip as a whole.

    Raises DataError for a scene that has no frames.
    """
    numbers = list(numbers_of(scene).items())
    if len(numbers) < 2:
        problem = f"has {len(numbers) or 1} frame, and clips of {frames} are asked for"
        raise DataError(scene.id, problem, "take source=frames with source.scene=sequence: frames of one view as one scene")
    starts = range(0, max(1, len(numbers) - frames + 1), step)
    return [_clip(scene, numbers[start : start + frames]) for start in starts]


def stacked(scene: Scene, images: int) -> Scene:
    """The sequence with frames before each one as further bands: `previous_red` of the frame before, `previous2_red` of the one before.

    Before the first frame nothing is known: it stands for those before it.
    """
    if images == 1:
        return scene
    times = scene.times
    own = {time: [asset for asset in scene.assets if asset.time in (time, None)] for time in times}
    found: list[Asset] = []
    for place, time in enumerate(times):
        for back in range(images):
            source = own[times[max(place - back, 0)]]
            found += [replace(asset, time=time, bands=tuple(_named(band, back) for band in asset.bands)) for asset in source]
    return replace(scene, assets=tuple(found))


def _frame(scene: Scene, time: datetime, number: int, extent: Sequence[int] | None) -> Scene:
    labels = scene.labels
    if labels is not None and labels.kind == "vector" and "geohydra:frames" in scene.properties:
        labels = replace(labels, where={**labels.where, "frame": number})
    told = {key: value for key, value in scene.properties.items() if key not in _OF_ALL}
    told |= {"geohydra:sequence": scene.properties.get("geohydra:sequence", scene.id), "geohydra:frame": number}
    if extent is not None:
        told["geohydra:extent"] = list(extent)
    return replace(scene.at(time), id=f"{scene.id}_{number:06d}", labels=labels, properties=told)


def _clip(scene: Scene, frames: Sequence[tuple[datetime, int]]) -> Scene:
    times = {time for time, _ in frames} | {None}
    assets = tuple(asset for asset in scene.assets if asset.time in times)
    masks = tuple(mask for mask in scene.masks if mask.time in times)
    numbers = [number for _, number in frames]
    kept = {key: value for key, value in scene.properties.items() if key != "geohydra:extents"}
    told = {**kept, "geohydra:sequence": scene.properties.get("geohydra:sequence", scene.id), "geohydra:frames": numbers}
    return replace(scene, id=f"{scene.id}_{numbers[0]:06d}", assets=assets, masks=masks, time=frames[0][0], properties=told)


def _named(band: str, back: int) -> str:
    return band if back == 0 else f"previous{back if back > 1 else ''}_{band}"
