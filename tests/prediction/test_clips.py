"""Answers for the clips of a sequence: a table that others can read, and previews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import geopandas
import numpy as np
import pandas
import pytest
import torch
from PIL import Image as Pillow

from geohydra.prediction.clips import predict_clips
from geohydra.prediction.settings import Prediction
from geohydra.sources.demo_video import DemoClips
from geohydra.tasks.video_clips import VideoClips
from geohydra.types import Scene
from geohydra.work import Resources, Work

CLASSES = ("flowing", "jam")


class Fixed:
    """Is the surer of a jam the later a clip is."""

    bands = ("red", "green", "blue")
    details = {"classes": list(CLASSES), "chip": [64, 64]}  # noqa: RUF012
    device = "cpu"

    def __init__(self) -> None:
        self.asked = 0

    def normalise(self, image: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.zeros((1, *image.valid.shape[1:]), np.float32)

    def forward(self, batch: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        self.asked += 1
        return np.tile(np.array([0.0, self.asked - 1.5], np.float32), (len(batch), 1))

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.forward(batch.numpy()))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("clips")
    (scene,) = DemoClips(sequences=1, frames=7, size=64, sway=0).scenes((), folder, lambda done, total, text: None)
    return scene


@pytest.fixture
def predicted(scene: Scene, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    task, work = VideoClips(classes=list(CLASSES), frames=3), Work({}, tmp_path / "work", Resources())
    row = predict_clips(scene, task.parts(scene), Fixed(), Prediction(), out=tmp_path / "flight", work=work, classes=task.classes)
    return tmp_path, row


def test_each_clip_has_a_row_with_its_time_and_its_scores(predicted: tuple[Path, dict[str, Any]], scene: Scene) -> None:
    folder, row = predicted

    table = geopandas.read_parquet(folder / row["clips_parquet"])

    assert table["class"].tolist() == ["flowing", "jam"]
    assert table[["first_frame", "last_frame"]].to_numpy().tolist() == [[0, 2], [3, 5]]
    assert (table["start"].tolist(), table["end"].tolist()) == ([scene.times[0], scene.times[3]], [scene.times[2], scene.times[5]])
    assert np.allclose(table["p_flowing"] + table["p_jam"], 1, atol=1e-5)
    assert table.crs == scene.grid.crs
    assert table.geometry.iloc[0].area == pytest.approx(scene.grid.shape.size * 0.25)
    again = pandas.read_csv(folder / row["clips_csv"])
    assert again["clip"].tolist() == table["clip"].tolist() == ["flight-01_000000", "flight-01_000003"]
    assert set(table.columns) - {"geometry"} == set(again.columns)


def test_the_preview_shows_every_frame_with_its_class(predicted: tuple[Path, dict[str, Any]], scene: Scene) -> None:
    folder, row = predicted

    with Pillow.open(folder / row["preview_gif"]) as animation:
        assert getattr(animation, "n_frames", 1) == len(scene.times)
        animation.seek(1)
        bar = np.asarray(animation.convert("RGB"))[-2, :40].astype(int)
        animation.seek(6)
        last = np.asarray(animation.convert("RGB"))[-2, :40].astype(int)
    video = cv2.VideoCapture(str(folder / row["preview_mp4"]))
    frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()

    assert np.ptp(bar, axis=0).max() == 0  # the bar of a class
    assert np.ptp(last, axis=0).max() > 0  # the last frame is in no clip
    assert frames == len(scene.times)
