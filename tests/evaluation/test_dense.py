"""Predictions of whole scenes against their labels: tables, pictures and headline metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from geohydra.evaluation.dense import evaluate
from geohydra.evaluation.settings import Evaluation
from geohydra.raster.write import CogWriter, write_image
from geohydra.task import Pair
from geohydra.types import IGNORE, Asset, Grid, LabelAsset, Scene, Shape, Window
from geohydra.work import Resources, Work

NAMES = ("land", "water")
SHAPE = Shape(300, 400)


class Waters:
    """A task of two classes."""

    classes = NAMES
    colors: dict[str, str] = {}  # noqa: RUF012
    background = "land"

    def truth(self, ground: Any, window: Window) -> NDArray[np.uint8]:
        mask: NDArray[np.uint8] = ground.mask(window, ids={"water": 1}, background=0)
        return mask


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., tuple[Pair, NDArray[Any], NDArray[Any]]]:
    def make(name: str, seed: int, *, windows: tuple[Window, ...] = (Window(0, 0, SHAPE),), labelled: bool = True) -> Any:
        draw = np.random.default_rng(seed)
        grid = Grid("EPSG:32633", (2, 0, 500_000, 0, -2, 5_000_000), SHAPE)
        water = draw.random((300, 400)) < 0.3
        level = np.clip(90 * draw.random((300, 400)) + 120 * water, 0, 254).astype(np.uint8)
        folder = tmp_path / "predictions"
        (folder / name).mkdir(parents=True)
        write_image(tmp_path / f"{name}.tif", draw.integers(1, 255, (3, 300, 400)).astype(np.uint8), grid=grid)
        write_image(tmp_path / f"{name}-labels.tif", np.where(water, 7, 3).astype(np.uint8)[None], grid=grid)
        guess = (level > 127).astype(np.uint8)
        guess[:10] = IGNORE
        write_image(folder / name / "classes.tif", guess[None], grid=grid, nodata=IGNORE)
        with CogWriter(folder / name / "probabilities.tif", grid=grid, bands=2, dtype="uint8", nodata=255.0) as writer:
            writer.write(0, np.where(guess == IGNORE, 255, np.stack([254 - level, level])).astype(np.uint8))
        labels = LabelAsset(str(tmp_path / f"{name}-labels.tif"), "raster", {7: "water"}) if labelled else None
        scene = Scene(name, grid, (Asset(str(tmp_path / f"{name}.tif"), ("r", "g", "b"), (1, 2, 3), "uint8"),), labels)
        row = {"scene": name, "classes": f"{name}/classes.tif", "probabilities": f"{name}/probabilities.tif"}
        return Pair(scene, folder, row, windows), water, level

    return make


def work_in(folder: Path) -> Work:
    return Work({}, folder / "work", Resources())


def table(work: Work, name: str) -> dict[str, list[Any]]:
    return dict(pq.read_table(work.report.folder / "tables" / f"{name}.parquet").to_pydict())


def test_headline_metrics_equal_scikit_learn_over_the_windows_of_the_split(world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    windows = (Window(0, 0, Shape(150, 400)), Window(200, 100, Shape(100, 100)))
    pair, water, level = world("a", 1, windows=windows)
    inside = np.zeros((300, 400), bool)
    for window in windows:
        inside[window.slices] = True
    inside[:10] = False
    truth, guess, chance = water[inside], level[inside] > 127, level[inside]
    work = work_in(tmp_path)
    found = evaluate(Waters(), [pair], split="test", settings=Evaluation(), work=work)
    ours = found["metrics"]

    assert ours["iou/water"] == pytest.approx(sk.jaccard_score(truth, guess))
    assert ours["iou"] == pytest.approx(sk.jaccard_score(truth, guess, average="macro"))
    assert ours["f1"] == pytest.approx(sk.f1_score(truth, guess, average="macro"))
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(truth, guess))
    assert ours["average_precision/water"] == pytest.approx(sk.average_precision_score(truth, chance))
    assert ours["auroc/water"] == pytest.approx(sk.roc_auc_score(truth, chance))
    assert ours["baseline_accuracy"] == pytest.approx(1 - truth.mean())
    assert 0.3 < found["thresholds"]["water"] < 0.6
    assert table(work, "confusion_matrix")["water"] == [int((~truth & guess).sum()), int((truth & guess).sum())]


def test_everything_that_is_shown_is_there(world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pairs = [world(name, seed)[0] for seed, name in enumerate("abc")]
    work = work_in(tmp_path)
    evaluate(Waters(), pairs, split="test", settings=Evaluation(examples=4, maps=2), work=work)
    report = work.report.folder
    tables = {path.stem for path in (report / "tables").iterdir()}
    figures = {path.stem for path in (report / "figures").iterdir()}

    assert tables == {"confusion_matrix", "per_class", "per_scene", "pr_curve", "roc_curve", "thresholds"}
    assert figures == {"confusion_matrix", "iou_by_class", "curves", "examples", "map_a", "map_b"}
    assert table(work, "per_scene")["scene"] == ["a", "b", "c"]
    assert json.dumps(table(work, "per_class"))


def test_only_the_headline_split_has_bare_names(world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    work = work_in(tmp_path)
    evaluate(Waters(), [world("a", 1)[0]], split="val", settings=Evaluation(curves=False, maps=0, examples=0), work=work)

    assert {path.stem for path in (work.report.folder / "tables").iterdir()} == {"val_confusion_matrix", "val_per_class", "val_per_scene"}


def test_scenes_without_labels_do_not_count(world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pairs = [world("a", 1)[0], world("b", 2, labelled=False)[0]]
    work = work_in(tmp_path)
    evaluate(Waters(), pairs, split="test", settings=Evaluation(), work=work)

    assert table(work, "per_scene")["scene"] == ["a"]


def test_nothing_to_compare_is_said_and_gives_no_number(world, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    pair, _, _ = world("a", 1, windows=())

    assert evaluate(Waters(), [pair], split="test", settings=Evaluation(), work=work_in(tmp_path)) == {"metrics": {}, "thresholds": {}}
    assert "no pixel has both a label and a prediction" in capsys.readouterr().out
