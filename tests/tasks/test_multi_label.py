"""Several labels a pixel or a chip, in the tasks that know them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rio_cogeo import cog_validate

from geohydra.build import build, problems
from geohydra.evaluation.settings import Evaluation
from geohydra.models.classifier import Classifier
from geohydra.models.smp import SmpModel
from geohydra.prediction.settings import Prediction
from geohydra.raster.write import write_image
from geohydra.task import Pair, Task
from geohydra.tasks.classification import Classification
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.training.losses import CrossEntropy
from geohydra.types import IGNORE, Asset, Grid, Image, LabelAsset, Scene, Shape, Window
from geohydra.work import Resources, Work

NAMES = ["water", "road"]
WINDOW = Window(0, 0, Shape(2, 3))


class Crossing:
    """Ground on which a road crosses water: one pixel is of both."""

    grid = Grid("EPSG:32633", (1, 0, 0, 0, -1, 0), Shape(2, 3))
    names = ((("water",), ("water", "road"), ()), (("water",), ("?",), ()))

    def mask(self, window: Window, *, ids: Mapping[str, int], background: int) -> NDArray[np.uint8]:
        rows = [[[ids[name] for name in pixel if name in ids] or [background] for pixel in row] for row in self.names]
        return np.array([[max(found) for found in row] for row in rows], np.uint8)


def semantic(**options: Any) -> SemanticSegmentation:
    return SemanticSegmentation(classes=NAMES, multi_label=True, **options)


def test_both_are_tasks() -> None:
    assert isinstance(semantic(), Task)
    assert isinstance(Classification(classes=NAMES, multi_label=True), Task)


def test_each_class_has_a_layer_of_its_own() -> None:
    mask = semantic(ignore=["?"]).target(Crossing(), WINDOW)["mask"]  # type: ignore[arg-type]

    assert mask.tolist() == [[[1, 1, 0], [1, IGNORE, 0]], [[0, 1, 0], [0, IGNORE, 0]]]


def test_without_a_background_pixels_of_no_class_are_unknown() -> None:
    mask = semantic(background=None).target(Crossing(), WINDOW)["mask"]  # type: ignore[arg-type]

    assert (mask[:, 0, 2] == IGNORE).all()
    assert mask[:, 0, 0].tolist() == [1, 0]


@pytest.mark.parametrize(("least", "found"), [(0.0, [1, 1]), (0.3, [1, 0]), (0.9, [0, 0])])
def test_a_chip_is_of_every_class_that_covers_enough_of_it(least: float, found: list[int]) -> None:
    task = Classification(classes=NAMES, multi_label=True, min_share=least, background="none", ignore=["?"])

    assert task.target(Crossing(), WINDOW)["label"].tolist() == found  # type: ignore[arg-type]


def test_a_chip_of_no_class_is_unknown_without_a_background() -> None:
    task = Classification(classes=NAMES, multi_label=True, min_share=0.9)

    assert task.target(Crossing(), WINDOW)["label"].tolist() == [IGNORE, IGNORE]  # type: ignore[arg-type]


def test_whole_chips_may_have_several_labels() -> None:
    from geohydra.ground import WholeGround

    ground: Any = WholeGround(["water", "road"], Crossing.grid)
    task = Classification(classes=["field", "road", "water"], multi_label=True)

    assert task.target(ground, WINDOW)["label"].tolist() == [0, 1, 1]
    assert task.truth(ground, Window(0, 0, Shape(1, 1)), cell=Shape(2, 3)).tolist() == [[[0]], [[1]], [[1]]]


def test_one_class_is_enough_and_has_one_output() -> None:
    task = SemanticSegmentation(classes=["water"], multi_label=True)

    network = task.network(SmpModel(encoder="mobilenet_v2", depth=3), channels=3)

    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)
    assert task.classes == ("water",)
    with pytest.raises(Exception, match="one class leaves nothing to tell apart"):
        SemanticSegmentation(classes=["water"], background=None)


def test_what_was_not_measured_changes_neither_loss_nor_scores() -> None:
    task, loss = semantic(), CrossEntropy().build({"water": 0.5, "road": 0.5})
    mask = torch.randint(0, 2, (2, 2, 4, 4), dtype=torch.uint8)
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[:, :2] = False
    batch = {"image": torch.zeros(2, 3, 4, 4), "valid": valid, "mask": mask}
    outputs = torch.randn(2, 2, 4, 4)
    changed = torch.where(valid[:, None], outputs, -outputs)
    values = []
    for given in (outputs, changed):
        scores = task.scores()
        scores.update(given, batch)
        values.append((float(task.loss(loss, given, batch)), scores.compute()))

    assert values[0][0] == pytest.approx(values[1][0])
    assert values[0][1] == values[1][1]


def test_chips_are_learnt_with_all_their_labels() -> None:
    task = Classification(classes=NAMES, multi_label=True)
    network = task.network(Classifier(encoder="resnet10t"), channels=3)
    label = torch.tensor([[1, 1], [0, 1], [IGNORE, IGNORE]], dtype=torch.uint8)
    batch = {"image": torch.randn(3, 3, 32, 32), "valid": torch.ones(3, 32, 32, dtype=torch.bool), "label": label}
    outputs = network(batch["image"]).detach()

    value = task.loss(CrossEntropy().build({"water": 0.5, "road": 0.5}), outputs, batch)
    review = task.review()
    review.update(outputs, batch)

    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs[:2], label[:2].float())
    assert torch.allclose(value, expected)
    assert set(review.thresholds) <= set(NAMES)


class Bright:
    """A trained network: each label is how bright its band is."""

    bands = ("a", "b")
    device = "cpu"

    def __init__(self, **details: Any) -> None:
        self.details = details

    def normalise(self, image: Image) -> NDArray[np.float32]:
        return np.where(image.valid, image.pixels, 0).astype(np.float32) / 255

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.logit(batch.clamp(0.001, 0.999))

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.infer(torch.from_numpy(batch)).numpy()


class BrightChips(Bright):
    """The same for whole images."""

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.logit(batch.mean((2, 3)).clamp(0.001, 0.999))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    draw = np.random.default_rng(0)
    grid = Grid("EPSG:32633", (2, 0, 500_000, 0, -2, 5_000_000), Shape(60, 50))
    pixels = np.kron(draw.integers(1, 255, (2, 6, 5)), np.ones((10, 10))).astype(np.uint8)
    pixels[:, :10, :10] = 0
    write_image(tmp_path / "scene.tif", pixels, grid=grid, nodata=0)
    write_image(tmp_path / "labels.tif", (pixels[0] > 127).astype(np.uint8)[None], grid=grid)
    labels = LabelAsset(str(tmp_path / "labels.tif"), "raster", {1: "water"})
    return Scene("scene", grid, (Asset(str(tmp_path / "scene.tif"), ("a", "b"), (1, 2), "uint8", 0.0),), labels)


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_maps_have_a_band_of_0_and_1_for_each_class_by_its_threshold(tmp_path: Path, scene: Scene, overlap: float) -> None:
    trained = Bright(thresholds={"water": 0.3})
    settings = Prediction(window=32, overlap=overlap, uncertainty="entropy")

    row = semantic().predict(scene, trained, settings, tmp_path / "out" / "scene", Work({}, tmp_path / "work", Resources()))

    pixels = rasterio.open(tmp_path / "scene.tif").read()
    valid, errors, _ = cog_validate(str(tmp_path / "out" / row["classes"]))
    assert valid, errors
    with rasterio.open(tmp_path / "out" / row["classes"]) as dataset:
        assert dataset.descriptions == ("water", "road")
        assert dataset.nodata == IGNORE
        found = dataset.read()
    known = pixels[0] > 0
    assert (found[0][known] == (pixels[0][known] >= 0.3 * 255)).all()
    assert (found[1][known] == (pixels[1][known] >= 0.5 * 255)).all()
    assert (found[:, ~known] == IGNORE).all()
    assert row["share/road"] == pytest.approx((found[1] == 1).sum() / known.sum())
    shapes = geopandas.read_parquet(tmp_path / "out" / row["polygons_parquet/road"])
    assert shapes.area.sum() == pytest.approx(4 * (found[1] == 1).sum())
    assert set(shapes["class"]) == {"road"}
    assert shapes["score"].between(0.49, 1).all()


def test_evaluation_holds_maps_against_each_class(tmp_path: Path, scene: Scene) -> None:
    work, task = Work({}, tmp_path / "work", Resources()), semantic()
    row = task.predict(scene, Bright(), Prediction(window=32), tmp_path / "out" / "scene", work)
    pair = Pair(scene, tmp_path / "out", row, (Window(0, 0, Shape(60, 25)),))

    found = task.evaluate([pair], split="test", settings=Evaluation(), work=work)

    assert found["metrics"]["f1/water"] == found["metrics"]["average_precision/water"] == 1
    assert found["metrics"]["recall"] == pytest.approx(0.5)
    tables = {path.stem for path in (work.report.folder / "tables").iterdir()}
    assert {"per_class", "per_scene", "pr_curve", "thresholds"} <= tables


def test_cells_tell_their_classes_and_scores(tmp_path: Path, scene: Scene) -> None:
    task = Classification(classes=NAMES, multi_label=True, background="none")
    work = Work({}, tmp_path / "work", Resources())

    row = task.predict(scene, BrightChips(chip=(10, 10)), Prediction(tta="d4"), tmp_path / "out" / "scene", work)

    cells = geopandas.read_parquet(tmp_path / "out" / row["cells_parquet"])
    assert len(cells) == 29
    assert {"classes", "water", "road", "score_water", "score_road"} <= set(cells.columns)
    told = [", ".join(name for name in NAMES if cell[name]) for _, cell in cells.iterrows()]
    assert cells["classes"].tolist() == told
    assert (cells["water"] == (cells["score_water"] >= 0.5)).mean() > 0.95
    pair = Pair(scene, tmp_path / "out", row, (Window(0, 0, Shape(60, 50)),))
    assert task.evaluate([pair], split="test", settings=Evaluation(), work=work)["metrics"]["f1/water"] == 1


def test_a_loss_for_several_labels_is_refused_for_one() -> None:
    loss = build({"_target_": "geohydra.training.losses.AsymmetricFocal"}, where="loss")

    assert [str(error) for error in loss.check({"task": semantic()})] == []
    assert "task.multi_label=true" in str(next(loss.check({"task": SemanticSegmentation(classes=NAMES)})))
    assert problems({"_target_": "geohydra.training.losses.AsymmetricFocal", "margin": 2}, where="loss")
