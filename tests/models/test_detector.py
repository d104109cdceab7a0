"""Detectors learn from boxes in geohydra's order, and answer in it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch

from geohydra.bundle import Card, load_model, write_model
from geohydra.errors import ConfigError
from geohydra.models.anchors import fit
from geohydra.models.detector import Detector, FasterRcnn, Fcos, MaskRcnn, RetinaNet
from geohydra.models.detector_network import left_out
from geohydra.models.fcos import Cells, matched
from geohydra.models.turns import corners_from, turns_of

NAN = math.nan
KINDS = [Fcos, RetinaNet, FasterRcnn, MaskRcnn]


def batch() -> dict[str, torch.Tensor]:
    """Two objects in the first image, none in the second."""
    ids = torch.zeros(2, 64, 64, dtype=torch.int32)
    ids[0, 10:30, 8:20], ids[0, 40:50, 30:60] = 1, 2
    return {
        "boxes": torch.tensor([[[10.0, 8, 30, 20], [40, 30, 50, 60]], [[NAN] * 4] * 2]),
        "classes": torch.tensor([[0, 1], [-1, -1]]),
        "ignored": torch.tensor([[[0.0, 0, 5, 64]], [[NAN] * 4]]),
        "ids": ids,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_losses_while_training_and_both_where_the_truth_is_told(kind: type[Detector]) -> None:
    torch.manual_seed(0)
    network = kind(encoder="resnet10t").build(channels=5, classes=2)  # type: ignore[call-arg]
    images = torch.randn(2, 5, 64, 64)

    learnt = network.train()(images, batch())
    torch.stack([value.reshape(()) for value in learnt.losses.values()]).sum().backward()
    with torch.inference_mode():
        told, blind = network.eval()(images, batch()), network(images)

    assert learnt.found == []
    assert set(told.losses) == set(learnt.losses)
    assert all(math.isfinite(float(value)) for value in told.losses.values())
    assert blind.losses == {}
    assert len(blind.found) == 2
    assert all(torch.equal(one["boxes"], other["boxes"]) for one, other in zip(told.found, blind.found, strict=True))
    assert any(value.grad is not None and bool(value.grad.abs().sum() > 0) for value in network.encoder.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_learns_one_image_by_heart_rows_before_columns(kind: type[Detector]) -> None:
    torch.manual_seed(0)
    targets = batch()
    model = kind(encoder="resnet10t", strides=[4, 8])  # type: ignore[call-arg]
    network = kind(**_fitted(model, targets), encoder="resnet10t", strides=[4, 8]).build(channels=3, classes=2)  # type: ignore[call-arg]
    images = 0.1 * torch.randn(2, 3, 64, 64)
    images[0, 0, 10:30, 8:20] += 2
    images[0, 1, 40:50, 30:60] += 2
    steps = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(100):
        loss = torch.stack([value.reshape(()) for value in network.train()(images, targets).losses.values()]).sum()
        steps.zero_grad()
        loss.backward()
        steps.step()

    with torch.inference_mode():
        first, second = network.eval()(images).found

    best = torch.stack([(first["classes"] == number).nonzero()[0, 0] for number in (0, 1)])
    assert (first["scores"][best] > 0.5).all()
    assert torch.allclose(first["boxes"][best], targets["boxes"][0], atol=4)
    assert not (second["scores"] > 0.5).any()


def _fitted(model: Detector, targets: dict[str, torch.Tensor]) -> dict[str, object]:
    fitted = getattr(model, "fitted", None)
    return dict(fitted([{"boxes": targets["boxes"].numpy()}])) if fitted else {}


def test_a_bundle_answers_as_the_network_did_with_its_encoder_folded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    node = {"_target_": "geohydra.models.detector.Fcos", "encoder": "resnet10t", "weights": None}
    network = Fcos(encoder="resnet10t").build(channels=2, classes=1).eval()
    task = {"_target_": "geohydra.tasks.detection.Detection", "classes": ["car"]}
    known = {band: {"mean": 0.0, "std": 1.0} for band in ("a", "b")}
    write_model(tmp_path / "model", network, Card(task, node, ("a", "b"), ("car",), known, (64, 64), stride=16))
    images = torch.randn(2, 2, 64, 64)

    trained = load_model(tmp_path / "model", device="cpu")

    with torch.inference_mode():
        expected = network(images).found
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in trained.network.modules())
    for one, other in zip(trained.infer(images).found, expected, strict=True):
        assert torch.allclose(one["scores"][:20], other["scores"][:20], atol=1e-4)


def test_weights_of_an_encoder_begin_a_detector_of_other_bands(tmp_path: Path) -> None:
    first = Fcos(encoder="resnet10t").build(channels=3, classes=1)
    torch.save(first.encoder.state_dict(), tmp_path / "encoder.pt")

    second = Fcos(encoder="resnet10t", weights=str(tmp_path / "encoder.pt")).build(channels=4, classes=7)

    name = next(name for name, value in first.encoder.named_parameters() if value.ndim == 4 and value.shape[1] > 4)
    assert torch.equal(dict(first.encoder.named_parameters())[name], dict(second.encoder.named_parameters())[name])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"encoder": "resnet_of_nobody"}, "timm has no"),
        ({"encoder": "resnet10t", "strides": [64, 128]}, "no features of stride 64"),
        ({"strides": [4, 16]}, "do not double"),
    ],
)
def test_what_cannot_be_built_is_told(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Fcos(**settings).build(channels=3, classes=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("centre", [8.0, 20.0, 60.0])
def test_anchors_follow_the_boxes(centre: float) -> None:
    rng = np.random.default_rng(0)
    sides = centre * np.exp(rng.normal(0, 0.4, (500, 2)))
    boxes = np.concatenate([np.zeros((500, 2)), sides], axis=1)

    sizes, ratios = fit([boxes[:250][None], boxes[250:], np.full((3, 4), np.nan)], strides=[4, 8, 16])

    flat = np.array(sizes).ravel()
    assert (np.diff(flat) > 0).all()
    assert len(sizes) == 3
    tall = np.array([[size * np.sqrt(ratio), size / np.sqrt(ratio)] for size in flat for ratio in ratios])
    shared = np.minimum(sides[:, None], tall[None]).prod(-1)
    best = (shared / (sides.prod(1)[:, None] + tall.prod(1)[None] - shared)).max(1)
    assert best.mean() > 0.7
    assert (best > 0.4).mean() > 0.97


def test_small_objects_are_left_to_the_finest_cells() -> None:
    cars, houses = np.full((300, 2), 7.0), np.full((100, 2), 27.0)
    boxes = np.concatenate([np.zeros((400, 2)), np.concatenate([cars, houses])], axis=1)

    sizes, _ = fit([boxes], strides=[4, 8, 16])

    assert sizes[0] == [pytest.approx(7.0), pytest.approx(7.84)]
    assert sizes[1] == [pytest.approx(27.0), pytest.approx(30.24)]
    assert min(sizes[2]) > 2.7 * 16


def test_without_boxes_anchors_are_those_of_any_detector() -> None:
    sizes, ratios = fit([np.empty((0, 4))], strides=[4, 8])

    assert sizes == [[8, 12], [16, 24]]
    assert ratios == [0.5, 1, 2]


def test_each_object_has_a_cell_that_learns_it_and_ignored_ground_teaches_nothing() -> None:
    steps = torch.arange(16) * 4.0 + 2
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    count = x.numel()
    cells = Cells(torch.stack([x.flatten(), y.flatten()], 1), torch.full((count,), 4.0), torch.zeros(count), torch.full((count,), 99.0))
    boxes = torch.tensor([[9.0, 9, 11, 11], [20, 20, 40, 40], [28, 28, 33, 33]])

    found = matched(cells, boxes, left_out(cells.middles, {"ignored": torch.tensor([[48.0, 48, 64, 64]])}))

    assert set(found.tolist()) == {-2, -1, 0, 1, 2}
    assert (found.view(16, 16)[12:, 12:] == -2).all()
    assert (found == -2).sum() == 16
    assert found.view(16, 16)[7, 7] == 2


def test_turned_boxes_are_told_without_loss() -> None:
    angles = torch.linspace(0, 2 * math.pi, 97)
    for long, short in ((20.0, 8.0), (10.0, 10.0), (30.0, 2.0)):
        along = torch.stack([angles.cos(), angles.sin()], 1) * long / 2
        across = torch.stack([-angles.sin(), angles.cos()], 1) * short / 2
        corners = torch.stack([-along - across, along - across, along + across, across - along], 1) + 50

        again = corners_from(torch.cat([corners.amin(1), corners.amax(1)], 1), turns_of(corners))

        one, other = shapely.polygons(corners.double().numpy()), shapely.polygons(again.double().numpy())
        overlap = shapely.area(shapely.intersection(one, other)) / shapely.area(shapely.union(one, other))
        assert overlap.min() > 0.98


def test_turns_do_not_jump() -> None:
    def turn(angle: float) -> torch.Tensor:
        along = torch.tensor([math.cos(angle), math.sin(angle)]) * 10
        across = torch.tensor([-math.sin(angle), math.cos(angle)]) * 4
        return turns_of(torch.stack([-along - across, along - across, along + across, across - along])[None])[0]

    steps = [turn(angle) for angle in np.linspace(0, 2 * math.pi, 721)]

    assert max(float((one - other).abs().max()) for one, other in itertools.pairwise(steps)) < 0.04


@pytest.mark.slow
def test_fcos_learns_how_objects_are_turned() -> None:
    torch.manual_seed(0)
    corners = torch.tensor([[[20.0, 8], [30, 25], [24, 29], [14, 12]], [[40, 40], [40, 60], [50, 60], [50, 40]]])
    shapes = [shapely.polygons(one.double().numpy()) for one in corners]
    rows, cols = np.mgrid[:64, :64] + 0.5
    images = 0.1 * torch.randn(1, 2, 64, 64)
    for place, shape in enumerate(shapes):
        images[0, place] += 2 * torch.from_numpy(shapely.contains_xy(shape, rows, cols)).float()
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    targets = {"boxes": boxes[None], "classes": torch.tensor([[0, 1]]), "corners": corners[None]}
    network = Fcos(encoder="resnet10t", strides=[4, 8]).build(channels=2, classes=2, oriented=True)
    steps = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(120):
        loss = torch.stack(list(network.train()(images, targets).losses.values())).sum()
        steps.zero_grad()
        loss.backward()
        steps.step()

    (found,) = network.eval()(images).found

    for number, shape in enumerate(shapes):
        best = int((found["classes"] == number).nonzero()[0, 0])
        other = shapely.polygons(found["corners"][best].detach().double().numpy())
        assert shape.intersection(other).area / shape.union(other).area > 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_measured_teaches_no_background(kind: type[Detector]) -> None:
    """The losses do not change with what a detector says where nothing was measured, but they do where something was."""
    torch.manual_seed(0)
    network = kind(encoder="resnet10t").build(channels=3, classes=2).eval()  # type: ignore[call-arg]
    images, truth = torch.randn(2, 3, 64, 64), batch()
    valid = torch.ones(2, 64, 64, dtype=torch.bool)
    valid[1] = False

    with torch.inference_mode():
        whole, part = network(images, truth), network(images, {**truth, "valid": valid})
        ignored = truth["ignored"].clone()
        ignored[1, 0] = torch.tensor([0.0, 0, 64, 64])
        aside = network(images, {**truth, "ignored": ignored})

    for name, loss in part.losses.items():
        assert torch.isfinite(loss).all()
        torch.testing.assert_close(loss, aside.losses[name])
    assert any(not torch.allclose(loss, whole.losses[name]) for name, loss in part.losses.items())
