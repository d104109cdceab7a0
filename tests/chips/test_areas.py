"""Splits by polygons."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geohydra.build import problems
from geohydra.chips.apart import least_distance, overlaps
from geohydra.chips.areas import ByArea
from geohydra.chips.packing import rectangles
from geohydra.chips.sampling import Sliding
from geohydra.errors import DataError
from geohydra.types import Shape, Window

CHIP = Shape(64, 64)
LEFT, TOP = 500_000.0, 5_000_000.0


@pytest.fixture
def plain(painted):
    return painted(lambda scene, window: [])


@pytest.fixture
def scene(empty_scene):
    return empty_scene("a", 512, 640, x=LEFT, y=TOP)


def square(col, row, col_stop, row_stop):
    return shapely.box(LEFT + col, TOP - row_stop, LEFT + col_stop, TOP - row)


def drawn(path, shapes, *, crs="EPSG:32633"):
    frame = geopandas.GeoDataFrame({"split": list(shapes)}, geometry=list(shapes.values()), crs="EPSG:32633")
    frame.to_crs(crs).to_file(path)
    return str(path)


def ground(division, split, shape=(512, 640)):
    marks = np.zeros(shape, bool)
    for region in division.regions:
        if region.split == split:
            marks[region.window.slices] = True
    return marks


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_regions_lie_within_their_polygons(scene, plain, tmp_path, crs):
    areas = drawn(tmp_path / "areas.gpkg", {"train": square(0, 0, 300, 512), "test": square(320, 100, 640, 400)}, crs=crs)

    division = ByArea(areas=areas).divide([scene], chip=CHIP, content=plain, seed=0)

    train, test = ground(division, "train"), ground(division, "test")
    assert train[:, :296].all()
    assert not train[:, 301:].any()
    assert test[112:392, 328:632].all()
    assert not test[:100].any()
    assert not test[401:].any()
    assert not ground(division, "val").any()


def test_a_file_for_each_split(scene, plain, tmp_path):
    areas = {
        split: drawn(tmp_path / f"{split}.geojson", {"any": square(col, 0, col + 200, 512)}) for split, col in (("train", 0), ("val", 200))
    }

    division = ByArea(areas=areas).divide([scene], chip=CHIP, content=plain, seed=0)

    assert {region.split for region in division.regions} == {"train", "val"}
    assert ByArea(areas=areas).asked == ("train", "val")


def test_the_rest_is_for_learning(scene, plain, tmp_path):
    areas = drawn(tmp_path / "areas.gpkg", {"test": square(192, 128, 384, 320)})

    division = ByArea(areas=areas, rest="train").divide([scene], chip=CHIP, content=plain, seed=0)

    assert ground(division, "test").sum() == 192 * 192
    assert ground(division, "train").sum() == 512 * 640 - 192 * 192


def test_chips_on_an_outline_go_where_their_centre_lies(scene, plain, tmp_path):
    areas = drawn(tmp_path / "areas.gpkg", {"train": square(0, 0, 300, 512), "test": square(300, 0, 640, 512)})

    division = ByArea(areas=areas, straddling="centre").divide([scene], chip=CHIP, content=plain, seed=0)

    assert ground(division, "train").sum() == 320 * 512
    assert ground(division, "test").sum() == 320 * 512
    assert not overlaps(division.regions, [scene])


def test_a_buffer_keeps_areas_apart(scene, plain, tmp_path):
    areas = drawn(tmp_path / "areas.gpkg", {"train": square(0, 0, 320, 512), "test": square(320, 0, 640, 512)})

    division = ByArea(areas=areas, buffer=40).divide([scene], chip=CHIP, content=plain, seed=0)

    assert least_distance(division.regions, [scene]) >= 40
    assert ground(division, "test").any()


def test_areas_that_overlap_do_not_leak(scene, empty_scene, plain, tmp_path):
    scenes = [scene, empty_scene("b", 512, 640, x=LEFT + 100.3, y=TOP - 50.7)]
    areas = drawn(tmp_path / "areas.gpkg", {"train": square(0, 0, 400, 600), "test": square(300, 0, 800, 600)})

    division = ByArea(areas=areas).divide(scenes, chip=CHIP, content=plain, seed=0)

    assert not overlaps(division.regions, scenes)
    assert {region.split for region in division.regions} == {"train", "test"}


def test_an_image_smaller_than_a_chip_goes_whole(empty_scene, plain, tmp_path):
    scenes = [empty_scene(name, 40, 40, x=LEFT + x, y=TOP) for name, x in (("in", 0), ("across", 80), ("out", 300))]
    areas = drawn(tmp_path / "areas.gpkg", {"train": square(0, 0, 100, 40)})

    division = ByArea(areas=areas).divide(scenes, chip=CHIP, content=plain, seed=0)

    assert [(region.scene, region.window) for region in division.regions] == [("in", Window(0, 0, Shape(40, 40)))]
    assert "2 of 3 scenes lie in no area: they are not used." in division.notes


@settings(max_examples=25, deadline=None)
@given(
    points=st.lists(st.tuples(st.integers(-50, 700), st.integers(-50, 560)), min_size=3, max_size=9),
    rows=st.integers(64, 300),
    cols=st.integers(64, 300),
)
def test_no_pixel_outside_an_area_is_ever_in_its_regions(tmp_path_factory, points, rows, cols):
    from geohydra.chips.areas import _enclosed

    area = shapely.convex_hull(shapely.MultiPoint(points))
    if area.geom_type != "Polygon":
        return
    seen = np.zeros((rows, cols), int)
    for window in _enclosed(area, Shape(rows, cols), CHIP):
        assert window.within(Shape(rows, cols))
        assert window.shape.rows >= 64
        assert window.shape.cols >= 64
        assert area.buffer(0.02).contains(shapely.box(window.col, window.row, window.col_stop, window.row_stop))
        seen[window.slices] += 1
    assert seen.max() <= 1


@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 5))
def test_rectangles_of_cells_share_none_and_leave_no_room(seed, rows, cols):
    inside = np.random.default_rng(seed).random((20, 24)) > 0.25

    found = rectangles(inside, Shape(rows, cols))

    seen = np.zeros(inside.shape, int)
    for window in found:
        assert inside[window.slices].all()
        assert window.shape.rows >= rows
        assert window.shape.cols >= cols
        seen[window.slices] += 1
    assert seen.max() <= 1
    free = inside & (seen == 0)
    assert not any(free[row : row + rows, col : col + cols].all() for row in range(20 - rows + 1) for col in range(24 - cols + 1))


def test_a_property_that_is_not_there_is_told(scene, plain, tmp_path):
    areas = drawn(tmp_path / "areas.gpkg", {"train": square(0, 0, 300, 512)})

    with pytest.raises(DataError, match="has no property 'part'; it has split"):
        ByArea(areas=areas, property="part").divide([scene], chip=CHIP, content=plain, seed=0)


def test_polygons_without_an_area_are_told(scene, plain, tmp_path):
    frame = geopandas.GeoDataFrame({"split": ["train"]}, geometry=[shapely.Point(LEFT, TOP)], crs="EPSG:32633")
    frame.to_file(tmp_path / "points.gpkg")

    with pytest.raises(DataError, match="holds no polygon with an area"):
        ByArea(areas=str(tmp_path / "points.gpkg")).divide([scene], chip=CHIP, content=plain, seed=0)


def test_areas_elsewhere_are_told(scene, plain, tmp_path):
    areas = drawn(tmp_path / "areas.gpkg", {"train": square(9000, 0, 9500, 512)})

    with pytest.raises(DataError, match="no chip of 64 x 64 pixels fits into the areas"):
        ByArea(areas=areas).divide([scene], chip=CHIP, content=plain, seed=0)


def test_images_without_a_place_cannot_be_split_by_area(empty_scene, plain, tmp_path):
    areas = drawn(tmp_path / "areas.gpkg", {"train": square(0, 0, 300, 512)})

    with pytest.raises(DataError, match="a: has no CRS, so that no area can be laid over it"):
        ByArea(areas=areas).divide([empty_scene("a", 99, 99, crs="")], chip=CHIP, content=plain, seed=0)


def test_no_file_is_a_config_error():
    assert problems({"_target_": "geohydra.chips.areas.ByArea", "areas": {}}, where="chip.split")


def test_a_file_that_is_not_there_is_told_before_anything_runs():
    found = list(Sliding(split=ByArea(areas={"train": "none.gpkg"})).check({}))

    assert [str(error) for error in found] == ["chip.split.areas.train: there is no file none.gpkg; check the folder and the spelling"]
