"""Folds."""

from __future__ import annotations

import numpy as np
import pytest

from geohydra.build import problems
from geohydra.chips.apart import least_distance
from geohydra.chips.folds import KFold
from geohydra.errors import DataError
from geohydra.types import Shape

CHIP = Shape(64, 64)


def divided(scenes, content, **changes):
    return [KFold(**{"folds": 4, "fold": fold} | changes).divide(scenes, chip=CHIP, content=content, seed=3) for fold in range(4)]


def ground(division, split, rows, cols):
    marks = np.zeros((rows, cols), bool)
    for region in division.regions:
        if region.split == split:
            marks[region.window.slices] = True
    return marks


def test_every_piece_of_ground_is_tested_once(empty_scene, painted):
    scenes = [empty_scene("a", 512, 640)]

    found = divided(scenes, painted(lambda scene, window: []))

    tested = sum(ground(division, "test", 512, 640).astype(int) for division in found)
    assert tested.min() == tested.max() == 1


def test_the_next_fold_is_for_choosing(empty_scene, painted):
    found = divided([empty_scene("a", 512, 640)], painted(lambda scene, window: []))

    for one, following in zip(found, [*found[1:], found[0]], strict=True):
        assert (ground(one, "val", 512, 640) == ground(following, "test", 512, 640)).all()


def test_every_fold_has_its_share_of_a_rare_class(empty_scene, painted):
    scenes = [empty_scene(f"s{place}", 64, 64, x=1000.0 * place) for place in range(20)]
    rare = painted(lambda name, window: [float(name in {"s3", "s6", "s9", "s12"})])

    found = divided(scenes, rare, of="scenes")

    for division in found:
        assert sum(region.split == "test" and region.scene in {"s3", "s6", "s9", "s12"} for region in division.regions) == 1


def test_scenes_that_overlap_are_in_one_fold(empty_scene, painted):
    scenes = [empty_scene(f"{when}{place}", 64, 64, x=1000.0 * place) for place in range(8) for when in ("may", "june")]

    for division in divided(scenes, painted(lambda scene, window: []), of="scenes"):
        split = {region.scene: region.split for region in division.regions}
        assert all(split[f"may{place}"] == split[f"june{place}"] for place in range(8))


def test_a_buffer_keeps_folds_apart(empty_scene, painted):
    scenes = [empty_scene("a", 1024, 1024)]

    for division in divided(scenes, painted(lambda scene, window: []), size=256, buffer=30):
        assert least_distance(division.regions, scenes) >= 30


def test_more_folds_than_blocks_are_refused(empty_scene, painted):
    with pytest.raises(DataError, match="ask for fewer folds or smaller"):
        KFold(folds=30, size=128).divide([empty_scene("a", 256, 256)], chip=CHIP, content=painted(lambda scene, window: []), seed=0)


def test_a_fold_that_is_none_is_a_config_error():
    found = problems({"_target_": "geohydra.chips.folds.KFold", "folds": 5, "fold": 5}, where="chip.split")

    assert "there is no fold 5: 5 folds are counted from 0 to 4" in str(found[0])
