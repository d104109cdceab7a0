"""Series through the command line: from the embedded world to maps and parcels, another year, and new imagery."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pytest
import rasterio
from rio_cogeo import cog_validate

from geohydra.cli import main

pytestmark = pytest.mark.slow

SMALL = [
    "source.scenes=1",
    "source.size=128",
    "source.resolution=5",
    "chip.size=32",
    "train.epochs=2",
    "predict.window=64",
    "tracking=none",
]
RULE = r"source.scene='(?P<scene>place-01-2024)_(?P<time>\d{8})'"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results(name: str) -> Path:
    [run] = Path("outputs/runs").glob(f"*-{name}")
    return run / "results"


def test_a_series_goes_from_source_to_map_and_parcels_and_its_bundle_on_to_another_year(folder: Path) -> None:
    assert main(["task=time_series", *SMALL, "name=first"]) == 0

    run = results("first")
    metrics = json.loads((run / "evaluate/metrics.json").read_text())["metrics"]
    assert {"test/baseline_iou", "test/parcel_accuracy", "test/parcel_f1", "test/baseline_parcel_accuracy"} <= set(metrics)
    rows = {row["scene"]: row for row in json.loads((run / "predict/index.json").read_text())}
    assert list(rows) == ["place-01-2023", "place-01-2024"]
    for row in rows.values():
        valid, errors, _ = cog_validate(str(run / "predict" / row["classes"]))
        assert valid, errors
        assert geopandas.read_parquet(run / "predict" / row["parcels"]).crs == "EPSG:32632"
    assert (run / "analyze/report/figures/class_curves.png").exists()
    assert (run / "evaluate/report/figures/class_curves.png").exists()
    images = next((folder / "outputs/store/ingest").glob("*/images"))

    assert main(["predict", str(run.parent), f"{images}/place-01-2024_*.tif", RULE, "predict.window=64", "-o", "maps"]) == 0

    [again] = json.loads(Path("maps/index.json").read_text())
    with rasterio.open(Path("maps") / again["classes"]) as new, rasterio.open(run / "predict" / rows["place-01-2024"]["classes"]) as old:
        assert (new.read(1) == old.read(1)).all()
    assert "parcels" not in again


def test_one_year_is_learnt_and_another_tested(folder: Path) -> None:
    split = ["chip/split=by_time", "chip.split.test=2024", "chip.split.val=0.3", "++chip.overlap=warn", "source.scenes=3"]

    assert main(["task=time_series", *SMALL, *split, "pipeline=train", "name=year"]) == 0

    chips = geopandas.read_parquet(results("year") / "chip/index.parquet")
    years = {split: set(theirs["scene"].str[-4:]) for split, theirs in chips.groupby("split")}
    assert years == {"train": {"2023"}, "val": {"2023"}, "test": {"2024"}}
    places = {split: set(theirs["scene"].str[:8]) for split, theirs in chips.groupby("split")}
    assert not places["train"] & places["val"]
    assert places["test"] == places["train"] | places["val"]


@pytest.mark.parametrize("words", [["task.unit=parcel", "model=pixel_set"], ["task.unit=window", "model=utae", "model.widths=[8,16]"]])
def test_parcels_and_windows_are_answered_for(folder: Path, words: list[str]) -> None:
    assert main(["task=time_series", *SMALL, *words, "name=other"]) == 0

    for row in json.loads((results("other") / "predict/index.json").read_text()):
        table = geopandas.read_parquet(results("other") / "predict" / row["parcels"])
        assert table["class"].notna().any()


def test_numbers_are_learnt_from_series(folder: Path) -> None:
    assert main(["task=series_regression", *SMALL, "name=values"]) == 0

    metrics = json.loads((results("values") / "evaluate/metrics.json").read_text())["metrics"]
    assert {"test/rmse", "test/mae", "test/r2", "test/baseline_rmse"} <= set(metrics)


def test_a_single_image_is_refused_with_a_way_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["task=time_series", "source=demo", "task.classes=[field,water]", "source.scenes=1", "source.size=64", "tracking=none"]) != 0
    )

    assert "a time series needs several with their times" in capsys.readouterr().err
