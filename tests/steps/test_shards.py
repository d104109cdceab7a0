"""Steps in shards: whatever their number, together they make the files that one step makes alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra import catalogue
from geohydra.build import build
from geohydra.errors import ConfigError, DataError, StepError
from geohydra.ground import open_ground
from geohydra.prediction.sequences import Clip, predict_sequence
from geohydra.prediction.tracks import Tracker
from geohydra.raster.frames import frames_of
from geohydra.raster.write import CogWriter, write_image
from geohydra.steps import chip, evaluate, ingest
from geohydra.task import Detections, viewed
from geohydra.types import IGNORE, Scene, Shape, Window
from geohydra.vector.found import files_of, found_files
from geohydra.work import Resources, Work, undivided

SOURCES, TASKS = "geohydra.sources", "geohydra.tasks"
Rng = np.random.Generator
Predict = Callable[[Scene, Path, Any, Rng], dict[str, Any]]


def class_map(scene: Scene, folder: Path, task: Any, rng: Rng) -> dict[str, Any]:
    """A map of random classes, with probabilities."""
    (folder / scene.id).mkdir()
    shape, count = (scene.grid.shape.rows, scene.grid.shape.cols), len(task.classes)
    chances = rng.dirichlet(np.ones(count), shape).transpose(2, 0, 1)
    answer = chances.argmax(0).astype(np.uint8)
    answer[:3] = IGNORE
    write_image(folder / scene.id / "classes.tif", answer[None], grid=scene.grid, nodata=IGNORE)
    with CogWriter(folder / scene.id / "probabilities.tif", grid=scene.grid, bands=count, dtype="uint8", nodata=255.0) as writer:
        writer.write(0, np.where(answer == IGNORE, 255, np.rint(chances * 254)).astype(np.uint8))
    return {"scene": scene.id, "classes": f"{scene.id}/classes.tif", "probabilities": f"{scene.id}/probabilities.tif"}


def cells(scene: Scene, folder: Path, task: Any, rng: Rng) -> dict[str, Any]:
    """A coarse map of random classes."""
    (folder / scene.id).mkdir()
    grid = scene.grid.coarse(Shape(32, 32))
    answer = rng.integers(0, len(task.classes), (1, grid.shape.rows, grid.shape.cols)).astype(np.uint8)
    write_image(folder / scene.id / "classes.tif", answer, grid=grid, nodata=IGNORE)
    return {"scene": scene.id, "classes": f"{scene.id}/classes.tif"}


def numbers(scene: Scene, folder: Path, task: Any, rng: Rng) -> dict[str, Any]:
    """A map of random numbers."""
    (folder / scene.id).mkdir()
    values = rng.normal(3, 2, (1, scene.grid.shape.rows, scene.grid.shape.cols)).astype(np.float32)
    write_image(folder / scene.id / "values.tif", values, grid=scene.grid, nodata=float("nan"))
    return {"scene": scene.id, "values": f"{scene.id}/values.tif"}


def boxes(scene: Scene, folder: Path, task: Any, rng: Rng) -> dict[str, Any]:
    """The true boxes, moved about, with random scores; some are lost."""
    (folder / scene.id).mkdir()
    found = spoiled(scene, task, rng)
    with found_files(folder / scene.id, grid=scene.grid, classes=task.classes) as writer:
        writer.write(found)
    return {"scene": scene.id, **{key: f"{scene.id}/{value}" for key, value in files_of(folder / scene.id).items()}}


def spoiled(scene: Scene, task: Any, rng: Rng) -> Detections:
    ground = open_ground(scene)
    assert ground is not None
    objects = ground.objects(Window(0, 0, scene.grid.shape))
    places = np.array([task.classes.index(name) for name in objects.classes], np.int64)
    moved = objects.boxes + rng.normal(0, 1, objects.boxes.shape)
    scores = np.round(rng.random(len(moved)), 2).astype(np.float32)
    return Detections(moved, scores, places).take(rng.random(len(moved)) > 0.2)


def tracks(scene: Scene, folder: Path, task: Any, rng: Rng) -> dict[str, Any]:
    """Tracks of such boxes."""
    work = Work({}, folder / "work", Resources())
    following = Tracker(reach=1.0, least=1).follow()
    find = lambda frame: spoiled(frame, task, rng)  # noqa: E731
    return predict_sequence(Clip(scene, frames_of(scene)), find, following, out=folder / scene.id, work=work, classes=task.classes)


DEMO = {"_target_": f"{SOURCES}.demo.Demo", "scenes": 4, "size": 96}
NIR = {"_target_": f"{TASKS}.regression.Regression", "value": "nir"}
WORLDS: dict[str, tuple[dict[str, Any], dict[str, Any], Predict]] = {
    "semantic segmentation": (
        DEMO,
        {"_target_": f"{TASKS}.semantic_segmentation.SemanticSegmentation", "classes": ["field", "building"]},
        class_map,
    ),
    "classification": (
        DEMO,
        {"_target_": f"{TASKS}.classification.Classification", "classes": ["field", "road"], "background": "rest"},
        cells,
    ),
    "change detection": (
        {"_target_": f"{SOURCES}.demo_pairs.DemoPairs", "scenes": 4, "size": 128},
        {"_target_": f"{TASKS}.change_detection.ChangeDetection", "classes": ["built", "demolished"]},
        class_map,
    ),
    "detection": (
        {"_target_": f"{SOURCES}.demo_objects.DemoObjects", "scenes": 4, "size": 128},
        {"_target_": f"{TASKS}.detection.Detection", "classes": ["building", "vehicle"]},
        boxes,
    ),
    "instance segmentation": (
        {"_target_": f"{SOURCES}.demo_terraces.DemoTerraces", "scenes": 4, "size": 256},
        {"_target_": f"{TASKS}.instance_segmentation.InstanceSegmentation", "classes": ["building"]},
        boxes,
    ),
    "regression": (DEMO, NIR, numbers),
    "time series": (
        {"_target_": f"{SOURCES}.demo_series.DemoSeries", "scenes": 4, "years": 1, "size": 64, "resolution": 5.0},
        {"_target_": f"{TASKS}.time_series.TimeSeries", "classes": ["barley", "wheat", "rape", "maize", "beet"]},
        class_map,
    ),
    "video": (
        {"_target_": f"{SOURCES}.demo_video.DemoVideo", "sequences": 4, "frames": 4, "size": 96},
        {"_target_": f"{TASKS}.video.Video", "classes": ["vehicle"]},
        tracks,
    ),
}
SPLIT = {"_target_": "geohydra.chips.splits.ByScene", "val": 0.25, "test": 0.5}
CHIP = {"_target_": "geohydra.chips.sampling.Sliding", "size": 32, "split": SPLIT, "max_nodata": 0.9}
EVALUATE = {"_target_": "geohydra.evaluation.settings.Evaluation", "examples": 2, "maps": 1}


class World:
    """The undivided outputs of a source, a task and made-up predictions."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self.source, self.task, predict = WORLDS[kind]
        self.chip = CHIP | ({"negatives": 0.5} if kind == "detection" else {"quotas": {"field": 1}} if kind == "classification" else {})
        self.inputs: dict[str, str] = {}
        for step in ("ingest", "chip"):
            self.inputs[step] = str(self.whole(step))
        task = build(self.task, where="task")
        scenes = viewed(task, catalogue.read(Path(self.inputs["ingest"])))
        made = folder / "predict"
        made.mkdir()
        rows = [predict(scene, made, task, np.random.default_rng([place, 7])) for place, scene in enumerate(scenes)]
        (made / "index.json").write_text(json.dumps(rows))
        self.inputs["predict"] = str(made)
        self.whole("evaluate")

    def config(self, step: str) -> dict[str, Any]:
        every = {"source": self.source, "lock": [], "seed": 0, "task": self.task, "chip": self.chip, "evaluate": EVALUATE}
        uses = {"ingest": ("source", "lock", "seed"), "chip": ("task", "chip", "seed"), "evaluate": ("task", "evaluate")}[step]
        return {name: every[name] for name in uses}

    def whole(self, step: str) -> Path:
        """The output of the step alone."""
        return performed(STEPS[step].run, self.config(step), self.inputs, self.folder / step)

    def divided(self, step: str, shards: int, folder: Path) -> Path:
        """The output of as many shards, put together."""
        parts = [
            performed(STEPS[step].run, self.config(step), self.inputs, folder / f"{step}-{place}", shard=(place, shards))
            for place in range(shards)
        ]
        return performed(STEPS[step].merge, self.config(step), self.inputs, folder / step, parts=[str(part) for part in parts])


STEPS: dict[str, Any] = {"ingest": ingest, "chip": chip, "evaluate": evaluate}


def performed(act: Callable[..., None], config: Mapping[str, Any], inputs: Mapping[str, str], folder: Path, **how: Any) -> Path:
    """What a step writes, with its page."""
    folder.mkdir(parents=True, exist_ok=True)
    work = Work(inputs, folder, Resources(device="cpu"), **how)
    act(config, work)
    work.report.close("the step")
    return work.out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", params=sorted(WORLDS))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"), request.param)


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(shards=st.integers(2, 6))
@pytest.mark.parametrize("step", ["ingest", "chip", "evaluate"])
def test_any_number_of_shards_makes_the_same_files(step: str, world: World, tmp_path_factory: pytest.TempPathFactory, shards: int) -> None:
    alone = contents(world.folder / step / "out")

    together = contents(world.divided(step, shards, tmp_path_factory.mktemp("divided")))

    assert sorted(together) == sorted(alone)
    assert [name for name in alone if together[name] != alone[name]] == []
    if step == "evaluate":
        assert len(json.loads(alone["metrics.json"])["metrics"]) > 4


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("small"), "semantic segmentation")


def test_evaluation_goes_on_with_the_scenes_that_were_counted_before_it_was_stopped(small: World, tmp_path: Path) -> None:
    config = small.config("evaluate")
    first = performed(evaluate.run, config, small.inputs, tmp_path / "shard", shard=(0, 2))
    kept = sorted((tmp_path / "shard/state/counts").rglob("*.npz"))
    (lost, *others) = kept
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in others}

    again = performed(evaluate.run, config, small.inputs, tmp_path / "shard", shard=(0, 2))

    assert first == again
    assert lost.exists()
    assert {path: path.stat().st_mtime_ns for path in others} == before


@pytest.mark.parametrize("step", ["ingest", "chip", "evaluate"])
def test_shards_of_different_runs_are_refused(step: str, small: World, tmp_path: Path) -> None:
    config = small.config(step)
    parts = [performed(STEPS[step].run, config, small.inputs, tmp_path / f"{place}", shard=(place, 3)) for place in range(3)]
    if step == "ingest":
        (parts[1] / "order.json").write_text(json.dumps({"items": 9, "places": [1]}))

    chosen = [str(part) for part in (parts if step == "ingest" else parts[::-1])]
    with pytest.raises(StepError, match=f"{step}: the shards do not make a whole"):
        performed(STEPS[step].merge, config, small.inputs, tmp_path / "merged", parts=chosen)


def test_what_only_all_chips_can_tell_is_told_when_shards_are_put_together(small: World, tmp_path: Path) -> None:
    config = small.config("chip") | {"chip": CHIP | {"min_labelled": 1.0}}
    parts = [performed(chip.run, config, small.inputs, tmp_path / f"{place}", shard=(place, 2)) for place in range(2)]

    with pytest.raises(DataError, match=r"no chip is left.*dropped were .* for too few labels"):
        performed(chip.merge, config, small.inputs, tmp_path / "merged", parts=[str(part) for part in parts])


class Alone:
    """A task that compares all scenes at once."""

    def evaluate(self, pairs: Any, *, split: str, settings: Any, work: Work) -> dict[str, Any]:
        return {"metrics": {"count": float(len(pairs))}, "thresholds": {}}


class Listing:
    """A source that makes all scenes at once."""

    def scenes(self, lock: Any, folder: Path, progress: Any) -> list[Scene]:
        return []


@pytest.mark.parametrize(
    ("step", "node", "said"),
    [
        ("evaluate", {"task": {"_target_": f"{__name__}.Alone"}}, "the task Alone compares all scenes at once: it has no `comparison`"),
        (
            "ingest",
            {"source": {"_target_": f"{__name__}.Listing"}},
            "the source Listing makes all scenes at once: its `scenes` takes no `share`",
        ),
        ("evaluate", {"task": NIR}, None),
        ("predict", {}, None),
    ],
)
def test_what_cannot_be_divided_says_why(step: str, node: dict[str, Any], said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOHYDRA_PLUGINS", __name__.split(".")[0])
    assert undivided(step, node) == said


def test_a_shard_of_what_cannot_be_divided_is_refused_where_it_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOHYDRA_PLUGINS", __name__.split(".")[0])
    config = {"source": {"_target_": f"{__name__}.Listing"}, "lock": [], "seed": 0}

    with pytest.raises(ConfigError, match=r"pipeline.shards.ingest: the source Listing makes all scenes at once"):
        performed(ingest.run, config, {}, tmp_path, shard=(0, 2))
