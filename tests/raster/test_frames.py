from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from geohydra.errors import DataError
from geohydra.raster.frames import frames_of, stacked
from geohydra.types import Asset, Grid, LabelAsset, Scene, Shape

_START = datetime(2024, 6, 1, tzinfo=UTC)


def _sequence(count: int = 3) -> Scene:
    assets = tuple(Asset(f"{place}.tif", ("red", "nir"), (1, 2), "uint8", time=_START + timedelta(seconds=place)) for place in range(count))
    told = {"geohydra:frames": [5 + place for place in range(count)], "geohydra:sequence": "clip"}
    return Scene("clip", Grid("", (1, 0, 0, 0, 1, 0), Shape(8, 8)), assets, LabelAsset("l.parquet", "vector"), properties=told)


def test_frames_have_ids_numbers_files_and_labels_of_their_own() -> None:
    frames = frames_of(_sequence())

    assert [frame.id for frame in frames] == ["clip_000005", "clip_000006", "clip_000007"]
    assert [frame.properties["geohydra:frame"] for frame in frames] == [5, 6, 7]
    assert {frame.properties["geohydra:sequence"] for frame in frames} == {"clip"}
    assert [frame.labels.where for frame in frames if frame.labels] == [{"frame": 5}, {"frame": 6}, {"frame": 7}]
    assert [[asset.uri for asset in frame.assets] for frame in frames] == [["0.tif"], ["1.tif"], ["2.tif"]]
    assert not any(frame.times for frame in frames)


def test_labels_that_tell_no_frame_hold_for_all_of_them() -> None:
    scene = replace(_sequence(), properties={})

    assert [frame.id for frame in frames_of(scene)] == ["clip_000000", "clip_000001", "clip_000002"]
    assert all(frame.labels == scene.labels for frame in frames_of(scene))


def test_frames_before_come_as_further_bands() -> None:
    frames = frames_of(stacked(_sequence(), 3))

    assert frames[0].bands == ("red", "nir", "previous_red", "previous_nir", "previous2_red", "previous2_nir")
    assert [[asset.uri for asset in frame.assets] for frame in frames] == [
        ["0.tif"] * 3,
        ["1.tif", "0.tif", "0.tif"],
        ["2.tif", "1.tif", "0.tif"],
    ]
    assert stacked(_sequence(), 1) == _sequence()


def test_one_image_is_no_sequence() -> None:
    scene = _sequence()

    with pytest.raises(DataError, match=r"is one image.*source.scene=sequence"):
        frames_of(replace(scene, assets=(replace(scene.assets[0], time=None),), properties={}))
