from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import geopandas
import numpy as np
import pytest
import rasterio

from geohydra import catalogue
from geohydra.errors import ConfigError, DataError
from geohydra.ground import open_ground
from geohydra.raster.frames import frames_of, shown
from geohydra.raster.read import SceneReader
from geohydra.raster.series import SeriesReader
from geohydra.sources.frames import Frames
from geohydra.sources.inspection import inspect
from geohydra.tasks.video_clips import VideoClips
from geohydra.types import Scene, Shape, Window

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

_CSV = "frame,track_id,xmin,ymin,xmax,ymax,class\n1,a,2,3,6,9,ship\n2,a,3,3,7,9,ship\n2,b,-50,0,-40,5,ship\n"


def _frame(path: Path, value: int, *, rows: int = 20, cols: int = 30) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="PNG", count=3, height=rows, width=cols, dtype="uint8") as file:
        file.write(np.full((3, rows, cols), value, np.uint8))


def _scenes(source: Frames, folder: Path) -> list[Scene]:
    folder.mkdir(exist_ok=True)
    return list(source.scenes(source.lock(), folder, lambda done, total, text: None))


def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        _frame(tmp_path / "clip" / f"frame{number}.png", number)

    scenes = _scenes(Frames(images=f"{tmp_path}/clip/*.png", fps=5, start="2024-05-31T10:00:00Z"), tmp_path / "out")

    assert [scene.properties["geohydra:frame"] for scene in scenes] == [1, 2, 10]
    assert [scene.id for scene in scenes] == ["clip_000001", "clip_000002", "clip_000010"]
    assert scenes[2].time == datetime(2024, 5, 31, 10, tzinfo=UTC) + timedelta(seconds=9 / 5)
    assert scenes[0].grid.crs == ""


def test_a_sequence_is_one_scene_with_an_acquisition_for_each_frame(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        _frame(tmp_path / "clip" / f"{number:04d}.png", number)

    (scene,) = _scenes(Frames(images=f"{tmp_path}/clip/*.png", scene="sequence", every=2), tmp_path / "out")
    with SeriesReader(scene) as reader:
        series = reader.read(Window(0, 0, scene.grid.shape))

    assert scene.properties["geohydra:frames"] == [1, 3]
    assert scene.properties["geohydra:dated"] is False
    assert series.pixels[:, 0, 0, 0].tolist() == [1, 3]


def test_frames_of_other_sizes_are_no_sequence(tmp_path: Path) -> None:
    _frame(tmp_path / "1.png", 1)
    _frame(tmp_path / "2.png", 1, rows=10)

    with pytest.raises(DataError, match="has another size"):
        _scenes(Frames(images=f"{tmp_path}/*.png", scene="sequence"), tmp_path / "out")


def test_boxes_of_tracks_become_labels_in_pixels(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        _frame(tmp_path / "clip" / f"{number}.png", number)
    (tmp_path / "tracks.csv").write_text(_CSV)

    scenes = _scenes(Frames(images=f"{tmp_path}/clip/*.png", tracks=f"{tmp_path}/tracks.csv", classes=["ship"]), tmp_path / "out")
    catalogue.write(scenes, tmp_path / "out")
    scenes = catalogue.read(tmp_path / "out")
    ground = open_ground(scenes[0])

    assert [scene.properties["geohydra:labels"] for scene in scenes] == [{"ship": 1}, {"ship": 1}, {}]
    assert (tmp_path / "out" / "notes.txt").read_text().startswith("clip_000002: 1 of 2 boxes were left out")
    assert ground is not None
    mask = ground.mask(Window(0, 0, Shape(20, 30)), ids={"ship": 1}, background=0)
    rows, cols = np.nonzero(mask)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (3, 8, 2, 5)
    assert geopandas.read_parquet(str(scenes[0].labels.uri if scenes[0].labels else "")).track.tolist() == ["a"]


def test_mot_counts_pixels_from_one_and_skips_what_has_no_confidence(tmp_path: Path) -> None:
    _frame(tmp_path / "seq" / "img" / "000001.png", 1)
    (tmp_path / "gt.txt").write_text("1,4,1,1,5,6,1,2,1\n1,5,1,1,5,6,0,2,1\n")

    source = Frames(images=f"{tmp_path}/seq/img/*.png", tracks=f"{tmp_path}/gt.txt", class_mapping={"2": "car"})
    (scene,) = _scenes(source, tmp_path / "out")

    frame = geopandas.read_parquet(str(scene.labels.uri if scene.labels else ""))
    assert [tuple(shape.bounds) for shape in frame.geometry] == [(0, 0, 5, 6)]
    assert frame["class"].tolist() == ["car"]


def test_frames_are_placed_by_a_file_beside_them(tmp_path: Path) -> None:
    _frame(tmp_path / "f" / "0.png", 7)
    told = {"crs": "EPSG:32632", "frames": [{"frame": 0, "transform": [2.0, 0, 500_000, 0, -2.0, 5_300_000]}]}
    (tmp_path / "frames.json").write_text(json.dumps(told))
    (tmp_path / "tracks.csv").write_text("frame,xmin,ymin,xmax,ymax\n0,1,2,4,6\n")

    source = Frames(images=f"{tmp_path}/f/*.png", placement=f"{tmp_path}/frames.json", tracks=f"{tmp_path}/tracks.csv", classes=["house"])
    (scene,) = _scenes(source, tmp_path / "out")
    with SceneReader(scene) as reader:
        image = reader.read(Window(0, 0, scene.grid.shape))

    looked = inspect(source, source.lock())
    assert looked.scenes[0].grid == scene.grid
    assert tuple(looked.features[scene.id].total_bounds) == (500_002, 5_299_988, 500_008, 5_299_996)
    assert scene.grid.bounds == (500_000, 5_299_960, 500_060, 5_300_000)
    assert (image.pixels == 7).all()
    frame = geopandas.read_parquet(str(scene.labels.uri if scene.labels else ""))
    assert tuple(frame.total_bounds) == (500_002, 5_299_988, 500_008, 5_299_996)


def _video(path: Path, frames: int = 6) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(frames):
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[..., 0] = 40 * number  # blue, as OpenCV orders colours
        writer.write(picture)
    writer.release()


def test_a_video_is_decoded_frame_by_frame(tmp_path: Path) -> None:
    _video(tmp_path / "flight.avi")
    source = Frames(video=f"{tmp_path}/flight.avi", every=2)

    (row,) = inspect(source, source.lock()).rows
    scenes = _scenes(source, tmp_path / "out")
    with SceneReader(scenes[2], bands=["red", "green", "blue"]) as reader:
        image = reader.read(Window(0, 0, scenes[2].grid.shape))

    assert (row["frames"], row["shape"], row["verdict"]) == ("6 at 10 a second", "48 x 64", "good")
    assert [scene.properties["geohydra:frame"] for scene in scenes] == [0, 2, 4]
    assert [scene.properties["geohydra:seconds"] for scene in scenes] == pytest.approx([0, 0.2, 0.4], abs=0.01)
    assert image.pixels.mean(axis=(1, 2)) == pytest.approx([0, 0, 160], abs=8)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"<html>login</html>")
    source = Frames(video=f"{tmp_path}/x.mp4")

    found = inspect(source, source.lock())

    assert "is no video that can be decoded" in str(found.errors[0])


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "either images or a video"),
        ({"images": "a", "video": "b"}, "either images or a video"),
        ({"images": "a", "sequence": "("}, "no regular expression"),
        ({"images": "a", "sequence": "x"}, "needs a group of the name `sequence`"),
        ({"video": "a", "placement": "p"}, "no files of their own to place"),
        ({"images": "a", "start": "noon"}, "is no time"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Frames(**told)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,xmin,ymin,xmax\n1,2,3,4\n", "has no column 'ymax'"),
        ("1,2,3\n", "has 3 columns"),
        ("frame,xmin,ymin,xmax,ymax\n1,2,3,four,5\n", "'four' is no number"),
        ("frame,xmin,ymin,xmax,ymax\n1,2,3,4,5\n", "tells no class"),
        ("frame,xmin,ymin,xmax,ymax,class\n1,2,3,4,5,boat\n", "unknown class 'boat'"),
    ],
)
def test_tracks_that_cannot_be_read_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    _frame(tmp_path / "clip" / "1.png", 1)
    (tmp_path / "tracks.csv").write_text(text)
    source = Frames(images=f"{tmp_path}/clip/*.png", tracks=f"{tmp_path}/tracks.csv", classes=["car", "ship"])

    found = inspect(source, source.lock())

    assert message in str(found.errors[0])
    assert "tracks.csv" in str(found.errors[0])


def test_frames_of_a_moving_camera_are_one_scene_on_a_grid_that_holds_them_all(tmp_path: Path) -> None:
    for number in (0, 1):
        _frame(tmp_path / "f" / f"{number}.png", 10 * (number + 1))
    places = [[2.0, 0, 500_000, 0, -2.0, 5_300_000], [2.0, 0, 500_010, 0, -2.0, 5_300_006]]
    frames = [{"frame": number, "transform": place} for number, place in enumerate(places)]
    (tmp_path / "frames.json").write_text(json.dumps({"crs": "EPSG:32632", "frames": frames}))
    (tmp_path / "tracks.csv").write_text("frame,track_id,xmin,ymin,xmax,ymax\n0,h,6,2,8,4\n1,h,1,5,3,7\n")

    told = {"placement": f"{tmp_path}/frames.json", "tracks": f"{tmp_path}/tracks.csv", "classes": ["house"]}
    (scene,) = _scenes(Frames(images=f"{tmp_path}/f/*.png", scene="sequence", **told), tmp_path / "out")
    catalogue.write([scene], tmp_path / "out")
    (scene,) = catalogue.read(tmp_path / "out")
    first, second = frames_of(scene)
    with SceneReader(first) as one, SceneReader(second) as other:
        images = [reader.read(Window(0, 0, scene.grid.shape)) for reader in (one, other)]

    assert scene.grid.bounds == (500_000, 5_299_960, 500_070, 5_300_006)
    assert scene.grid.resolution == (2.0, 2.0)
    assert [int(image.valid.sum()) for image in images] == [600, 600]
    assert [int(image.pixels[0][image.valid].max()) for image in images] == [10, 20]
    assert np.argwhere(images[0].valid)[0].tolist() == [3, 0]
    assert [shown(frame) for frame in (first, second)] == [Window(3, 0, Shape(20, 30)), Window(0, 5, Shape(20, 30))]
    objects = [ground.objects(Window(0, 0, scene.grid.shape)) for frame in (first, second) if (ground := open_ground(frame))]
    assert [one.boxes.tolist() for one in objects] == [[[5, 6, 7, 8]], [[5, 6, 7, 8]]]


def _clips(folder: Path) -> str:
    """Sequences of two frames in folders of two classes."""
    for kind, name in (("jam", "a"), ("flowing", "b"), ("jam", "c")):
        for number in (1, 2):
            _frame(folder / kind / name / f"{number:03d}.png", number)
    return f"{folder}/*/*/*.png"


def test_sequences_are_of_the_class_of_the_folder_they_lie_in(tmp_path: Path) -> None:
    source = Frames(images=_clips(tmp_path / "clips"), scene="sequence", sequence_classes="folders", classes=["flowing", "jam"])

    catalogue.write(_scenes(source, tmp_path / "out"), tmp_path / "out")
    scenes = catalogue.read(tmp_path / "out")

    task = VideoClips(classes=["flowing", "jam"], frames=2)
    found = {
        scene.id: int(np.asarray(task.target(ground, Window(0, 0, clip.grid.shape))["label"])[0])
        for scene in scenes
        for clip in task.parts(scene)
        if (ground := open_ground(clip))
    }
    assert found == {"a": 1, "b": 0, "c": 1}
    looked = inspect(source, source.lock())
    assert [(row["scene"], row["labels"]) for row in looked.rows] == [("a", "jam"), ("b", "flowing"), ("c", "jam")]
    assert looked.classes == {"flowing", "jam"}


def test_a_rule_may_tell_the_class_of_a_sequence(tmp_path: Path) -> None:
    for name in ("jam-1_0001", "jam-1_0002", "free-2_0001", "free-2_0002"):
        _frame(tmp_path / "all" / f"{name}.png", 1)
    rule = r"(?P<sequence>(?P<class>\w+)-\d+)_(?P<frame>\d+)"
    mapping: dict[str, str | None] = {"free": "flowing", "*": None}
    source = Frames(images=f"{tmp_path}/all/*.png", sequence=rule, scene="sequence", sequence_classes="folders", class_mapping=mapping)

    labels = {scene.id: scene.labels.classes if scene.labels else None for scene in _scenes(source, tmp_path / "out")}

    assert labels == {"free-2": ("flowing",), "jam-1": None}


def test_a_table_tells_the_classes_of_sequences(tmp_path: Path) -> None:
    images = _clips(tmp_path / "clips")
    (tmp_path / "classes.csv").write_text("sequence,class\na,flowing\nclips/jam/c,jam\n")
    source = Frames(images=images, scene="sequence", sequence_classes=f"{tmp_path}/classes.csv")

    labels = {scene.id: scene.labels.classes if scene.labels else None for scene in _scenes(source, tmp_path / "out")}

    assert labels == {"a": ("flowing",), "b": None, "c": ("jam",)}
    assert [entry.role for entry in source.lock()].count("sidecar") == 1


@pytest.mark.parametrize(
    ("rows", "words"),
    [("d,jam", "there is no sequence 'd'"), ("a,jam\na,jam", "names the sequence a twice"), ("a,jum", "unknown class 'jum'")],
)
def test_a_table_that_fits_no_sequences_is_told(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "classes.csv").write_text(f"sequence,class\n{rows}\n")
    told = {"images": _clips(tmp_path / "clips"), "sequence_classes": f"{tmp_path}/classes.csv", "classes": ["jam"]}

    with pytest.raises(DataError, match=words):
        _scenes(Frames(scene="sequence", **told), tmp_path / "out")  # type: ignore[arg-type]


def test_sequences_have_classes_or_tracks_but_not_both() -> None:
    with pytest.raises(ConfigError, match="leave one of both out"):
        Frames(images="*.png", tracks="gt.txt", sequence_classes="folders")
