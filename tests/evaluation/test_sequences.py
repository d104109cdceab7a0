"""Tracks from source to scores: a sequence of the demo world, perfect and spoilt detections, all files read back."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from geohydra import catalogue
from geohydra.evaluation.sequences import evaluate
from geohydra.evaluation.settings import Evaluation
from geohydra.ground import open_ground
from geohydra.prediction.sequences import Clip, predict_sequence
from geohydra.prediction.tracks import Tracker
from geohydra.raster.frames import frames_of
from geohydra.sources.demo_video import DemoVideo
from geohydra.task import Detections, Pair
from geohydra.types import Scene, Window
from geohydra.work import Resources, Work

Spoil = Callable[[np.random.Generator, Detections], Detections]


class Tracks:
    """What evaluation asks of a task."""

    classes = ("vehicle",)

    def parts(self, scene: Scene) -> list[Scene]:
        return frames_of(scene)


def _true(frame: Scene) -> Detections:
    ground = open_ground(frame)
    boxes = np.empty((0, 4)) if ground is None else ground.objects(Window(0, 0, frame.grid.shape)).boxes
    return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("video")
    source = DemoVideo(sequences=1, frames=10, size=128)
    catalogue.write(source.scenes((), folder, lambda done, total, text: None), folder)
    return catalogue.read(folder)[0]


def _predicted(scene: Scene, folder: Path, spoil: Spoil | None = None, tracker: Tracker | None = None) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    find = _true if spoil is None else lambda frame: spoil(rng, _true(frame))
    work = Work({}, folder / "work", Resources())
    following = (tracker or Tracker(reach=1.0, least=1)).follow()
    return predict_sequence(Clip(scene, frames_of(scene)), find, following, out=folder / scene.id, work=work, classes=["vehicle"])


def _scores(scene: Scene, folder: Path, row: dict[str, Any], windows: tuple[Window, ...] = ()) -> dict[str, float]:
    parts = {frame.id: windows or (Window(0, 0, scene.grid.shape),) for frame in frames_of(scene)}
    pair = Pair(scene, folder, row, (), parts=parts)
    found = evaluate(Tracks(), [pair], split="test", settings=Evaluation(), work=Work({}, folder / "score", Resources()))
    metrics: dict[str, float] = found["metrics"]
    return metrics


def test_perfect_detections_score_perfectly_and_beat_the_trivial_answers(scene: Scene, tmp_path: Path) -> None:
    scores = _scores(scene, tmp_path, _predicted(scene, tmp_path))

    assert scores["mota"] > 0.95
    assert scores["hota"] > 0.93
    assert scores["map50"] == pytest.approx(1.0)
    assert scores["baseline_idf1"] < 0.3
    assert scores["baseline_still_hota"] < 0.7


def test_missed_shaken_and_false_detections_cost_less_with_gaps_filled(scene: Scene, tmp_path: Path) -> None:
    def spoil(rng: np.random.Generator, found: Detections) -> Detections:
        kept = found.take(rng.random(len(found)) < 0.8)
        return Detections(kept.boxes + rng.normal(0, 0.2, kept.boxes.shape), kept.scores, kept.classes)

    scores = [
        _scores(scene, folder, _predicted(scene, folder, spoil, tracker))
        for folder, tracker in ((tmp_path / "a", Tracker(reach=1.0)), (tmp_path / "b", Tracker(reach=1.0, gap=0)))
    ]

    assert scores[0]["recall"] > scores[1]["recall"] + 0.1
    assert scores[0]["idf1"] > scores[1]["idf1"] + 0.1
    assert scores[0]["map50"] == scores[1]["map50"]


def test_only_windows_of_the_split_count(scene: Scene, tmp_path: Path) -> None:
    row = _predicted(scene, tmp_path)
    shape = scene.grid.shape
    half = Window(0, 0, replace(shape, rows=shape.rows // 2))

    part, whole = _scores(scene, tmp_path, row, (half,)), _scores(scene, tmp_path, row)

    assert part["mota"] == pytest.approx(1.0, abs=0.03)
    assert whole["mota"] == pytest.approx(1.0, abs=0.03)
    assert _scores(scene, tmp_path, row, (Window(0, 0, replace(shape, rows=1)),)) == {}


def test_all_files_are_there_and_tell_the_same(scene: Scene, tmp_path: Path) -> None:
    row = _predicted(scene, tmp_path)
    folder = tmp_path / scene.id

    objects, tracks = geopandas.read_parquet(folder / "objects.parquet"), geopandas.read_parquet(folder / "tracks.parquet")
    assert objects.crs == tracks.crs == scene.grid.crs
    assert row["objects"] == len(objects)
    assert row["tracks"] == len(tracks) == objects["track"].nunique()
    assert {str(kind) for kind in tracks.geom_type} == {"LineString"}
    assert objects.groupby("track").size().to_dict() == tracks.set_index("track")["frames"].to_dict()
    assert objects["time"].is_monotonic_increasing
    assert (tracks["end"] >= tracks["start"]).all()
    fast = tracks[(tracks["frames"] > 3) & (tracks["length_m"] > 5)].iloc[0]
    seconds = (fast["last_frame"] - fast["first_frame"]) / 4
    assert fast["speed_m_s"] == pytest.approx(fast["length_m"] / seconds)
    assert fast["length_m"] == pytest.approx(fast.geometry.length, rel=1e-3)
    assert fast["length_px"] == pytest.approx(fast.geometry.length / 0.5, rel=1e-6)
    first = objects[objects["track"] == fast["track"]].iloc[0]
    assert fast.geometry.coords[0] == pytest.approx(list(first.geometry.centroid.coords[0]))
    features = json.loads((folder / "tracks.geojson").read_text())["features"]
    assert [one["properties"]["track"] for one in features] == tracks["track"].tolist()
    counts = list(csv.DictReader((folder / "counts.csv").open()))
    assert [int(line["all"]) for line in counts] == objects.groupby("frame").size().tolist()
    assert pq.read_table(folder / "candidates.parquet").num_rows >= len(objects)


def test_previews_can_be_played(scene: Scene, tmp_path: Path) -> None:
    row = _predicted(scene, tmp_path)

    with Image.open(tmp_path / row["preview_gif"]) as animation:
        assert getattr(animation, "n_frames", 1) == 10
    video = cv2.VideoCapture(str(tmp_path / row["preview_mp4"]))
    frames = [video.read() for _ in range(11)]
    video.release()
    assert [good for good, _ in frames] == [True] * 10 + [False]
    assert frames[0][1].std() > 10
    with Image.open(tmp_path / row["quicklook"]) as picture:
        assert picture.width > 300


def test_a_sequence_without_objects_has_empty_files_and_no_scores(scene: Scene, tmp_path: Path) -> None:
    row = _predicted(scene, tmp_path, lambda rng, found: Detections.none())

    assert row["objects"] == row["tracks"] == 0
    assert len(geopandas.read_parquet(tmp_path / scene.id / "tracks.parquet")) == 0
    scores = _scores(scene, tmp_path, row)
    assert scores["mota"] == scores["idf1"] == scores["hota"] == 0
