from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest

from geohydra import catalogue
from geohydra.ground import open_ground
from geohydra.raster.frames import frames_of
from geohydra.raster.read import SceneReader
from geohydra.sources.demo_video import DemoVideo
from geohydra.types import Scene, Window


def _made(folder: Path, **keys: float) -> list[Scene]:
    source = DemoVideo(**({"sequences": 2, "frames": 6, "size": 96} | keys))  # type: ignore[arg-type]
    scenes = list(source.scenes((), folder, lambda done, total, text: None))
    catalogue.write(scenes, folder)
    return catalogue.read(folder)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    return _made(tmp_path_factory.mktemp("video"))


def test_a_sequence_is_one_scene_with_all_its_frames(scenes: list[Scene]) -> None:
    assert [scene.id for scene in scenes] == ["flight-01", "flight-02"]
    assert all(len(scene.times) == 6 and scene.bands == ("red", "green", "blue") for scene in scenes)
    assert np.diff([time.timestamp() for time in scenes[0].times]).tolist() == [0.25] * 5


def test_labels_tell_tracks_and_frames(scenes: list[Scene]) -> None:
    for scene in scenes:
        frame = geopandas.read_parquet(str(scene.labels.uri if scene.labels else ""))
        assert set(frame["class"]) == {"vehicle"}
        assert set(frame["frame"]) <= set(range(6))
        assert not frame.duplicated(["track", "frame"]).any()


def test_some_vehicles_drive(scenes: list[Scene]) -> None:
    frame = geopandas.read_parquet(str(scenes[0].labels.uri if scenes[0].labels else ""))
    ends = frame[frame["frame"].isin([0, 3])].pivot(index="track", columns="frame", values="geometry").dropna()

    assert max(one.centroid.distance(other.centroid) for one, other in zip(ends[0], ends[3], strict=True)) > 2


def test_vehicles_are_where_the_labels_say(scenes: list[Scene]) -> None:
    """Between two frames most pixels that change much lie in a box of one of them, or in the shadow beside it."""
    first, second = (frames_of(scenes[0])[place] for place in (0, 1))
    window = Window(0, 0, scenes[0].grid.shape)
    images, covered = [], np.zeros((window.shape.rows, window.shape.cols), bool)
    for frame in (first, second):
        with SceneReader(frame) as reader:
            images.append(reader.read(window))
        ground = open_ground(frame)
        assert ground is not None
        for top, left, bottom, right in ground.objects(window).boxes:
            covered[max(0, int(top) - 4) : int(bottom) + 2, max(0, int(left) - 2) : int(right) + 4] = True
    changed = np.abs(images[0].pixels.astype(int) - images[1].pixels).max(axis=0) > 40
    changed &= images[0].valid & images[1].valid

    assert changed.sum() > 20
    assert (changed & covered).sum() > 0.9 * changed.sum()


def test_a_camera_that_stands_still_sees_one_place(tmp_path: Path) -> None:
    (scene,) = _made(tmp_path, sequences=1, frames=3, sway=0)

    assert (scene.grid.shape.rows, scene.grid.shape.cols) == (96, 96)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        _made(folder, sequences=1, frames=2, size=64)

    files = [sorted(path.relative_to(folder) for path in folder.rglob("*.tif")) for folder in folders]
    assert files[0] == files[1]
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in files[0])
