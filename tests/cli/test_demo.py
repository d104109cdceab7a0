"""The whole way, by the command line alone: a run of the demo, its row in MLflow, its bundle on an image."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from geohydra.work import read_manifest

pytestmark = pytest.mark.slow

SMALL = ["experiment=quick", "source.size=256", "chip.size=64", "predict.window=64", "train.epochs=1", "model.encoder=mobilenet_v2"]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Commands that all stand in the same empty folder, from which the demo was run once."""
    folder = tmp_path_factory.mktemp("demo")
    root = str(Path(__file__).resolve().parents[2])
    program = f"import sys; sys.path.insert(0, {root!r}); from geohydra.cli import main; sys.exit(main(sys.argv[1:]))"

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True, timeout=900)

    done = call(*SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test/iou" in done.stdout
    return call


Command = Callable[..., subprocess.CompletedProcess[str]]


def test_the_map_lies_where_the_run_says(command: Command) -> None:
    done = command(*SMALL)
    maps = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("map ") and line.endswith("classes.tif")]
    assert maps
    assert "0 made in 0.0 s, 7 from the store" in done.stdout


def test_the_plan_knows_that_all_is_stored(command: Command) -> None:
    assert command("plan", *SMALL).stdout.startswith("quick: 7 steps, 7 stored")


def test_the_run_is_a_row_with_its_scores(command: Command) -> None:
    done = command("runs", "name=quick", "--sort", "test/iou", "--json")
    rows = json.loads(done.stdout)
    assert rows[0]["status"] == "finished"
    assert 0 <= rows[0]["test/iou"] <= 1


def test_loader_processes_change_no_weights_and_leave_no_word(command: Command, tmp_path: Path) -> None:
    words = [*SMALL, "pipeline=train", "tracking=none", "bundle.registered_name=null"]

    here = command(*words, f"outputs={tmp_path}/here")
    apart = command(*words, f"outputs={tmp_path}/apart", "hardware.gpu.workers=2")

    assert (here.returncode, apart.returncode) == (0, 0), here.stdout + apart.stdout
    assert (here.stderr, apart.stderr) == ("", "")
    one, other = ((tmp_path / name).glob("store/train/*/model/*.safetensors") for name in ("here", "apart"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other] != []


def test_the_bundle_predicts_an_image_into_a_folder(command: Command, tmp_path: Path) -> None:
    plan = json.loads(command("plan", *SMALL, "--json").stdout)
    stores = {step["step"]: f"outputs/store/{step['step']}/{step['fingerprint']}" for step in plan["steps"]}

    done = command("predict", stores["bundle"], f"{stores['ingest']}/images/*-01.tif", "-o", str(tmp_path / "maps"), "predict=fast")

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "maps" / "index.json").exists()
    assert len(list((tmp_path / "maps").glob("*/classes.tif"))) == 1
    assert read_manifest(str(tmp_path / "maps")) is None
