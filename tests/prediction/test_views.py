"""Windows that are asked about several times, and how unsure the answers are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rio_cogeo import cog_validate
from scipy.stats import entropy as reference_entropy

from geohydra.config.checking import check
from geohydra.config.compose import compose
from geohydra.errors import ConfigError
from geohydra.prediction.dense import Tiling, predict_scene
from geohydra.prediction.settings import Prediction
from geohydra.prediction.uncertainty import entropy, least_sure_entropy, least_sure_margin, margin
from geohydra.prediction.views import VIEWS, Asked
from geohydra.raster.write import write_image
from geohydra.types import PIXEL, Asset, Grid, Image, Scene, Shape
from geohydra.work import Resources, Work

NAMES = ("land", "water", "road")


class Small:
    """A trained network of a few weights."""

    bands = ("red",)
    device = "cpu"
    details: ClassVar[dict[str, Any]] = {}

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network.eval()
        self.batches: list[torch.Tensor] = []

    def normalise(self, image: Image) -> NDArray[np.float32]:
        return np.where(image.valid, image.pixels / 100 - 1, 0).astype(np.float32)

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(batch)
        with torch.inference_mode():
            outputs: torch.Tensor = self.network(batch)
            return outputs

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.infer(torch.from_numpy(batch)).numpy()


class Several(Small):
    """The same with a second network."""

    members = 2

    def __init__(self, network: torch.nn.Module, other: torch.nn.Module) -> None:
        super().__init__(network)
        self.other = other.eval()

    def each(self, batch: torch.Tensor) -> Any:
        yield self.network(batch).detach()
        yield self.other(batch).detach()


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Conv2d(1, 3, 3, padding=1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    draw = np.random.default_rng(0)
    pixels = draw.integers(1, 255, (1, 70, 50)).astype(np.uint8)
    pixels[0, :5, :7] = 0
    grid = Grid("EPSG:32633", (2, 0, 500_000, 0, -2, 5_000_000), Shape(70, 50))
    write_image(tmp_path / "scene.tif", pixels, grid=grid, nodata=0)
    return Scene("scene", grid, (Asset(str(tmp_path / "scene.tif"), ("red",), (1,), "uint8", 0.0),))


@pytest.fixture
def predict(scene: Scene, tmp_path: Path) -> Callable[..., Path]:
    def run(trained: Small, *, tiling: Tiling | None = None, **chosen: Any) -> Path:
        options = Prediction(**({"window": 32, "polygons": False, "probabilities": "float32"} | chosen))
        work = Work({}, tmp_path / "work", Resources())
        predict_scene(scene, trained, options, out=tmp_path / "out", work=work, classes=NAMES, tiling=tiling)
        return tmp_path / "out"

    return run


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read())


@pytest.mark.parametrize("turns", VIEWS)
def test_the_views_of_a_window_are_all_different_and_turn_back(turns: Any) -> None:
    trained = Small(torch.nn.Identity())
    image = torch.arange(16.0).reshape(1, 1, 4, 4)

    found = Asked(trained, views=VIEWS[turns], activation="none", spread=True).infer(image)

    assert len({tuple(batch.flatten().tolist()) for batch in trained.batches}) == len(VIEWS[turns])
    assert torch.equal(found[:, :1], image)
    assert torch.equal(found[:, 1:], torch.zeros_like(image))


def test_windows_that_are_not_square_are_mirrored_only() -> None:
    trained = Small(torch.nn.Identity())

    Asked(trained, views=VIEWS["d4"], activation="none", spread=False).infer(torch.zeros(1, 1, 2, 4))

    assert len(trained.batches) == 4


def test_turning_changes_nothing_for_a_network_that_is_symmetric(predict: Callable[..., Path]) -> None:
    torch.manual_seed(0)
    trained = Small(torch.nn.Conv2d(1, 3, 1))
    plain = read(predict(trained) / "probabilities.tif")

    assert np.allclose(read(predict(trained, tta="d4") / "probabilities.tif"), plain, atol=1e-5, equal_nan=True)


def test_the_answer_is_the_mean_of_the_turned_ones(predict: Callable[..., Path], scene: Scene) -> None:
    trained = Small(network())
    found = read(predict(trained, tta="flips", window=128, overlap=0) / "probabilities.tif")
    pixels = read(Path(scene.assets[0].uri))
    image = torch.from_numpy(trained.normalise(Image(pixels, pixels[0] > 0)))[None]
    image = torch.from_numpy(np.pad(image, ((0, 0), (0, 0), (0, 58), (0, 78)), mode="reflect"))
    turned = [trained.infer(image.flip(axes)).flip(axes).softmax(1) for axes in ((), (2,), (3,), (2, 3))]
    whole = torch.stack(turned).mean(0)[0, :, :70, :50].numpy()

    assert np.allclose(found[:, pixels[0] > 0], whole[:, pixels[0] > 0], atol=1e-5)


def test_one_answer_for_a_whole_image_is_averaged_as_well(predict: Callable[..., Path]) -> None:
    torch.manual_seed(0)
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(100, 3))
    found = read(predict(Small(head), tta="d4", uncertainty="variance", tiling=Tiling(Shape(10, 10), PIXEL, 0.0)) / "uncertainty.tif")

    assert found.shape == (1, 7, 5)
    assert (found > 0).all()


@pytest.mark.parametrize("blend", ["smooth", "center"])
@pytest.mark.parametrize("kind", ["entropy", "margin", "variance"])
def test_uncertainty_is_a_valid_cog_with_a_scale(predict: Callable[..., Path], scene: Scene, kind: str, blend: str) -> None:
    trained = Several(network(), network(1))
    out = predict(trained, uncertainty=kind, blend=blend, probabilities="uint8", tta="flips")

    assert cog_validate(out / "uncertainty.tif")[0]
    with rasterio.open(out / "uncertainty.tif") as dataset:
        assert dataset.nodata == 255
        assert dataset.dtypes == ("uint8",)
        assert dataset.descriptions == (kind,)
        assert dataset.scales[0] == pytest.approx((0.25 if kind == "variance" else 1) / 254)
        levels = dataset.read(1)
    assert ((levels == 255) == (read(Path(scene.assets[0].uri))[0] == 0)).all()


@pytest.mark.parametrize("blend", ["smooth", "center"])
@pytest.mark.parametrize(("kind", "measure"), [("entropy", entropy), ("margin", margin)])
def test_uncertainty_is_that_of_the_probabilities_that_are_written(
    predict: Callable[..., Path], blend: str, kind: str, measure: Any
) -> None:
    out = predict(Small(network()), uncertainty=kind, blend=blend)

    chances, found = read(out / "probabilities.tif"), read(out / "uncertainty.tif")[0]
    known = np.isfinite(chances[0])
    assert (np.isfinite(found) == known).all()
    assert np.allclose(found[known], measure(chances[:, known][:, :, None])[:, 0], atol=1e-5)


def test_the_variance_of_an_ensemble_needs_no_turning(predict: Callable[..., Path], scene: Scene) -> None:
    trained = Several(network(), network(1))
    found = read(predict(trained, uncertainty="variance", window=128, overlap=0) / "uncertainty.tif")[0]
    pixels = read(Path(scene.assets[0].uri))
    image = torch.from_numpy(np.pad(trained.normalise(Image(pixels, pixels[0] > 0)), ((0, 0), (0, 58), (0, 78)), mode="reflect"))[None]
    chances = torch.stack([one.softmax(1) for one in trained.each(image)])
    whole = chances.var(0, correction=0).amax(1)[0, :70, :50].numpy()

    assert np.allclose(found[pixels[0] > 0], whole[pixels[0] > 0], atol=1e-5)


def test_a_single_answer_has_no_variance(predict: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"predict.uncertainty: a single answer has no variance; take predict.tta=flips"):
        predict(Small(network()), uncertainty="variance")


def test_thresholds_by_choice_go_before_those_of_the_model(tmp_path: Path, scene: Scene) -> None:
    torch.manual_seed(0)
    trained = Small(torch.nn.Conv2d(1, 2, 1))
    trained.details = {"thresholds": {"water": 0.0}}
    work = Work({}, tmp_path / "work", Resources())
    options = Prediction(window=32, polygons=False, thresholds={"water": 1.0})

    row = predict_scene(scene, trained, options, out=tmp_path / "out", work=work, classes=NAMES[:2])

    assert row["share/water"] == 0


@given(st.integers(2, 6), st.integers(0, 2**31))
def test_entropy_and_margin_are_what_their_names_say(classes: int, seed: int) -> None:
    chances = np.random.default_rng(seed).dirichlet(np.full(classes, 0.4), (3, 4)).transpose(2, 0, 1).astype(np.float32)
    ordered = np.sort(chances, axis=0)

    assert np.allclose(entropy(chances), reference_entropy(chances, base=classes, axis=0), atol=1e-4)
    assert np.allclose(margin(chances), 1 - (ordered[-1] - ordered[-2]), atol=1e-5)
    both = np.stack([chances[0], 1 - chances[0]])
    assert np.allclose(least_sure_entropy(chances[:1]), entropy(both), atol=1e-5)
    assert np.allclose(least_sure_margin(chances), (1 - np.abs(2 * chances - 1)).max(0), atol=1e-5)


def test_equal_probabilities_are_the_least_sure() -> None:
    even, sure = np.full((4, 1, 1), 0.25, np.float32), np.array([1, 0, 0, 0], np.float32)[:, None, None]

    for measure in (entropy, margin):
        assert float(measure(even)[0, 0]) == pytest.approx(1)
        assert float(measure(sure)[0, 0]) == pytest.approx(0, abs=1e-6)


def test_a_threshold_of_a_class_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [str(error) for error in check(compose(["+predict.thresholds.watr=0.3"]).config)]

    assert found == ["predict.thresholds.watr: there is no class 'watr'; did you mean 'water'?"]
