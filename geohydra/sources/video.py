"""Frames of video files, decoded one after the other and written as rasters that can be read window by window."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.errors import DataError
from geohydra.types import Shape

BANDS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class VideoHeader:
    """What a video says of itself; the number of frames is an estimate in some formats."""

    shape: Shape
    frames: int
    fps: float


def probe_video(uri: str) -> VideoHeader:
    """The header, and whether the first frame can be decoded. Raises DataError."""
    import cv2

    with _opened(uri) as video:
        good, first = video.read()
        if not good:
            raise DataError(uri, "its first frame cannot be decoded", "convert it, such as with ffmpeg to H.264 in MP4")
        rows, cols = first.shape[:2]
        return VideoHeader(Shape(rows, cols), int(video.get(cv2.CAP_PROP_FRAME_COUNT)), float(video.get(cv2.CAP_PROP_FPS)))


def decode(uri: str, folder: Path, *, every: int) -> Iterator[tuple[int, float, Path]]:
    """Number from 0, second, and file of every so-manieth frame, written into a folder without loss."""
    with _opened(uri) as video:
        number = 0
        while video.grab():
            if number % every == 0:
                good, frame = video.retrieve()
                if not good:
                    raise DataError(uri, f"its frame {number} cannot be decoded", "convert it, such as with ffmpeg to H.264 in MP4")
                yield number, _seconds(video, number), _write(frame, folder / f"{number:06d}.tif")
            number += 1


def _seconds(video: Any, number: int) -> float:
    """By the file's own clock, which also knows of frames that do not come at equal distances."""
    import cv2

    clock = float(video.get(cv2.CAP_PROP_POS_MSEC)) / 1000
    rate = float(video.get(cv2.CAP_PROP_FPS))
    return clock if clock > 0 or number == 0 or rate <= 0 else number / rate


@contextmanager
def _opened(uri: str) -> Iterator[Any]:
    import cv2

    path = storage.fetch(uri)
    if not path.is_file():
        raise DataError(uri, "there is no such file", "check the folder and the spelling")
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise DataError(uri, "is no video that can be decoded", "convert it, such as with ffmpeg to H.264 in MP4")
        yield video
    finally:
        video.release()


def _write(frame: Any, path: Path) -> Path:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    path.parent.mkdir(parents=True, exist_ok=True)
    rows, cols = frame.shape[:2]
    pixels = frame[:, :, ::-1].transpose(2, 0, 1)
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": 2, "photometric": "rgb"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", width=cols, height=rows, count=3, dtype="uint8", **blocks) as file:
            file.write(pixels)
            file.descriptions = BANDS
    return path
