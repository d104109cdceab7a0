"""The predict step: every scene once, whatever happens in between."""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
import pytest
import rasterio

from geohydra.errors import ConfigError, DataError, StepError
from geohydra.steps import predict
from geohydra.work import Work

SETTINGS = {"_target_": "geohydra.prediction.settings.Prediction", "window": 32}


def index(folder: Any) -> list[dict[str, Any]]:
    return list(json.loads((folder / "index.json").read_text()))


def test_each_scene_has_a_row_whose_files_are_there(outputs) -> None:
    work = outputs.work("predict", "ingest", "train")
    predict.run({"task": outputs.task, "predict": SETTINGS}, work)
    rows = index(work.out)

    assert [row["scene"] for row in rows] == ["north", "south"]
    for row in rows:
        named = {row[key] for key in ("classes", "probabilities", "polygons_parquet", "polygons_geojson", "quicklook")}
        assert all((work.out / name).is_file() for name in named)
        assert row["pixels"] == 76 * 60
    assert {path.stem for path in (work.report.folder / "figures").iterdir()} == {"scene_north", "scene_south"}


def test_what_was_finished_before_a_stop_is_not_done_again(outputs) -> None:
    config = {"task": outputs.task, "predict": SETTINGS}
    predict.run(config, outputs.work("predict", "ingest", "train"))
    work = outputs.work("predict", "ingest", "train")
    before = (work.state / "north/classes.tif").stat().st_mtime_ns
    shutil.rmtree(work.state / "south")
    predict.run(config, work)

    assert (work.out / "north/classes.tif").stat().st_mtime_ns == before
    assert (work.out / "south/classes.tif").is_file()


def test_shards_together_make_what_one_step_makes(outputs) -> None:
    config = {"task": outputs.task, "predict": SETTINGS}
    whole = outputs.work("predict", "ingest", "train")
    predict.run(config, whole)
    shards = [Work(whole.inputs, made_folder(outputs.root / f"shard-{place}"), whole.resources, shard=(place, 3)) for place in range(3)]
    for shard in shards:
        predict.run(config, shard)
    merged = Work(whole.inputs, made_folder(outputs.root / "merged"), whole.resources, parts=[str(shard.out) for shard in shards])
    predict.merge(config, merged)

    assert [len(index(shard.out)) for shard in shards] == [1, 1, 0]
    assert contents(merged.out) == contents(whole.out)


def test_shards_that_do_not_fit_together_are_refused(outputs) -> None:
    whole = outputs.work("predict", "ingest", "train")
    predict.run({"task": outputs.task, "predict": SETTINGS}, whole)
    (made_folder(outputs.root / "empty") / "index.json").write_text("[]")
    parts = [str(outputs.root / "empty"), str(whole.out)]

    with pytest.raises(StepError, match="do not make a whole"):
        predict.merge({}, Work(whole.inputs, made_folder(outputs.root / "merged"), whole.resources, parts=parts))


def made_folder(path: Any) -> Any:
    path.mkdir()
    return path


def contents(folder: Any) -> dict[str, bytes]:
    """All files but the report, which tells of seconds."""
    files = [path for path in folder.rglob("*") if path.is_file() and "report" not in path.relative_to(folder).parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_bundle_alone_is_enough(outputs) -> None:
    config = {"predict": SETTINGS, "bundle": {"uri": str(outputs.root / "train/model")}}
    work = outputs.work("predict", "ingest")
    predict.run(config, work)
    with rasterio.open(work.out / "north/classes.tif") as dataset:
        assert set(np.unique(dataset.read(1))) <= {0, 1, 255}


def test_without_a_model_it_says_what_to_give(outputs) -> None:
    with pytest.raises(ConfigError, match=r"bundle\.uri"):
        predict.run({"predict": SETTINGS, "bundle": {"uri": None}}, outputs.work("predict", "ingest"))


def test_a_scene_without_a_band_is_refused_before_any_is_predicted(outputs) -> None:
    path = outputs.root / "ingest/items.json"
    path.write_text(path.read_text().replace('"name": "blue"', '"name": "nir"', 1))
    work = outputs.work("predict", "ingest", "train")

    with pytest.raises(DataError, match="no blue"):
        predict.run({"task": outputs.task, "predict": SETTINGS}, work)
    assert not list(work.state.iterdir())


def test_only_the_first_scenes_have_a_picture_whoever_predicts_them(outputs) -> None:
    config = {"task": outputs.task, "predict": SETTINGS | {"quicklooks": 1}}
    work = outputs.work("predict", "ingest", "train")
    other = Work(work.inputs, made_folder(outputs.root / "other"), work.resources, shard=(1, 2))

    predict.run(config, work)
    predict.run(config, other)

    assert ["quicklook" in row for row in index(work.out)] == [True, False]
    assert [path.parent.name for path in work.out.glob("*/quicklook.png")] == ["north"]
    assert not list(other.out.glob("*/quicklook.png"))
