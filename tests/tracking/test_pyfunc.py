"""A bundle is an MLflow model: it loads and answers with nothing else at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from geohydra.build import build
from geohydra.bundle import Card, load_model, write_model
from geohydra.tracking import pyfunc
from geohydra.tracking.mlflow import MlflowTracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

TASK = {"_target_": "geohydra.tasks.semantic_segmentation.SemanticSegmentation", "classes": ["water", "road"], "background": "land"}
MODEL = {
    "_target_": "geohydra.models.smp.SmpModel",
    "architecture": "unet",
    "encoder": "mobilenet_v2",
    "depth": 3,
    "options": {"decoder_channels": [16, 8, 8]},
    "weights": None,
}
BANDS, CLASSES = ("red", "nir"), ("land", "water", "road")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    network = build(TASK, where="task").network(build(MODEL, where="model"), channels=2).eval()
    statistics = {"red": {"mean": 100.0, "std": 10.0}, "nir": {"mean": 50.0, "std": 5.0}}
    write_model(folder, network, Card(task=TASK, model=MODEL, bands=BANDS, classes=CLASSES, statistics=statistics, chip=(64, 64), stride=8))
    pyfunc.save(folder, folder, bands=BANDS, classes=CLASSES, details={"gsd": 10})
    return folder


@pytest.fixture(scope="module")
def loaded(bundle: Path) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(bundle))


@pytest.fixture
def pixels() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(1).normal((100, 50), (10, 5), (6, 45, 50, 2)).transpose(0, 3, 1, 2).astype(np.float32)


def test_raw_pixels_of_any_size_get_class_ids(loaded: Any, pixels: Any):
    found = loaded.predict(pixels)

    assert (found.dtype, found.shape) == (np.uint8, (6, 45, 50))
    assert set(np.unique(found)) <= {0, 1, 2}


def test_it_answers_as_geohydra_itself(loaded: Any, bundle: Path, pixels: Any):
    from geohydra.types import Image

    whole = pixels[:1, :, :40, :48]
    trained = load_model(bundle, device="cpu")
    expected = trained.forward(trained.normalise(Image(whole[0], np.ones((40, 48), bool)))[None]).argmax(1)

    assert np.array_equal(loaded.predict(whole), expected)


def test_what_was_not_measured_is_255(loaded: Any, pixels: Any):
    pixels[0, 1, 3, 4] = np.nan

    found = loaded.predict(pixels)

    assert np.argwhere(found == 255).tolist() == [[0, 3, 4]]


def test_another_number_of_bands_is_refused(loaded: Any, pixels: Any):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="shape"):
        loaded.predict(pixels[:, :1])


def test_bands_classes_and_ground_distance_are_known(loaded: Any):
    assert loaded.metadata.metadata == {"bands": list(BANDS), "classes": list(CLASSES), "gsd": 10}


def test_no_pickle_lies_in_it(bundle: Path):
    names = {path.name for path in bundle.rglob("*") if path.is_file()}
    assert names == {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "model.json", "weights.safetensors"}


def test_requirements_are_exact_and_hold_no_address(bundle: Path):
    lines = (bundle / "requirements.txt").read_text().splitlines()

    assert all("==" in line and "/" not in line for line in lines)


def test_saving_needs_no_mlflow(bundle: Path, tmp_path: Path, repository: Path):
    code = (
        "import sys; from pathlib import Path; from geohydra.tracking import pyfunc\n"
        "pyfunc.save(Path(sys.argv[2]), Path(sys.argv[1]), bands=['a'], classes=['b', 'c']); sys.exit('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bundle), str(tmp_path / "copy")], cwd=repository, check=False)

    assert done.returncode == 0
    assert (tmp_path / "copy/weights.safetensors").exists()


@pytest.mark.slow
def test_a_registered_bundle_loads_by_its_alias(
    bundle: Path, pixels: Any, tracking: MlflowTracking, outputs: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    import mlflow

    journal = tracking.open(outputs / "j", name="r", kind="run", config={})
    journal.model(str(bundle), "roads", "champion")
    journal.end("FINISHED")
    assert tracking.start_shipper([outputs / "j"]).wait(60).whole == 1

    monkeypatch.chdir(outputs)
    mlflow.set_tracking_uri(tracking.uri)
    mlflow.set_registry_uri(tracking.uri)
    try:
        assert mlflow.pyfunc.load_model("models:/roads@champion").predict(pixels).shape == (6, 45, 50)
        assert mlflow.pyfunc.load_model("models:/roads/latest").metadata.metadata["gsd"] == 10
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
