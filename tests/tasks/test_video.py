from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pytest

from geohydra import catalogue
from geohydra.build import build
from geohydra.chips.splits import ByScene
from geohydra.chips.traits import ByAttribute
from geohydra.errors import DataError
from geohydra.ground import open_ground
from geohydra.raster.read import SceneReader
from geohydra.sources.demo_video import DemoVideo
from geohydra.task import Parted, Rows, parted, viewed
from geohydra.tasks.video import Video
from geohydra.types import Scene, Shape, Window


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    folder = tmp_path_factory.mktemp("video")
    source = DemoVideo(sequences=3, frames=4, size=96)
    catalogue.write(source.scenes((), folder, lambda done, total, text: None), folder)
    return catalogue.read(folder)


def test_it_learns_from_frames_and_predicts_sequences(scenes: list[Scene]) -> None:
    task = Video(classes=["vehicle"])
    frames = parted(task, viewed(task, scenes))

    assert isinstance(task, Parted)
    assert len(frames) == 12
    assert len({frame.id for frame in frames}) == 12
    target = task.target(open_ground(frames[0]), Window(0, 0, Shape(128, 128)))  # type: ignore[arg-type]
    labels = geopandas.read_parquet(str(scenes[0].labels.uri if scenes[0].labels else ""))
    boxes, aside = target["boxes"], target["ignored"]
    assert isinstance(boxes, Rows)
    assert isinstance(aside, Rows)
    assert len(boxes.values) + len(aside.values) == (labels["frame"] == 0).sum()


def test_frames_before_are_further_bands_of_each_frame(scenes: list[Scene]) -> None:
    task = Video(classes=["vehicle"], images=2)
    (scene,) = viewed(task, scenes[:1])
    frames = task.parts(scene)
    window = Window(20, 20, Shape(60, 60))
    with SceneReader(frames[1]) as both, SceneReader(task.parts(scenes[0])[0]) as before:
        pixels, earlier = both.read(window).pixels, before.read(window).pixels

    assert scene.bands == frames[0].bands == ("red", "green", "blue", "previous_red", "previous_green", "previous_blue")
    np.testing.assert_array_equal(pixels[3:], earlier)


def test_one_image_is_refused(scenes: list[Scene]) -> None:
    task = Video(classes=["vehicle"])
    (frame, *_) = task.parts(scenes[0])

    with pytest.raises(DataError, match="is one image"):
        task.parts(frame)


@pytest.mark.parametrize("split", [ByAttribute(property="geohydra:sequence", val=0.34, test=0.33), ByScene(val=0.34, test=0.33)])
def test_frames_of_one_sequence_are_in_one_split(scenes: list[Scene], split: Any) -> None:
    frames = Video(classes=["vehicle"]).parts
    parts = [frame for scene in scenes for frame in frames(scene)]
    content = SimpleNamespace(weights=lambda scene, window: np.array([1.0, 1.0]))

    regions = split.divide(parts, chip=Shape(64, 64), content=content, seed=0).regions

    splits = {scene.id: {region.split for region in regions if region.scene.startswith(scene.id)} for scene in scenes}
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "val", "test"}


def test_the_config_of_the_task_is_one_that_can_be_built(repository: Path) -> None:
    import yaml

    node = yaml.safe_load((repository / "conf/task/video.yaml").read_text())

    assert build(node, where="task").classes == ("vehicle",)
