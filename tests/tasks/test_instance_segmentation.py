"""What instance segmentation says for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import torch

from geohydra.chips.augment import Augment
from geohydra.errors import GeohydraError
from geohydra.models.coarse import EncoderHead
from geohydra.models.detector import Fcos, MaskRcnn
from geohydra.models.smp import SmpModel
from geohydra.prediction.parts import objects_of
from geohydra.prediction.settings import Prediction
from geohydra.task import Answering, Rows, Task
from geohydra.tasks.instance_segmentation import InstanceSegmentation
from geohydra.training.criteria import CrossEntropyLoss
from geohydra.training.instance_losses import Parts
from geohydra.training.losses import CrossEntropy, Dice, Sum
from geohydra.training.settings import Training
from geohydra.types import IGNORE, Grid, Shape, Window
from geohydra.vector.labels import VectorGround
from geohydra.vector.polygons import Polygons

GRID = Grid("EPSG:32633", (1, 0, 0, 0, -1, 100), Shape(100, 120))
WHOLE = Window(0, 0, Shape(64, 96))


@pytest.fixture
def ground(tmp_path: Path) -> VectorGround:
    """Three houses wall to wall, a shed, a field below them, and ground of which nothing is known."""
    shapes = [("field", shapely.box(0, 20, 110, 100))]
    shapes += [("house", shapely.box(10 + 12 * place, 70, 22 + 12 * place, 90)) for place in range(3)]
    shapes += [("shed", shapely.box(70, 60, 74, 64)), ("house", shapely.box(80, 70, 130, 95))]
    frame = geopandas.GeoDataFrame({"class": [name for name, _ in shapes]}, geometry=[shape for _, shape in shapes], crs=GRID.crs)
    frame.to_parquet(tmp_path / "labels.parquet")
    geopandas.GeoDataFrame({"class": ["no"]}, geometry=[shapely.box(0, 40, 20, 75)], crs=GRID.crs).to_parquet(tmp_path / "no.parquet")
    return VectorGround(str(tmp_path / "labels.parquet"), GRID, ignored=Polygons(str(tmp_path / "no.parquet"), GRID))


def task(**options: Any) -> InstanceSegmentation:
    return InstanceSegmentation(classes=["house", "shed"], **options)


def batch_of(target: Any, count: int = 1) -> dict[str, torch.Tensor]:
    """A batch of one chip, as the dataset makes it."""
    arrays = {name: part.values if isinstance(part, Rows) else part for name, part in target.items()}
    batch = {name: torch.from_numpy(np.stack([values] * count)) for name, values in arrays.items()}
    rows, cols = target["mask"].shape
    return batch | {"image": torch.zeros(count, 3, rows, cols), "valid": torch.ones(count, rows, cols, dtype=torch.bool)}


def knowing(target: Any, classes: int = 3) -> torch.Tensor:
    """Outputs of a network that knows."""
    mask = torch.from_numpy(np.where(target["mask"] == IGNORE, 0, target["mask"])).long()
    sure = 20 * torch.nn.functional.one_hot(mask, classes).permute(2, 0, 1).float()
    border = 40 * torch.from_numpy(target["border"]).float() - 20
    depth = torch.from_numpy(target["depth"]).float() / 255
    return torch.cat([sure, border[None], torch.logit(depth, eps=1e-7)[None]])[None]


def test_it_is_a_task() -> None:
    assert isinstance(task(), Task)
    assert isinstance(task(), Answering)


def test_a_target_tells_objects_apart_that_touch(ground: VectorGround) -> None:
    target = task(border=2).target(ground, WHOLE)

    ids, mask, border, depth = (target[name] for name in ("ids", "mask", "border", "depth"))
    assert len(np.unique(ids)) == 6
    assert (ids[10:30, 22:34] == ids[15, 25]).all()
    assert border[20, 20:25].tolist() == [1, 1, 1, 1, 0]
    assert depth[20, 21] < depth[20, 16] == 255
    assert mask[12, 30] == 1
    assert mask[37, 71] == 2
    assert mask[5, 50] == 0
    assert mask[30, 5] == IGNORE
    assert ((ids > 0) <= (np.isin(mask, [1, 2, IGNORE]))).all()


def test_rows_of_a_target_are_the_boxes_and_classes_of_the_numbers_in_it(ground: VectorGround) -> None:
    target = task().target(ground, WHOLE)

    ids, boxes, kinds = target["ids"], target["boxes"].values, target["classes"].values
    assert len(boxes) == len(kinds) == ids.max()
    for number, (top, left, bottom, right) in enumerate(boxes.astype(int), start=1):
        rows, cols = np.nonzero(ids == number)
        assert (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1) == (top, left, bottom, right)
    assert sorted(kinds.tolist()) == [0, 0, 0, 0, 1]


def test_the_edge_of_a_chip_is_no_edge_of_an_object_but_its_own_edge_beyond_is_seen(ground: VectorGround) -> None:
    near = task(depth=8).target(ground, Window(0, 85, Shape(64, 32)))
    cut = task(depth=8).target(ground, Window(14, 12, Shape(8, 8)))

    assert near["border"][20, -1] == 0
    assert near["depth"][20, -1] == 255
    assert cut["depth"][4, 0] == round(255 * 3 / 6)


def test_the_same_ground_gives_the_same_target_in_any_chip(ground: VectorGround) -> None:
    whole = task(depth=6).target(ground, Window(0, 0, Shape(64, 96)))
    part = task(depth=6).target(ground, Window(8, 16, Shape(32, 48)))

    for name in ("mask", "border", "depth"):
        assert (part[name] == whole[name][8:40, 16:64]).all(), name


def test_a_chip_without_objects_has_a_target_of_the_same_kind(ground: VectorGround) -> None:
    full, empty = (task().target(ground, window) for window in (WHOLE, Window(80, 0, Shape(16, 16))))

    assert empty["boxes"].values.shape == (0, 4)
    for name in full:
        first, second = (part.values if isinstance(part, Rows) else part for part in (full[name], empty[name]))
        assert first.dtype == second.dtype


def test_a_network_that_knows_loses_nothing_and_finds_every_object(ground: VectorGround) -> None:
    this = task()
    target = this.target(ground, WHOLE)
    batch, outputs = batch_of(target), knowing(target)
    loss = Parts(classes=Sum(parts=[CrossEntropy(), Dice()])).build(dict.fromkeys(this.classes, 0.3))
    scores, review = this.scores(), this.review()
    scores.update(outputs, batch)
    review.update(outputs, batch)

    assert float(this.loss(loss, outputs, batch)) < 1e-3
    assert float(this.loss(loss, -outputs, batch)) > 5
    assert scores.compute()[this.monitor] == pytest.approx(1, abs=0.03)
    assert review.compute()["f1"] == 1


def test_any_loss_of_class_maps_will_do(ground: VectorGround) -> None:
    this = task()
    target = this.target(ground, WHOLE)

    assert float(this.loss(CrossEntropyLoss(None, smoothing=0.0), knowing(target), batch_of(target))) < 1e-3


def test_unknown_ground_does_not_count(ground: VectorGround) -> None:
    this = task()
    target = this.target(ground, WHOLE)
    batch, right = batch_of(target), knowing(target)
    wrong = torch.where((batch["mask"] == IGNORE)[:, None], -right, right)
    loss = CrossEntropyLoss(None, smoothing=0.0)

    assert float(this.loss(loss, right, batch)) == pytest.approx(float(this.loss(loss, wrong, batch)))


def test_objects_of_true_parts_are_the_true_objects(ground: VectorGround) -> None:
    from geohydra.prediction.parts import PartsDecision

    this = task()
    target = this.target(ground, WHOLE)

    ids, kinds = objects_of(PartsDecision(this.classes, {}).labels(knowing(target))[0], reach=this.reach)

    known = target["mask"] != IGNORE
    for number in range(1, int(target["ids"].max()) + 1):
        own = (target["ids"] == number) & known
        if own.sum() > 8:
            values, counts = np.unique(ids[own], return_counts=True)
            assert counts.max() / own.sum() > 0.95
            assert kinds[values[counts.argmax()]] == 1 + target["classes"].values[number - 1]


def test_chips_can_be_warped(ground: VectorGround) -> None:
    target = task().target(ground, Window(0, 0, Shape(64, 64)))
    augment = Augment(transforms=[{"Affine": {"rotate": 30, "p": 1.0}}, {"HorizontalFlip": None}])
    masks = {name: target[name] for name in ("mask", "ids", "border", "depth")}

    _, changed = augment(np.zeros((3, 64, 64), np.uint8), masks, key=(0, 0, 0))

    assert set(np.unique(changed["ids"])) <= set(np.unique(target["ids"]))
    assert changed["ids"].dtype == np.int16


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (SmpModel(), None),
        (MaskRcnn(), None),
        (Fcos(), "finds boxes, this task asks for the pixels of each object"),
        (EncoderHead(), "does not answer for every pixel"),
    ],
)
def test_models_that_do_not_suit_are_told(model: Any, problem: str | None) -> None:
    found: list[GeohydraError] = list(task().check({"model": model}))

    assert [error.problem for error in found] == ([problem] if problem else [])


def test_found_objects_are_not_averaged_and_outlines_are_always_written() -> None:
    detector = {"model": MaskRcnn(), "predict": Prediction(tta="flips"), "train": Training(keep_best=3)}
    dense = {"model": SmpModel(), "predict": Prediction(tta="flips", polygons=False), "train": Training(keep_best=3)}

    assert [error.where for error in task().check(detector)] == ["predict.tta", "train.keep_best"]
    assert [error.where for error in task().check(dense)] == ["predict.polygons"]


def test_networks_have_the_planes_that_are_learnt() -> None:
    network = task().network(SmpModel(depth=3, options={"decoder_channels": [16, 8, 8]}), channels=2)

    assert network(torch.zeros(1, 2, 32, 32)).shape == (1, 5, 32, 32)


def test_mask_rcnn_learns_from_the_same_chips(ground: VectorGround) -> None:
    this = task()
    batch = batch_of(this.target(ground, WHOLE))
    network = this.network(MaskRcnn(strides=[8, 16], channels=32), channels=3).eval()
    with torch.no_grad():
        outputs = this.answer(network, batch)
    scores = this.scores()
    scores.update(outputs, batch)

    assert float(this.loss(None, outputs, batch)) > 0
    assert "loss_mask" in outputs.losses
    assert 0 <= scores.compute()["pq"] <= 1
