from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geohydra import catalogue
from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.raster.series import SeriesReader
from geohydra.sources.demo_video import DemoClips
from geohydra.tasks.video_clips import VideoClips
from geohydra.types import Scene, Shape, Window


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    folder = tmp_path_factory.mktemp("clips")
    source = DemoClips(sequences=2, frames=7, size=64, sway=0)
    catalogue.write(source.scenes((), folder, lambda done, total, text: None), folder)
    return catalogue.read(folder)


def test_clips_lie_side_by_side_and_have_the_frames_of_their_time(scenes: list[Scene]) -> None:
    clips = VideoClips(classes=["flowing", "jam"], frames=3).parts(scenes[0])

    assert [clip.id for clip in clips] == ["flight-01_000000", "flight-01_000003"]
    assert [clip.properties["geohydra:frames"] for clip in clips] == [[0, 1, 2], [3, 4, 5]]
    assert all(clip.series and len(clip.times) == 3 for clip in clips)
    with SeriesReader(clips[1]) as one, SeriesReader(scenes[0]) as whole:
        window = Window(0, 0, Shape(64, 64))
        np.testing.assert_array_equal(one.read(window).pixels, whole.read(window).pixels[3:6])


def test_clips_may_overlap_and_a_short_sequence_is_one(scenes: list[Scene]) -> None:
    assert len(VideoClips(classes=["flowing", "jam"], frames=3, step=1).parts(scenes[0])) == 5
    assert [len(clip.times) for clip in VideoClips(classes=["flowing", "jam"], frames=50).parts(scenes[0])] == [7]


def test_a_clip_is_of_the_class_of_its_sequence(scenes: list[Scene]) -> None:
    task = VideoClips(classes=["flowing", "jam"], frames=3)
    window = Window(0, 0, Shape(64, 64))
    labels = [task.target(ground, window)["label"] for scene in scenes for clip in task.parts(scene) if (ground := open_ground(clip))]

    assert [int(np.asarray(label)[0]) for label in labels] == [0, 0, 1, 1]


def test_in_a_jam_nothing_moves(scenes: list[Scene]) -> None:
    moved = []
    for scene in scenes:
        with SeriesReader(scene) as reader:
            pixels = reader.read(Window(0, 0, scene.grid.shape)).pixels.astype(int)
        moved.append((np.abs(np.diff(pixels, axis=0)) > 60).mean())

    assert moved[0] > 10 * moved[1]


def test_one_frame_is_no_clip(scenes: list[Scene], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="clips of 4 are asked for"):
        VideoClips(classes=["flowing", "jam"], frames=4).parts(replace(scenes[0].at(scenes[0].times[0]), properties={}))
