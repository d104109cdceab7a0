"""A sequence to look at: a small animation (GIF) and a video (MP4) with boxes and trails, made frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from geohydra import pictures
from geohydra.types import Image, Scene

if TYPE_CHECKING:
    from geohydra.prediction.tracks import Tracked

Rgb = NDArray[np.uint8]

_GIF_FRAMES = 48
_GIF_SIDE = 420
_VIDEO_SIDE = 900
_TRAIL = 12
"""Frames for which a trail stays behind an object."""
_LEAST_RATE, _MOST_RATE, _USUAL_RATE = 1.0, 30.0, 5.0


class Previews:
    """Writes `preview.gif` and, where OpenCV can encode it, `preview.mp4`; `last` is the last frame, drawn.

    Of long sequences the animation shows each so-manieth frame. Memory holds the animation and the trails, not the video.
    """

    def __init__(self, folder: Path, scene: Scene, *, frames: int, rate: float | None) -> None:
        self._folder, self._scene = folder, scene
        self._every = -(-frames // _GIF_FRAMES)
        self._rate = min(max(rate or _USUAL_RATE, _LEAST_RATE), _MOST_RATE)
        self._trails: dict[int, list[tuple[float, float]]] = {}
        self._gif: list[Any] = []
        self._video: Any = None
        self._done = 0
        self._limits: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self.last: Rgb | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._video is not None:
            self._video.release()
        if kind is None and self._gif:
            self._save_gif()

    @property
    def files(self) -> dict[str, str]:
        """Those that were written, by their keys."""
        return {f"preview_{kind}": f"preview.{kind}" for kind in ("gif", "mp4") if (self._folder / f"preview.{kind}").exists()}

    def small(self, frame: Scene) -> Rgb:
        """A frame in few pixels, in colours that are the same for all frames."""
        from geohydra.raster.read import SceneReader

        bands = pictures.visible(frame.bands)
        with SceneReader(frame, bands=bands) as reader:
            return self._seen(reader.read_overview(_VIDEO_SIDE))

    def add(self, rgb: Rgb, told: Tracked) -> None:
        """The next frame with what is on it."""
        self._show(self._drawn(rgb, told))

    def caption(self, rgb: Rgb, text: str, color: tuple[int, int, int]) -> None:
        """The next frame with a word about all of it, in a bar of a colour; without a word as it is."""
        self._show(_with_bar(_enlarged(rgb, _GIF_SIDE), text, color))

    def _show(self, drawn: Rgb) -> None:
        self.last = drawn
        if self._done % self._every == 0:
            self._gif.append(_indexed(drawn, self._gif[0] if self._gif else None))
        self._write(drawn)
        self._done += 1

    def _seen(self, image: Image) -> Rgb:
        if self._limits is None and image.pixels.dtype == np.uint8:
            self._limits = np.zeros(1), np.full(1, 255.0)
        if self._limits is None:
            values = image.pixels[:, image.valid] if image.valid.any() else np.zeros((len(image.pixels), 1))
            self._limits = np.percentile(values, 1, axis=1), np.percentile(values, 99, axis=1)
        low, high = (limit[:, None, None] for limit in self._limits)
        scaled = np.clip((image.pixels - low) / np.maximum(high - low, 1e-9), 0, 1) * 255
        rgb = np.moveaxis(scaled if len(scaled) == 3 else np.repeat(scaled[:1], 3, axis=0), 0, -1).astype(np.uint8)
        rgb[~image.valid] = pictures.UNKNOWN
        return rgb

    def _drawn(self, rgb: Rgb, told: Tracked) -> Rgb:
        """Boxes in the colour of their track, with the way that they came; filled gaps are thin."""
        from PIL import Image as Pillow
        from PIL import ImageDraw

        picture = Pillow.fromarray(_enlarged(rgb, _VIDEO_SIDE))
        pen = ImageDraw.Draw(picture)
        scale = np.array([picture.height / self._scene.grid.shape.rows, picture.width / self._scene.grid.shape.cols] * 2)
        tracks = told.tracks.tolist()
        self._trails = {track: self._trails.get(track, [])[-_TRAIL:] for track in tracks}
        for track, box, seen in zip(tracks, told.objects.boxes * scale, told.seen, strict=True):
            top, left, bottom, right = box.tolist()
            color = shade(track)
            self._trails[track].append(((left + right) / 2, (top + bottom) / 2))
            pen.line(self._trails[track], fill=color, width=2)
            pen.rectangle((left, top, right, bottom), outline=color, width=2 if seen else 1)
        return np.asarray(picture)

    def _write(self, rgb: Rgb) -> None:
        import cv2

        rows, cols = (side - side % 2 for side in rgb.shape[:2])
        if self._video is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._video = cv2.VideoWriter(str(self._folder / "preview.mp4"), cv2.CAP_FFMPEG, code, self._rate, (cols, rows))
        if self._video.isOpened():
            self._video.write(np.ascontiguousarray(rgb[:rows, :cols, ::-1]))

    def _save_gif(self) -> None:
        first, *rest = self._gif
        each = round(1000 * self._every / self._rate)
        first.save(self._folder / "preview.gif", save_all=True, append_images=rest, duration=min(max(each, 40), 1000), loop=0)


def _enlarged(rgb: Rgb, side: int) -> Rgb:
    """A small frame so many times as large, that what is drawn on it can be read."""
    zoom = max(1, side // max(rgb.shape[:2]))
    return np.repeat(np.repeat(rgb, zoom, axis=0), zoom, axis=1)


def _with_bar(rgb: Rgb, text: str, color: tuple[int, int, int]) -> Rgb:
    """A picture with a line of text along its lower edge."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    if not text:
        return rgb
    picture = Pillow.fromarray(rgb)
    pen, size = ImageDraw.Draw(picture), max(11, picture.height // 24)
    top = picture.height - 2 * size
    pen.rectangle((0, top, picture.width, picture.height), fill=color)
    ink = (0, 0, 0) if sum(color) > 380 else (255, 255, 255)
    pen.text((size, top + 0.4 * size), text, fill=ink, font_size=size)
    return np.asarray(picture)


def shade(track: int) -> tuple[int, int, int]:
    """A bright colour for a track: neighbours in number are far apart in hue."""
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(track * 0.618034 % 1.0, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def with_lines(rgb: Rgb, lines: Sequence[tuple[int, Sequence[tuple[float, float]]]], shape: tuple[int, int]) -> Rgb:
    """A picture of a scene of so many rows and columns, with the ways `(row, col)` of tracks over it."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    picture = Pillow.fromarray(rgb)
    pen = ImageDraw.Draw(picture)
    rows, cols = rgb.shape[0] / shape[0], rgb.shape[1] / shape[1]
    for track, points in lines:
        way = [(col * cols, row * rows) for row, col in points]
        pen.line(way if len(way) > 1 else way * 2, fill=shade(track), width=2)
    return np.asarray(picture)


def _indexed(rgb: Rgb, first: Any) -> Any:
    """A frame of the animation; all have the colours of the first one."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(rgb)
    picture.thumbnail((_GIF_SIDE, _GIF_SIDE))
    return picture.quantize(256, dither=Pillow.Dither.NONE) if first is None else picture.quantize(palette=first, dither=Pillow.Dither.NONE)
