"""The demo world through the seasons."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest

from geohydra.raster.series import SeriesReader, clearest_time, open_image
from geohydra.sources.acquisitions import by_year
from geohydra.sources.demo_series import DemoSeries
from geohydra.sources.seasons import CROPS, Field, acquisitions, tone
from geohydra.types import Scene, Window


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    return list(DemoSeries(scenes=1, size=96, resolution=5.0).scenes((), tmp_path_factory.mktemp("a"), lambda *_: None))


def test_the_same_seed_gives_the_same_bytes(scenes: list[Scene], tmp_path: Path) -> None:
    again = list(DemoSeries(scenes=1, size=96, resolution=5.0).scenes((), tmp_path, lambda *_: None))

    for one, other in zip(scenes, again, strict=True):
        assert one.times == other.times
        for first, second in zip(one.assets, other.assets, strict=True):
            assert Path(first.uri).read_bytes() == Path(second.uri).read_bytes()


def test_dates_are_irregular_and_differ_between_years(scenes: list[Scene]) -> None:
    first, second = ([time.timetuple().tm_yday for time in scene.times] for scene in scenes)

    assert [scene.id for scene in scenes] == ["place-01-2023", "place-01-2024"]
    assert first != second
    assert len(set(np.diff(first))) > 2
    assert all(len(scene.times) >= 8 for scene in scenes)


def test_clouds_are_nodata_and_every_pixel_is_seen_some_time(scenes: list[Scene]) -> None:
    for scene in scenes:
        with SeriesReader(scene) as reader:
            series = reader.read(Window(0, 0, scene.grid.shape))
        assert 0.3 < series.valid.mean() < 0.99
        assert series.measured.all()


def test_labels_are_parcels_with_their_crop_and_harvest(scenes: list[Scene]) -> None:
    one, other = (geopandas.read_parquet(scene.labels.uri) for scene in scenes if scene.labels)

    assert set(one["class"]) <= set(CROPS)
    assert (one["harvest"] > 0).all()
    assert len(one) == len(other)
    assert (one["class"] != other["class"]).mean() > 0.5, "crops rotate"


def test_no_single_day_tells_all_crops_apart_but_the_year_does() -> None:
    fields = {name: Field(name, 0.0, 1.0, 1.0) for name in CROPS}
    spread = {name: Field(name, 12.0, 1.0, 1.0) for name in CROPS}
    days = range(70, 300, 5)
    nearest = []
    for day in days:
        tones = np.array([tone(field, day) for field in fields.values()])
        own = np.array([tone(field, day) for field in spread.values()])
        apart = np.linalg.norm(tones[:, None] - tones[None], axis=2) + np.eye(len(tones)) * 1e9
        nearest.append(apart.min() / max(1.0, np.linalg.norm(tones - own, axis=1).max()))
    curves = np.array([[tone(field, day) for day in days] for field in fields.values()]).reshape(len(fields), -1)
    whole = np.linalg.norm(curves[:, None] - curves[None], axis=2) + np.eye(len(curves)) * 1e9

    assert max(nearest) < 1.0, "two crops differ less than one crop that is some days late"
    assert whole.min() > 3000


def test_days_without_any_view_are_left_out() -> None:
    for seed in range(20):
        found = acquisitions(np.random.default_rng(seed))
        assert all(cover < 0.9 for _, cover in found)
        assert [day for day, _ in found] == sorted({day for day, _ in found})


def test_the_eye_is_shown_a_clear_day(scenes: list[Scene]) -> None:
    from dataclasses import replace

    scene = replace(scenes[0], series=True)
    with SeriesReader(scene) as reader:
        shares = reader.read(Window(0, 0, scene.grid.shape)).valid.mean((1, 2))
    with open_image(scene) as reader:
        shown = reader.read(Window(0, 0, scene.grid.shape))

    assert shown.valid.mean() >= min(0.95, shares.max() - 0.02)
    assert clearest_time(scene, scene.bands) in scene.times


def test_a_series_of_several_years_becomes_a_scene_for_each(scenes: list[Scene]) -> None:
    from dataclasses import replace

    both = replace(scenes[0], id="place", assets=scenes[0].assets + scenes[1].assets)

    calendar, season = by_year(both, 1), by_year(both, 7)

    assert [scene.id for scene in calendar] == ["place-2023", "place-2024"]
    assert [scene.times for scene in calendar] == [scene.times for scene in scenes]
    assert calendar[1].properties["year"] == 2024
    assert calendar[1].properties["place"] == "place"
    assert [scene.id for scene in season] == ["place-2022", "place-2023", "place-2024"]
    assert all(time.month < 7 for time in season[0].times)
