"""Splits by property, by name, by time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from geohydra.build import build, problems
from geohydra.chips.traits import ByAttribute, ByTime
from geohydra.errors import DataError
from geohydra.types import Shape

CHIP = Shape(64, 64)


@pytest.fixture
def plain(painted):
    return painted(lambda scene, window: [])


def splits(division):
    return {region.scene: region.split for region in division.regions}


def test_values_of_a_property_go_where_lists_say(empty_scene, plain):
    scenes = [replace(empty_scene(f"s{x}", 64, 64, x=100.0 * x), properties={"city": "abc"[x % 3]}) for x in range(6)]

    found = splits(ByAttribute(property="city", val=["b"], test=["c"]).divide(scenes, chip=CHIP, content=plain, seed=0))

    assert found == {"s0": "train", "s1": "val", "s2": "test", "s3": "train", "s4": "val", "s5": "test"}


def test_a_part_of_the_id_tells_the_value(empty_scene, plain):
    scenes = [empty_scene(name, 64, 64, x=100.0 * x) for x, name in enumerate(["nairobi-1", "nairobi-2", "lima-1", "oslo-1"])]

    found = splits(ByAttribute(pattern="^[a-z]+", val=["lima"], test=["os*"]).divide(scenes, chip=CHIP, content=plain, seed=0))

    assert found == {"nairobi-1": "train", "nairobi-2": "train", "lima-1": "val", "oslo-1": "test"}


def test_values_that_are_shared_out_stay_whole(empty_scene, plain):
    scenes = [empty_scene(f"{x // 3}_{x % 3}", 64, 64, x=100.0 * x) for x in range(30)]

    found = splits(ByAttribute(pattern="^[0-9]+", val=0.2, test=0.2).divide(scenes, chip=CHIP, content=plain, seed=0))

    assert all(len({split for scene, split in found.items() if scene.startswith(f"{value}_")}) == 1 for value in range(10))
    assert [list(found.values()).count(split) for split in ("train", "val", "test")] == [18, 6, 6]


def test_a_property_that_a_scene_lacks_is_told(empty_scene, plain):
    scenes = [replace(empty_scene("a", 9, 9), properties={"city": "x"})]

    with pytest.raises(DataError, match=r"a has no property 'citi'; did you mean 'city'\?"):
        ByAttribute(property="citi").divide(scenes, chip=CHIP, content=plain, seed=0)


def test_a_pattern_that_finds_nothing_is_told(empty_scene, plain):
    with pytest.raises(DataError, match=r"'\[0-9\]\+' finds nothing in 'a'"):
        ByAttribute(pattern="[0-9]+").divide([empty_scene("a", 9, 9)], chip=CHIP, content=plain, seed=0)


def test_a_pattern_that_is_none_is_a_config_error():
    assert "no regular expression" in str(
        problems({"_target_": "geohydra.chips.traits.ByAttribute", "pattern": "("}, where="chip.split")[0]
    )


def dated(empty_scene, *days):
    return [replace(empty_scene(f"s{place}", 64, 64, x=100.0 * place), time=day) for place, day in enumerate(days)]


def test_scenes_from_a_day_on_are_for_testing(empty_scene, plain):
    scenes = dated(empty_scene, datetime(2019, 5, 1), datetime(2021, 1, 1, tzinfo=UTC), datetime(2020, 12, 31, 23, tzinfo=UTC))

    found = splits(ByTime(test=date(2021, 1, 1), val=date(2020, 1, 1)).divide(scenes, chip=CHIP, content=plain, seed=0))

    assert found == {"s0": "train", "s1": "test", "s2": "val"}


def test_days_are_told_in_universal_time(empty_scene, plain):
    east = timezone(timedelta(hours=9))
    scenes = dated(empty_scene, datetime(2021, 1, 1, 8, tzinfo=east), datetime(2021, 1, 1, 10, tzinfo=east))

    assert splits(ByTime(test=[2021], val=0).divide(scenes, chip=CHIP, content=plain, seed=0)) == {"s0": "train", "s1": "test"}


def test_a_year_is_left_out_for_testing(empty_scene, plain):
    scenes = dated(empty_scene, *(datetime(2015 + place % 5, 6, 1, tzinfo=UTC) for place in range(20)))

    found = splits(ByTime(test=[2017], val=0.25).divide(scenes, chip=CHIP, content=plain, seed=0))

    assert {scene for scene, split in found.items() if split == "test"} == {"s2", "s7", "s12", "s17"}
    assert list(found.values()).count("val") == 4


def test_a_config_tells_days_and_years_as_text():
    node = {"_target_": "geohydra.chips.traits.ByTime", "test": "2021-06-01"}

    assert build(node | {"val": [2020]}, where="chip.split").asked == ("train", "val", "test")
    assert build(node | {"val": 2020, "test": 2021}, where="chip.split").asked == ("train", "val", "test")
    assert build(node | {"val": 0}, where="chip.split").asked == ("train", "test")
    assert problems(node | {"val": 1.5}, where="chip.split")


def test_a_time_split_that_tells_no_time_is_a_config_error():
    assert "a day or a list of years" in str(problems({"_target_": "geohydra.chips.traits.ByTime"}, where="chip.split")[0])


def test_a_scene_without_a_time_is_told(empty_scene, plain):
    with pytest.raises(DataError, match="tells no time to split by"):
        ByTime(test=[2021]).divide([empty_scene("a", 9, 9)], chip=CHIP, content=plain, seed=0)


def test_a_series_across_the_border_is_told(empty_scene, plain):
    scene = empty_scene("a", 9, 9)
    assets = tuple(replace(scene.assets[0], time=datetime(year, 7, 1, tzinfo=UTC)) for year in (2019, 2021))

    with pytest.raises(DataError, match="its 2 acquisitions, 2019-07-01 to 2021-07-01, fall into test and train"):
        ByTime(test=[2021]).divide([replace(scene, assets=assets)], chip=CHIP, content=plain, seed=0)
