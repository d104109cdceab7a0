"""Chips of a moving camera's frames lie where the frame is, not anywhere on the ground of its sequence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohydra.chips.cutting import cut_chips
from geohydra.chips.extent import within_extent
from geohydra.chips.index import Region
from geohydra.chips.sampling import Sliding
from geohydra.chips.splits import Blocks
from geohydra.errors import DataError
from geohydra.tasks.semantic_segmentation import SemanticSegmentation
from geohydra.types import Grid, Scene, Shape, Window

GRID = Grid("EPSG:32632", (1.0, 0, 0, 0, -1.0, 0), Shape(400, 400))


def frame(extent: list[int] | None) -> Scene:
    return Scene("flight_000001", GRID, (), properties={} if extent is None else {"geohydra:extent": extent})


def test_a_scene_that_tells_no_extent_keeps_its_regions() -> None:
    regions = [Region("flight_000001", Window(0, 0, Shape(400, 200)), "train")]

    assert within_extent(frame(None), regions, size=64) == regions


def test_regions_are_cut_to_what_a_frame_shows_and_those_beside_it_fall_away() -> None:
    left, right = (Region("flight_000001", Window(0, col, Shape(400, 200)), split) for col, split in ((0, "train"), (200, "val")))

    found = within_extent(frame([100, 20, 150, 150]), [left, right], size=64)

    assert found == [Region("flight_000001", Window(100, 20, Shape(150, 150)), "train")]


@given(st.tuples(*[st.integers(0, 350)] * 2, *[st.integers(1, 50)] * 2), st.tuples(*[st.integers(0, 200)] * 2, *[st.integers(64, 200)] * 2))
def test_what_is_left_of_a_region_lies_in_it_holds_a_chip_and_all_that_is_shown(shown: tuple[int, ...], told: tuple[int, ...]) -> None:
    row, col, rows, cols = told
    region = Region("flight_000001", Window(row, col, Shape(rows, cols)), "train")

    found = within_extent(frame(list(shown)), [region], size=64)

    both = region.window.intersect(Window(shown[0], shown[1], Shape(shown[2], shown[3])))
    assert len(found) == (both is not None)
    for part in found:
        assert part.window.intersect(region.window) == part.window
        assert part.window.intersect(both) == both  # type: ignore[arg-type]
        assert min(part.window.shape.rows, part.window.shape.cols) >= 64


def test_so_many_chips_of_a_frame_are_chips_that_show_it(make_scene, tmp_path) -> None:
    pixels, labels = np.zeros((1, 512, 512), np.uint8), np.zeros((512, 512), np.uint8)
    pixels[:, 70:230, 70:230], labels[80:90, 80:90] = 200, 1
    scene = make_scene("a", pixels, labels, nodata=0)
    sampling = Sliding(size=64, cap=3, split=Blocks(val=0.0, test=0.0))
    task = SemanticSegmentation(classes=["water", "road"])

    with pytest.raises(DataError, match="3 for no valid pixel"):
        cut_chips([scene], task, sampling, tmp_path / "blind", seed=0, progress=quiet)
    told = replace(scene, properties={"geohydra:extent": [70, 70, 160, 160]})
    found = cut_chips([told], task, sampling, tmp_path / "found", seed=0, progress=quiet)

    assert [chip.valid for chip in found.chips] == [1.0] * 3


def quiet(done: int, total: int, text: str) -> None:
    return None
