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


def far_apart(empty_scene, count=40):
    return [empty_scene(f"s{place}", 64, 64, x=1000.0 * place) for place in range(count)]


@pytest.mark.parametrize("together", [True, False])
def test_a_fraction_for_choosing_leaves_more_for_learning(empty_scene, painted, together):
    scenes = far_apart(empty_scene)

    found = divided(scenes, painted(lambda scene, window: []), of="scenes", val=0.1, together=together)

    counts = [[sum(region.split == split for region in division.regions) for split in ("train", "val", "test")] for division in found]
    assert counts == [[27, 3, 10]] * 4
    assert len({region.scene for division in found for region in division.regions if region.split == "test"}) == 40


def test_blocks_leave_a_fraction_for_choosing_too(empty_scene, painted):
    division, *_ = divided([empty_scene("a", 1024, 1024)], painted(lambda scene, window: []), size=128, unit="px", val=0.1)

    shares = [ground(division, split, 1024, 1024).mean() for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.675, 0.075, 0.25], abs=0.03)


def test_at_random_scenes_that_overlap_go_each_by_itself_and_this_is_told(empty_scene, painted):
    scenes = [empty_scene(f"s{place}", 64, 64, x=32.0 * place) for place in range(40)]
    with pytest.raises(DataError, match="1 part of the ground cannot give"):
        divided(scenes, painted(lambda scene, window: []), of="scenes")

    found = divided(scenes, painted(lambda scene, window: []), of="scenes", together=False)

    for division in found:
        assert len(division.regions) == 40
        assert all(region.window.shape == CHIP for region in division.regions)
        assert "show the same ground: scores may be too good" in division.notes[0]


def test_blocks_are_never_divided_at_random():
    found = problems({"_target_": "geohydra.chips.folds.KFold", "together": False}, where="chip.split")

    assert "it wants of=scenes" in str(found[0])
