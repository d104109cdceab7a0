"""What regression says for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rio_cogeo import cog_validate

from geohydra.build import build
from geohydra.config.compose import compose
from geohydra.errors import DataError
from geohydra.evaluation.settings import Evaluation
from geohydra.ground import open_ground
from geohydra.models.classifier import Classifier
from geohydra.models.scaled import ScaledNetwork
from geohydra.prediction.settings import Prediction
from geohydra.raster.write import write_image
from geohydra.task import Pair, Task
from geohydra.tasks.regression import Regression
from geohydra.types import Asset, Grid, Image, Scene, Shape, Window
from geohydra.work import Resources, Work

WHOLE = Window(0, 0, Shape(40, 50))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Imagery, and heights on a coarser grid with holes."""
    draw = np.random.default_rng(0)
    grid = Grid("EPSG:32633", (2, 0, 500_000, 0, -2, 5_000_000), Shape(40, 50))
    write_image(tmp_path / "image.tif", draw.integers(1, 255, (2, 40, 50)).astype(np.uint8), grid=grid, nodata=0)
    coarse = Grid("EPSG:32633", (4, 0, 500_000, 0, -4, 5_000_000), Shape(20, 25))
    heights = draw.normal(500, 50, (1, 20, 25)).astype(np.float32)
    heights[0, :3] = -9999
    write_image(tmp_path / "height.tif", heights, grid=coarse, nodata=-9999)
    image = Asset(str(tmp_path / "image.tif"), ("red", "nir"), (1, 2), "uint8", 0.0)
    height = Asset(str(tmp_path / "height.tif"), ("height",), (1,), "float32", -9999.0, resampling="nearest")
    return Scene("scene", grid, (image, height))


def test_it_is_a_task() -> None:
    assert isinstance(Regression(value="height"), Task)


def test_the_band_to_learn_becomes_the_ground(scene: Scene, tmp_path: Path) -> None:
    task = Regression(value="height")
    seen = task.view(scene)

    ground = open_ground(seen)
    assert ground is not None
    found: Any = task.target(ground, WHOLE)["value"]

    assert seen.bands == ("red", "nir")
    with rasterio.open(tmp_path / "height.tif") as dataset:
        expected = np.kron(dataset.read(1), np.ones((2, 2)))
    assert np.isnan(found[:6]).all()
    assert np.allclose(found[6:], expected[6:])
    assert (ground.known(WHOLE) == ~np.isnan(found)).all()
    with pytest.raises(DataError, match="tells no objects apart"):
        ground.objects(WHOLE)


def test_one_band_of_a_file_can_be_learnt_from_the_others(scene: Scene) -> None:
    seen = Regression(value="nir").view(scene)

    assert seen.bands == ("red", "height")
    assert seen.assets[0].indexes == (1,)
    assert seen.labels is not None
    assert seen.labels.measured[0].indexes == (2,)


def test_imagery_to_predict_need_not_have_it(scene: Scene) -> None:
    assert Regression(value="biomass").view(scene).labels is None


def test_imagery_of_that_band_alone_is_refused(scene: Scene) -> None:
    with pytest.raises(DataError, match="has no band but height"):
        Regression(value="height").view(Scene("s", scene.grid, scene.assets[1:]))


def test_a_model_or_loss_of_something_else_is_refused() -> None:
    loss = build({"_target_": "geohydra.training.losses.Dice"}, where="loss")

    found = [error.where for error in Regression(value="height").check({"model": Classifier(), "loss": loss})]

    assert found == ["model", "loss"]


@pytest.mark.parametrize(
    ("kind", "reference"), [("l1", torch.nn.L1Loss()), ("l2", torch.nn.MSELoss()), ("huber", torch.nn.HuberLoss(delta=1.0))]
)
def test_losses_are_torchs_and_do_not_see_what_is_unknown(kind: str, reference: Any) -> None:
    task, loss = Regression(value="height"), build({"_target_": "geohydra.training.value_losses.ValueLoss", "kind": kind}, where="loss")
    outputs, value = torch.randn(2, 1, 4, 4, requires_grad=True), 3 * torch.randn(2, 4, 4)
    valid = torch.rand(2, 4, 4) < 0.8
    value[0, 0] = float("nan")
    known = valid & ~value.isnan()

    found = task.loss(loss.build({}), outputs, {"value": value, "valid": valid})
    found.backward()

    assert torch.allclose(found, reference(outputs[:, 0][known], value[known]))
    assert outputs.grad is not None
    assert (outputs.grad[:, 0][~known] == 0).all()
    assert float(task.loss(loss.build({}), outputs, {"value": value * float("nan"), "valid": valid})) == 0


def test_a_network_learns_the_units_of_what_it_is_shown() -> None:
    network = ScaledNetwork(torch.nn.Conv2d(1, 1, 1))
    values = 1000 + 50 * torch.randn(5000, generator=torch.Generator().manual_seed(0))
    for part in values.split(700):
        network.learn(part)

    assert float(network.mean) == pytest.approx(float(values.double().mean()))
    assert float(network.deviation) == pytest.approx(float(values.double().std(correction=0)), rel=1e-5)
    again = ScaledNetwork(torch.nn.Conv2d(1, 1, 1))
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(torch.ones(1, 1, 2, 2)), network(torch.ones(1, 1, 2, 2)))


def test_only_training_changes_the_units() -> None:
    task, network = Regression(value="height"), ScaledNetwork(torch.nn.Conv2d(1, 1, 1))
    batch = {
        "image": torch.zeros(1, 1, 2, 2),
        "value": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]),
        "valid": torch.ones(1, 2, 2, dtype=torch.bool),
    }

    task.answer(network.eval(), batch)
    assert float(network.count) == 0
    task.answer(network.train(), batch)
    assert float(network.mean) == 2.5


class Double:
    """A trained network: twice the red."""

    bands = ("red",)
    device = "cpu"
    details: dict[str, Any] = {}  # noqa: RUF012

    def normalise(self, image: Image) -> NDArray[np.float32]:
        return np.where(image.valid, image.pixels, 0).astype(np.float32)

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        return 2 * batch

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.infer(torch.from_numpy(batch)).numpy()


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_maps_hold_values_and_are_compared(tmp_path: Path, scene: Scene, overlap: float) -> None:
    task, work = Regression(value="nir"), Work({}, tmp_path / "work", Resources())
    seen, settings = task.view(scene), Prediction(window=16, overlap=overlap, tta="flips", uncertainty="variance")

    row = task.predict(seen, Double(), settings, tmp_path / "out" / "scene", work)

    assert all(cog_validate(tmp_path / "out" / row[key])[0] for key in ("values", "uncertainty"))
    with rasterio.open(tmp_path / "image.tif") as image, rasterio.open(tmp_path / "out" / row["values"]) as dataset:
        pixels, found = image.read().astype(float), dataset.read(1)
        assert np.isnan(dataset.nodata)
        assert dataset.descriptions == ("nir",)
    assert np.allclose(found, 2 * pixels[0], rtol=1e-5)
    pair = Pair(seen, tmp_path / "out", row, (Window(0, 0, Shape(40, 25)),))
    metrics = task.evaluate([pair], split="test", settings=Evaluation(), work=work)["metrics"]
    assert metrics["mae"] == pytest.approx(np.abs(2 * pixels[0] - pixels[1])[:, :25].mean(), rel=1e-5)


@pytest.mark.parametrize("task", ["regression", "series_regression", "parcel_regression"])
@pytest.mark.parametrize("source", ["files", "chips", "stac", "frames", "pairs"])
def test_a_task_without_classes_takes_any_source(task: str, source: str) -> None:
    config = compose([f"task={task}", f"source={source}"]).config

    assert config["source"]["classes"] is None
