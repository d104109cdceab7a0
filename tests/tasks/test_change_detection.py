"""What change detection says for itself."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from geohydra.errors import ConfigError, DataError
from geohydra.models.classifier import Classifier
from geohydra.models.siamese import Siamese
from geohydra.models.smp import SmpModel
from geohydra.task import Task, viewed
from geohydra.tasks.change_detection import ChangeDetection, change_scores
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.types import Asset, Grid, MaskAsset, Scene, Shape

GRID = Grid("EPSG:32633", (1, 0, 0, 0, -1, 0), Shape(8, 8))
BEFORE, AFTER = (datetime(year, 6, 1, tzinfo=UTC) for year in (2020, 2023))


def asset(name: str, time: datetime | None, *bands: str) -> Asset:
    return Asset(f"{name}.tif", bands, tuple(range(1, len(bands) + 1)), "uint8", 0.0, time)


def test_it_is_a_task() -> None:
    assert isinstance(ChangeDetection(classes=["changed"]), Task)


def test_two_acquisitions_become_one_image_before_and_after() -> None:
    assets = (asset("late", AFTER, "red", "nir"), asset("early", BEFORE, "red", "nir"), asset("height", None, "height"))
    masks = (MaskAsset("late-clouds.tif", values=(1,), time=AFTER), MaskAsset("swath.tif", values=(0,)))

    [seen] = viewed(ChangeDetection(classes=["changed"]), [Scene("a", GRID, assets, masks=masks)])

    assert seen.bands == ("before_red", "before_nir", "before_height", "after_red", "after_nir", "after_height")
    assert [one.uri for one in seen.assets] == ["early.tif", "height.tif", "late.tif", "height.tif"]
    assert seen.times == ()
    assert {mask.uri for mask in seen.masks} == {"late-clouds.tif", "swath.tif"}
    assert seen.properties["geohydra:before"].startswith("2020-06-01")
    assert seen.properties["geohydra:after"].startswith("2023-06-01")


def test_made_up_times_are_not_told() -> None:
    assets = (asset("b", BEFORE, "red"), asset("a", AFTER, "red"))

    seen = ChangeDetection(classes=["changed"]).view(Scene("a", GRID, assets, properties={"geohydra:dated": False}))

    assert "geohydra:before" not in seen.properties


def test_one_or_three_acquisitions_or_other_bands_are_refused() -> None:
    task = ChangeDetection(classes=["changed"])

    with pytest.raises(DataError, match="1 acquisitions"):
        task.view(Scene("a", GRID, (asset("a", None, "red"),)))
    with pytest.raises(DataError, match="bands red before and nir after"):
        task.view(Scene("a", GRID, (asset("b", BEFORE, "red"), asset("a", AFTER, "nir"))))


def test_a_network_that_compares_images_is_for_this_task_alone() -> None:
    change, map_ = ChangeDetection(classes=["changed"]), SemanticSegmentation(classes=["water"])

    assert not list(change.check({"model": Siamese()}))
    assert not list(change.check({"model": SmpModel()}))
    assert "compares two images" in str(next(map_.check({"model": Siamese()})))
    assert "every pixel" in str(next(map_.check({"model": Classifier()})))


def test_scores_are_of_change_against_no_change() -> None:
    draw = np.random.default_rng(0)
    truth, answer = draw.integers(0, 3, 500), draw.integers(0, 3, 500)
    matrix = np.zeros((3, 3), np.int64)
    np.add.at(matrix, (truth, answer), 1)

    found = change_scores(matrix)

    pair = truth > 0, answer > 0
    assert found["change_f1"] == pytest.approx(f1_score(*pair))
    assert found["change_iou"] == pytest.approx(jaccard_score(*pair))
    assert found["change_precision"] == pytest.approx(precision_score(*pair))
    assert found["change_recall"] == pytest.approx(recall_score(*pair))
    assert found["baseline_change_f1"] == pytest.approx(f1_score(truth > 0, np.ones(500, bool)))


def test_without_a_name_for_the_unchanged_the_first_class_is_it() -> None:
    with pytest.raises(ConfigError, match="one class leaves nothing"):
        ChangeDetection(classes=["changed"], unchanged=None)

    assert ChangeDetection(classes=["same", "changed"], unchanged=None).classes == ("same", "changed")
