"""Found objects of whole scenes against their labels: what counts, tables, pictures and headline metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import torch
from torchmetrics.detection import MeanAveragePrecision

from geohydra.errors import DataError
from geohydra.evaluation.object_scenes import Form, Terms, meeting
from geohydra.evaluation.objects import evaluate, regular
from geohydra.evaluation.overlaps import Truth
from geohydra.evaluation.settings import Evaluation
from geohydra.raster.write import write_image
from geohydra.task import Detections, Pair
from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape, Window
from geohydra.vector.found import files_of, found_files
from geohydra.work import Resources, Work

NAMES = ("car", "ship")
SHAPE = Shape(300, 400)
GRID = Grid("EPSG:32633", (2, 0, 500_000, 0, -2, 5_000_000), SHAPE)
WHOLE = (Window(0, 0, SHAPE),)
FORMS: tuple[Form, ...] = ("box", "oriented", "outline")
World = Callable[..., Pair]


class Fleet:
    """A task that finds two kinds of objects."""

    classes = NAMES


class Trees:
    """A task that finds trees."""

    classes = ("Tree",)


def on_ground(boxes: np.ndarray) -> np.ndarray:
    """Polygons of boxes in pixels."""
    top, left, bottom, right = boxes.T
    return np.asarray(shapely.box(500_000 + 2 * left, 5_000_000 - 2 * bottom, 500_000 + 2 * right, 5_000_000 - 2 * top))


def scattered(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Boxes apart from each other, and their classes."""
    draw = np.random.default_rng(seed)
    cells = draw.permutation(10 * 14)[:count]
    start = np.column_stack([cells // 14 * 28, cells % 14 * 28]) + draw.uniform(1, 6, (count, 2))
    return np.hstack([start, start + draw.uniform(8, 20, (count, 2))]), draw.integers(0, 2, count)


@pytest.fixture
def world(tmp_path: Path) -> World:
    def make(
        name: str,
        truth: tuple[np.ndarray, Sequence[str]],
        found: Detections,
        *,
        windows: tuple[Window, ...] = WHOLE,
        ignored: np.ndarray | None = None,
        shapes: np.ndarray | None = None,
        row: dict[str, Any] | None = None,
    ) -> Pair:
        draw = np.random.default_rng(0)
        folder = tmp_path / "predictions"
        (folder / name).mkdir(parents=True)
        write_image(tmp_path / f"{name}.tif", draw.integers(1, 255, (3, 300, 400)).astype(np.uint8), grid=GRID)
        polygons = truth[0] if truth[0].dtype == object else on_ground(truth[0])
        geopandas.GeoDataFrame({"class": list(truth[1])}, geometry=polygons, crs=GRID.crs).to_parquet(tmp_path / f"{name}.parquet")
        off = None
        if ignored is not None:
            off = str(tmp_path / f"{name}-ignored.parquet")
            geopandas.GeoDataFrame({"class": ["?"] * len(ignored)}, geometry=on_ground(ignored), crs=GRID.crs).to_parquet(off)
        with found_files(folder / name, grid=GRID, classes=NAMES) as writer:
            writer.write(found, shapes)
        labels = LabelAsset(str(tmp_path / f"{name}.parquet"), "vector", ignored=off)
        scene = Scene(name, GRID, (Asset(str(tmp_path / f"{name}.tif"), ("r", "g", "b"), (1, 2, 3), "uint8"),), labels)
        files = {key: f"{name}/{value}" for key, value in files_of(folder / name).items()}
        return Pair(scene, folder, {"scene": name, **files, **(row or {})}, windows)

    return make


def detections(boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray | None = None) -> Detections:
    sure = np.linspace(1, 0.1, len(boxes)) if scores is None else scores
    return Detections(np.asarray(boxes, float), np.asarray(sure, np.float32), np.asarray(classes, np.int64))


def named(classes: np.ndarray) -> list[str]:
    return [NAMES[number] for number in classes]


def work_in(folder: Path) -> Work:
    return Work({}, folder / "work", Resources())


def table(work: Work, name: str) -> dict[str, list[Any]]:
    return dict(pq.read_table(work.report.folder / "tables" / f"{name}.parquet").to_pydict())


def test_perfect_answers_score_one_and_stand_beside_a_trivial_one(world: World, tmp_path: Path) -> None:
    pairs = []
    for name, seed in (("a", 1), ("b", 2)):
        boxes, classes = scattered(seed)
        pairs.append(world(name, (boxes, named(classes)), detections(boxes, classes)))
    work = work_in(tmp_path)

    metrics = evaluate(Fleet(), pairs, split="test", settings=Evaluation(), work=work)["metrics"]

    ones = ("map", "map50", "map75", "map_small", "ap/car", "ap50/ship", "f1", "precision", "recall", "f1/car")
    assert [metrics[name] for name in ones] == pytest.approx([1.0] * len(ones))
    assert metrics["match_iou"] == pytest.approx(1.0, abs=1e-6)
    assert metrics["count_error"] == metrics["count_mae"] == 0
    assert 0 <= metrics["baseline_map50"] < 0.3
    assert 0 <= metrics["baseline_f1"] < 0.3


def test_tables_and_pictures_tell_the_same_story(world: World, tmp_path: Path) -> None:
    boxes, classes = scattered(3)
    guess = np.vstack([boxes[:30], [[290.0, col, 296, col + 6] for col in range(0, 50, 10)]])
    pair = world("a", (boxes, named(classes)), detections(guess, np.concatenate([classes[:30], classes[:5]])))
    work = work_in(tmp_path)

    found = evaluate(Fleet(), [pair], split="test", settings=Evaluation(), work=work, thresholds={"car": 0.0, "ship": 0.0})

    rows, scenes = table(work, "per_class"), table(work, "per_scene")
    assert rows["objects"] == np.bincount(classes, minlength=2).tolist()
    assert sum(rows["hits"]) == scenes["hits"][0] == 30
    assert scenes["found"] == [35]
    assert scenes["recall"][0] == pytest.approx(30 / 40)
    assert found["metrics"]["count_error"] == pytest.approx(
        sum(abs(a - b) for a, b in zip(rows["found"], rows["objects"], strict=True)) / 40
    )
    assert set(table(work, "pr_curve")) == {"class", "threshold", "precision", "recall"}
    assert table(work, "thresholds")["best_threshold"] == pytest.approx([found["thresholds"][name] for name in NAMES])
    figures = {path.name for path in (work.report.folder / "figures").iterdir()}
    assert figures == {"curves.png", "map_a.png", "examples.png"}


def test_objects_of_which_too_little_lies_in_the_windows_are_neither_hit_nor_missed(world: World) -> None:
    truth = np.array([[10.0, 90, 20, 130], [50, 96, 60, 106], [100, 70, 110, 110], [150, 200, 160, 210]])
    pair = world("a", (truth, ["car"] * 4), detections(truth, np.zeros(4)), windows=(Window(0, 0, Shape(300, 100)),))

    seen = meeting(pair, Terms(NAMES))

    assert seen is not None
    assert seen.truth.aside.tolist() == [True, True, False, True]
    assert seen.truth.boxes[0].tolist() == [10, 90, 20, 130]
    assert len(seen.found) == 3
    assert seen.found.aside.tolist() == [True, True, False]


def test_an_object_that_two_windows_share_counts_once(world: World, tmp_path: Path) -> None:
    truth = np.array([[10.0, 80, 30, 120]])
    windows = (Window(0, 0, Shape(300, 100)), Window(0, 100, Shape(300, 100)))
    pair = world("a", (truth, ["car"]), detections(truth, np.zeros(1)), windows=windows)

    metrics = evaluate(Fleet(), [pair], split="test", settings=Evaluation(examples=0, maps=0), work=work_in(tmp_path))["metrics"]

    assert metrics["recall"] == metrics["precision"] == 1


def test_what_was_found_outside_the_windows_is_no_false_alarm(world: World, tmp_path: Path) -> None:
    truth = np.array([[10.0, 10, 30, 30]])
    guess = np.vstack([truth, truth + 200])
    pair = world("a", (truth, ["car"]), detections(guess, np.zeros(2)), windows=(Window(0, 0, Shape(100, 100)),))

    metrics = evaluate(
        Fleet(), [pair], split="test", settings=Evaluation(examples=0, maps=0), work=work_in(tmp_path), thresholds={"car": 0.0}
    )["metrics"]

    assert metrics["precision"] == 1


def test_ground_that_is_not_known_hides_what_lies_mostly_on_it(world: World) -> None:
    truth = np.array([[10.0, 10, 30, 30], [10, 110, 30, 130]])
    guess = np.vstack([truth, [[60.0, 10, 80, 30]], [[60.0, 33, 80, 53]]])
    pair = world("a", (truth, ["car"] * 2), detections(guess, np.zeros(4)), ignored=np.array([[0.0, 0, 100, 40]]))

    seen = meeting(pair, Terms(NAMES))

    assert seen is not None
    assert seen.truth.aside.tolist() == [True, False]
    assert seen.found.aside.tolist() == [True, False, True, False]
    assert seen.void.tolist() == [400, 0, 400, 140]


def test_labels_that_are_ignored_may_be_found_as_anything(world: World, tmp_path: Path) -> None:
    truth = np.array([[10.0, 10, 30, 30], [60, 60, 80, 80]])
    pair = world("a", (truth, ["car", "wreck"]), detections(truth, np.array([0, 1])))
    settings, cuts = Evaluation(examples=0, maps=0), dict.fromkeys(NAMES, 0.0)

    strict, mild = (
        evaluate(Fleet(), [pair], split="test", settings=settings, work=work_in(tmp_path), thresholds=cuts, ignored=names)["metrics"]
        for names in ((), ("wreck",))
    )

    assert (strict["precision"], mild["precision"]) == (0.5, 1)


def test_thresholds_come_with_the_prediction_else_from_the_split(world: World, tmp_path: Path) -> None:
    boxes, classes = scattered(5)
    found = detections(boxes, classes, np.full(40, 0.4))
    settings = Evaluation(examples=0, maps=0)
    told = world("told", (boxes, named(classes)), found, row={"threshold/car": 0.5, "threshold/ship": 0.3})
    bare = world("bare", (boxes, named(classes)), found)

    with_theirs, with_own = (
        evaluate(Fleet(), [pair], split="test", settings=settings, work=work_in(tmp_path))["metrics"] for pair in (told, bare)
    )

    assert (with_theirs["f1/car"], with_theirs["f1/ship"]) == (0, 1)
    assert (with_own["f1/car"], with_own["f1/ship"]) == (1, 1)


def test_all_candidates_count_where_predict_wrote_them(world: World, tmp_path: Path) -> None:
    boxes, classes = scattered(5)
    pair = world("a", (boxes, named(classes)), detections(boxes[:10], classes[:10]))
    with found_files(pair.folder / "more", grid=GRID, classes=NAMES) as writer:
        writer.write(detections(boxes, classes))
    more = replace(pair, prediction={**pair.prediction, "candidates_parquet": "more/objects.parquet"})

    settings, work = Evaluation(examples=0, maps=0), work_in(tmp_path)
    few, every = (evaluate(Fleet(), [one], split="test", settings=settings, work=work)["metrics"] for one in (pair, more))

    assert few["map"] < 0.5
    assert every["map"] == pytest.approx(1)


def test_an_object_that_the_scene_cuts_off_is_what_can_be_seen_of_it(world: World) -> None:
    truth = np.array([[10.0, 390, 20, 402]])
    pair = world("a", (truth, ["car"]), detections(np.array([[10.0, 390, 20, 400]]), np.zeros(1)))

    for form in FORMS:
        seen = meeting(pair, Terms(NAMES, form=form))
        assert seen is not None
        assert seen.truth.areas.tolist() == pytest.approx([100])
        assert not seen.truth.aside.any()


def test_a_named_rule_stands_beside_the_coco_numbers(world: World, tmp_path: Path) -> None:
    boxes, classes = scattered(6)
    pair = world("a", (boxes, named(classes)), detections(boxes + 1, classes))

    metrics = evaluate(Fleet(), [pair], split="test", settings=Evaluation(rule="dota", examples=0, maps=0), work=work_in(tmp_path))[
        "metrics"
    ]

    assert metrics["dota_map"] == pytest.approx(1.0)
    assert metrics["dota_ap/car"] == pytest.approx(1.0)
    assert metrics["map"] < metrics["map50"]


def test_outlines_are_scored_as_masks_boxes_and_instances(world: World, tmp_path: Path) -> None:
    boxes, classes = scattered(7)
    discs = np.asarray(shapely.buffer(shapely.centroid(on_ground(boxes)), 14))
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    around = np.hstack([middles - 7, middles + 7])
    shapes = np.asarray(shapely.buffer(shapely.points(middles[:, ::-1]), 7))
    pair = world("a", (discs, named(classes)), detections(around, classes), shapes=shapes)
    work = work_in(tmp_path)

    metrics = evaluate(Fleet(), [pair], split="test", settings=Evaluation(), work=work, form="outline")["metrics"]

    for name in ("map", "mask_map", "mask_map50", "mask_ap/car", "spacenet_f1", "pq", "sq", "rq", "f1"):
        assert metrics[name] == pytest.approx(1.0, abs=1e-5), name
    assert "baseline_mask_map50" in metrics
    assert set(table(work, "per_class")) >= {"pq", "sq", "rq"}


def test_oriented_objects_are_compared_as_turned_rectangles(world: World, tmp_path: Path) -> None:
    boxes, classes = scattered(8)
    turned = np.array([shapely.affinity.rotate(shape, 30) for shape in on_ground(boxes)], dtype=object)
    rings = np.stack([shapely.get_coordinates(shape)[:4] for shape in turned])
    corners = np.stack([(5_000_000 - rings[..., 1]) / 2, (rings[..., 0] - 500_000) / 2], axis=-1)
    upright = np.hstack([corners.min(1), corners.max(1)])
    found = Detections(upright, np.linspace(1, 0.1, 40).astype(np.float32), classes.astype(np.int64), corners)
    pair = world("a", (turned, named(classes)), found)

    metrics = evaluate(Fleet(), [pair], split="test", settings=Evaluation(rule="dota", maps=1), work=work_in(tmp_path), form="oriented")[
        "metrics"
    ]

    assert metrics["map"] == pytest.approx(1.0)
    assert metrics["dota_map"] == pytest.approx(1.0)


def test_a_label_raster_tells_of_objects_too(tmp_path: Path) -> None:
    ids = np.zeros((300, 400), np.uint8)
    ids[10:30, 10:30], ids[50:70, 90:120], ids[200:220, 50:60] = 1, 2, 1
    write_image(tmp_path / "labels.tif", ids[None], grid=GRID)
    folder = tmp_path / "predictions"
    (folder / "a").mkdir(parents=True)
    with found_files(folder / "a", grid=GRID, classes=NAMES) as writer:
        writer.write(detections(np.array([[10.0, 10, 30, 30], [200, 50, 220, 60]]), np.zeros(2)))
    scene = Scene(
        "a", GRID, (Asset("a.tif", ("r",), (1,), "uint8"),), LabelAsset(str(tmp_path / "labels.tif"), "raster", {1: "car", 2: "ship"})
    )
    pair = Pair(scene, folder, {"objects_parquet": "a/objects.parquet"}, (Window(0, 0, Shape(300, 100)),))

    boxes, outlines = (meeting(pair, Terms(NAMES, form=form)) for form in FORMS[::2])

    assert boxes is not None
    assert sorted(boxes.truth.boxes.tolist()) == [[10, 10, 30, 30], [50, 90, 70, 100], [200, 50, 220, 60]]
    assert boxes.truth.aside.sum() == 1
    assert boxes.truth.classes[boxes.truth.aside].tolist() == [1]
    assert outlines is not None
    assert sorted(outlines.truth.areas.tolist()) == [200, 200, 400]


def test_a_split_without_objects_has_no_scores(world: World, tmp_path: Path) -> None:
    pair = world("a", (np.array([[10.0, 10, 20, 20]]), ["tree"]), detections(np.array([[10.0, 10, 20, 20]]), np.zeros(1)))

    assert evaluate(Fleet(), [pair], split="test", settings=Evaluation(), work=work_in(tmp_path)) == {"metrics": {}, "thresholds": {}}


def test_nothing_found_scores_zero(world: World, tmp_path: Path) -> None:
    boxes, classes = scattered(9)
    pair = world("a", (boxes, named(classes)), Detections.none())

    metrics = evaluate(Fleet(), [pair], split="val", settings=Evaluation(), work=work_in(tmp_path))["metrics"]

    assert metrics["map"] == metrics["f1"] == metrics["recall"] == 0


def test_a_class_that_the_task_does_not_have_is_told(world: World) -> None:
    boxes, classes = scattered(1)
    pair = world("a", (boxes, named(classes)), detections(boxes, classes))

    with pytest.raises(DataError, match="ship"):
        meeting(pair, Terms(("car",)))


def test_the_trivial_answer_is_as_dense_as_the_truth() -> None:
    boxes, classes = scattered(4)
    truth = Truth.of(boxes, classes)

    answer = regular(truth, WHOLE, 2)

    for number in (0, 1):
        own = boxes[classes == number]
        assert (answer.classes == number).sum() == pytest.approx(len(own), rel=0.3)
        assert answer.boxes[answer.classes == number][0, 2:] - answer.boxes[answer.classes == number][0, :2] == pytest.approx(
            np.median(own[:, 2:] - own[:, :2], axis=0)
        )


@pytest.mark.realdata
def test_tree_crowns_of_an_airborne_image_are_scored_as_pycocotools_does(realdata: Path, tmp_path: Path) -> None:
    image = realdata / "neon_tree_boxes" / "OSBS_029.tif"
    with rasterio.open(image) as dataset:
        grid = Grid(str(dataset.crs), tuple(dataset.transform)[:6], Shape(dataset.height, dataset.width))
    csv = pandas.read_csv(image.with_suffix(".csv"))
    truth = csv[["ymin", "xmin", "ymax", "xmax"]].to_numpy(float)
    a, _, left, _, e, top = grid.transform
    places = shapely.box(left + a * truth[:, 1], top + e * truth[:, 2], left + a * truth[:, 3], top + e * truth[:, 0])
    geopandas.GeoDataFrame({"class": csv["label"]}, geometry=places, crs=grid.crs).to_parquet(tmp_path / "labels.parquet")
    draw = np.random.default_rng(0)
    guess = truth + draw.normal(0, 2.5, truth.shape)
    scores = draw.random(len(guess)).astype(np.float32)
    with found_files(tmp_path / "found", grid=grid, classes=("Tree",)) as writer:
        writer.write(detections(guess, np.zeros(len(guess)), scores))
    labels = LabelAsset(str(tmp_path / "labels.parquet"), "vector")
    scene = Scene("trees", grid, (Asset(str(image), ("red", "green", "blue"), (1, 2, 3), "uint8"),), labels)
    pair = Pair(scene, tmp_path, {"objects_parquet": "found/objects.parquet"}, (Window(0, 0, grid.shape),))

    metrics = evaluate(Trees(), [pair], split="test", settings=Evaluation(), work=work_in(tmp_path))["metrics"]

    reference = MeanAveragePrecision(max_detection_thresholds=[1, 10, 1000])
    boxes, trees = (torch.tensor(sides[:, [1, 0, 3, 2]]) for sides in (guess, truth))
    none = torch.zeros(len(truth), dtype=torch.int64)
    reference.update([{"boxes": boxes, "scores": torch.tensor(scores), "labels": none}], [{"boxes": trees, "labels": none}])
    expected = reference.compute()
    assert metrics["map50"] == pytest.approx(float(expected["map_50"]), abs=1e-6)
    assert metrics["map75"] == pytest.approx(float(expected["map_75"]), abs=1e-6)
    assert metrics["map50"] > metrics["baseline_map50"]


def test_objects_on_pixels_that_were_not_measured_are_neither_missed_nor_false(world: World, tmp_path: Path) -> None:
    boxes = np.array([[10.0, 10, 30, 30], [100, 100, 120, 120], [200, 10, 220, 30], [200, 60, 220, 80]])
    found = detections(
        np.vstack([boxes[:2], [[200, 200, 220, 220]], [[10, 300, 30, 320]]]), np.zeros(4, int), np.array([0.9, 0.8, 0.7, 0.6])
    )
    pair = world("a", (boxes, ["car"] * 4), found)
    with rasterio.open(tmp_path / "a.tif") as file:
        pixels = file.read()
    pixels[:, 190:230, :] = 0
    write_image(tmp_path / "a.tif", pixels, grid=GRID, nodata=0)

    seen = meeting(pair, Terms(NAMES))

    assert seen is not None
    assert seen.truth.aside.tolist() == [False, False, True, True]
    assert seen.found.aside.tolist() == [False, False, True, False]
    assert seen.void.tolist() == [0, 0, 400, 0]
    metrics = evaluate(Fleet(), [pair], split="test", settings=Evaluation(), work=work_in(tmp_path), thresholds={"car": 0.5})["metrics"]
    assert (metrics["recall"], metrics["precision"]) == (1.0, pytest.approx(2 / 3))
